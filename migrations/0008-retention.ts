import { Migration } from '@mikro-orm/migrations';
import { becomeOwner, readMigrationSql } from './read-migration-sql.js';

const readSql = (name: string) => readMigrationSql('0008-retention', name);

/** Tables of evidence that this migration makes: it is not undone while one of them has rows. */
export const retentionTables = ['public.log_archives', 'public.legal_holds'] as const;

/** Archives, legal holds, the removal of what is archived, and copies of it that were brought back. */
export class Migration0008Retention extends Migration {
  override up(): void {
    this.addSql(becomeOwner);
    for (const name of ['01-tables', '02-guards', '03-removal', '04-access']) this.addSql(readSql(name));
    this.addSql('RESET ROLE');
  }

  override down(): void {
    this.addSql(becomeOwner);
    this.addSql(readSql('99-down'));
    this.addSql('RESET ROLE');
  }
}
