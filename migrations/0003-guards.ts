import { Migration } from '@mikro-orm/migrations';
import { becomeOwner, readMigrationSql } from './read-migration-sql.js';

const readSql = (name: string) => readMigrationSql('0003-guards', name);

/** What may be inserted into the tables of evidence, and which sessions hold locks that are not theirs. */
export class Migration0003Guards extends Migration {
  override up(): void {
    this.addSql(becomeOwner);
    this.addSql(readSql('01-signatures'));
    this.addSql(readSql('02-insert-guards'));
    this.addSql(readSql('03-locks'));
    this.addSql(readSql('04-access'));
    this.addSql('RESET ROLE');
  }

  override down(): void {
    this.addSql(becomeOwner);
    this.addSql(readSql('99-down'));
    this.addSql('RESET ROLE');
  }
}
