import { Migration } from '@mikro-orm/migrations';
import { becomeOwner, readMigrationSql } from './read-migration-sql.js';

const readSql = (name: string) => readMigrationSql('0007-export-packs', name);

/** Tables of evidence that this migration makes: it is not undone while one of them has rows. */
export const packTables = ['public.export_packs'] as const;

/** The record of evidence packs. */
export class Migration0007ExportPacks extends Migration {
  override up(): void {
    this.addSql(becomeOwner);
    this.addSql(readSql('01-tables'));
    this.addSql('RESET ROLE');
  }

  override down(): void {
    this.addSql(becomeOwner);
    this.addSql(readSql('99-down'));
    this.addSql('RESET ROLE');
  }
}
