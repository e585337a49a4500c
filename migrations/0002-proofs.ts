import { Migration } from '@mikro-orm/migrations';
import { becomeOwner, readMigrationSql } from './read-migration-sql.js';

const readSql = (name: string) => readMigrationSql('0002-proofs', name);

/** Tables of evidence that this migration makes: it is not undone while one of them has rows. */
export const proofTables = [
  'public.checkpoints',
  'public.merkle_roots',
  'public.anchors',
  'public.ledger_tiles',
  'public.signing_keys',
  'public.integrity_baselines',
  'public.integrity_checksum_log',
  'public.incidents',
] as const;

/** Tiles, signed checkpoints, daily roots, anchors, and what the integrity monitor records. */
export class Migration0002Proofs extends Migration {
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
