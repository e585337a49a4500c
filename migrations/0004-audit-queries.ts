import { Migration } from '@mikro-orm/migrations';
import { becomeOwner, readMigrationSql } from './read-migration-sql.js';

const readSql = (name: string) => readMigrationSql('0004-audit-queries', name);

/** Indexes for the audit log's filters, and totals of its blocks. */
export class Migration0004AuditQueries extends Migration {
  override up(): void {
    this.addSql(becomeOwner);
    for (const name of ['01-indexes', '02-totals']) this.addSql(readSql(name));
    this.addSql('RESET ROLE');
  }

  override down(): void {
    this.addSql(becomeOwner);
    this.addSql(readSql('99-down'));
    this.addSql('RESET ROLE');
  }
}
