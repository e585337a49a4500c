import { Migration } from '@mikro-orm/migrations';
import { becomeOwner, readMigrationSql } from './read-migration-sql.js';

const readSql = (name: string) => readMigrationSql('0009-secrets', name);

/** Tables of evidence that this migration makes: it is not undone while one of them has rows. */
export const secretTables = ['public.secrets', 'public.rotations'] as const;

/** Secrets that rotate, sealed, and the record of their rotations. */
export class Migration0009Secrets extends Migration {
  override up(): void {
    this.addSql(becomeOwner);
    for (const name of ['01-tables', '02-guards', '03-steps']) this.addSql(readSql(name));
    this.addSql('RESET ROLE');
  }

  override down(): void {
    this.addSql(becomeOwner);
    this.addSql(readSql('99-down'));
    this.addSql('RESET ROLE');
  }
}
