import { Migration } from '@mikro-orm/migrations';
import { becomeOwner, readMigrationSql } from './read-migration-sql.js';

const readSql = (name: string) => readMigrationSql('0005-sinks', name);

/** Cursors of the sinks that the audit log is delivered to. */
export class Migration0005Sinks extends Migration {
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
