import { Migration } from '@mikro-orm/migrations';
import { becomeOwner, readMigrationSql } from './read-migration-sql.js';

const readSql = (name: string, placeholders?: Readonly<Record<string, string>>) =>
  readMigrationSql('0001-ledger', name, placeholders);

/**
 * The ledger: two logs that PostgreSQL itself chains and refuses to change, what refused modifications leave, and API
 * keys. Everything is made by the owner role where there is one, so that neither application nor auditor owns it.
 */
export class Migration0001Ledger extends Migration {
  override up(): void {
    this.addSql(becomeOwner);
    this.addSql(readSql('01-tables'));
    this.addSql(readSql('02-canonical'));
    this.addSql(readSql('03-append'));
    const floor = '(SELECT recorded_at FROM public.audit_entries ORDER BY chain_index DESC LIMIT 1)';
    this.addSql(readSql('04-log-triggers', { table: 'signals', recorded: 'server_timestamp', log: 'signals', floor }));
    this.addSql(
      readSql('04-log-triggers', { table: 'audit_entries', recorded: 'recorded_at', log: 'audit', floor: 'NULL' }),
    );
    this.addSql(readSql('05-restore'));
    this.addSql(readSql('06-refusal'));
    this.addSql(readSql('07-reconcile'));
    this.addSql(readSql('08-access'));
    this.addSql('RESET ROLE');
  }

  override down(): void {
    this.addSql(readSql('99-down'));
  }
}
