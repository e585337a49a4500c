import { Migration } from '@mikro-orm/migrations';
import { becomeOwner, readMigrationSql } from './read-migration-sql.js';

const readSql = (name: string) => readMigrationSql('0006-config-snapshots', name);

/** Tables of evidence that this migration makes: it is not undone while one of them has any row. */
export const configSnapshotTables = [
  'public.config_snapshots',
  'public.config_snapshot_files',
  'public.config_contents',
] as const;

/** Snapshots of the effective configuration. */
export class Migration0006ConfigSnapshots extends Migration {
  override up(): void {
    this.addSql(becomeOwner);
    this.addSql(readSql('01-tables'));
    this.addSql(readSql('02-guards'));
    this.addSql(readSql('03-access'));
    this.addSql('RESET ROLE');
  }

  override down(): void {
    this.addSql(becomeOwner);
    this.addSql(readSql('99-down'));
    this.addSql('RESET ROLE');
  }
}
