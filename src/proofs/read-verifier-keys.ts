import { verifierKeyOf } from '../core/verifier-key.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { LogName } from '../ledger/rows.js';
import type { PublishedKey, SigningKeys } from './signing-keys.js';

/** The keys of both logs as the database has them now, oldest first: other nodes make and end some. No secret is touched. */
export async function readVerifierKeys(
  database: Queryable,
  keys: Pick<SigningKeys, 'originOf'>,
): Promise<PublishedKey[]> {
  const found = await database.query<{
    origin: string;
    log: LogName;
    public_key: string;
    valid_from: string;
    valid_until: string | null;
  }>({
    name: 'read_verifier_keys',
    text: `SELECT origin, log, public_key, valid_from, valid_until FROM public.signing_keys ORDER BY valid_from, key_id`,
  });
  // A key under another name never signed for this ledger.
  return found.rows
    .filter(({ origin, log }) => origin === keys.originOf(log))
    .map((row) => ({
      log: row.log,
      verifierKey: verifierKeyOf(row.origin, Uint8Array.from(Buffer.from(row.public_key, 'hex'))),
      validFrom: row.valid_from,
      validUntil: row.valid_until,
    }));
}
