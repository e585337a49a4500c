import type { LogBreak } from '../core/log-breaks.js';
import { BreakList } from '../core/log-breaks.js';
import type { Queryable } from './read-entries.js';
import type { LogName } from './rows.js';

/** Where a log begins after its archived entries were removed: what its verification starts from. */
export interface LogStart {
  /** Index of the first entry that is still in the log; a multiple of 256. */
  readonly firstKept: number;
  /** `chain_hash` of the last entry that was removed, hex. */
  readonly previousHash: string;
  /** Recording time of the last entry that was removed. */
  readonly lastRecordedAt: string;
}

/** Null where nothing was ever removed. */
export async function readLogStart(database: Queryable, log: LogName): Promise<LogStart | null> {
  const found = await database.query<{ firstKept: string; previousHash: string; lastRecordedAt: string }>(
    `SELECT first_kept_index AS "firstKept", previous_hash AS "previousHash", last_recorded_at AS "lastRecordedAt"
     FROM public.ledger_purges WHERE log = $1 ORDER BY number DESC LIMIT 1`,
    [log],
  );
  const [row] = found.rows;
  return row === undefined ? null : { ...row, firstKept: Number(row.firstKept) };
}

/** Entries that are in archives alone, as decimal text. */
export interface ArchivedIndexes {
  readonly firstIndex: string;
  readonly lastIndex: string;
}

/**
 * What of the audit log is in archives alone and may tell of signals that were recorded from `from` on: entries about any
 * signal since then, others that were recorded before `until`. Null where all of it is in the log or brought back.
 */
export async function readMissingEntries(
  database: Queryable,
  from: string,
  until: string,
): Promise<ArchivedIndexes | null> {
  const found = await database.query<ArchivedIndexes>(
    `SELECT min(first_index) AS "firstIndex", max(last_index) AS "lastIndex" FROM public.log_archives AS archive
     WHERE last_index < (SELECT max(first_kept_index) FROM public.ledger_purges WHERE log = 'audit')
       AND last_recorded_at >= $1 AND (holds_signals OR first_recorded_at < $2)
       AND NOT EXISTS (SELECT FROM public.restored_entries WHERE archive = archive.number) HAVING count(*) > 0`,
    [from, until],
  );
  return found.rows[0] ?? null;
}

interface ReceiptRow {
  readonly number: string;
  readonly first: string;
  readonly firstKept: string;
  readonly kept: string;
  /** Null where its entry is not in the log. */
  readonly entryIndex: string | null;
  readonly agrees: boolean;
}

/** What a receipt and its EntriesPurged entry must agree in. */
const sameRemoval = `entry.details ->> 'firstIndex' = receipt.first_index::text
  AND entry.details ->> 'firstKeptIndex' = receipt.first_kept_index::text
  AND entry.details ->> 'previousHash' = encode(receipt.previous_hash, 'hex')
  AND entry.details ->> 'treeSize' = receipt.tree_size::text
  AND entry.details ->> 'rootHash' = encode(receipt.root_hash, 'hex')
  AND entry.actor = receipt.purged_by AND entry.xid = receipt.xid`;

/**
 * Checks that each removal continues the one before it and is what its EntriesPurged entry tells, in the snapshot that
 * `client` is in. Entries about removals that were removed later themselves are in their archive.
 */
export async function verifyPurges(client: Queryable, log: LogName, breaks: BreakList): Promise<void> {
  const found = await client.query<ReceiptRow>(
    `SELECT receipt.number, receipt.first_index AS first, receipt.first_kept_index AS "firstKept",
       max(receipt.first_kept_index) OVER () AS kept, entry.chain_index AS "entryIndex",
       coalesce(${sameRemoval}, false) AS agrees
     FROM public.ledger_purges AS receipt LEFT JOIN public.audit_entries AS entry
       ON entry.event = 'EntriesPurged' AND entry.resource = concat('purge/', receipt.number)
     WHERE receipt.log = $1 ORDER BY receipt.number, entry.chain_index`,
    [log],
  );
  let expected = '0';
  for (const [place, receipt] of found.rows.entries()) {
    for (const { index, message } of faultsOf(receipt, expected, place === found.rows.length - 1)) {
      breaks.add('PURGE_UNEXPLAINED', index, message);
    }
    expected = receipt.firstKept;
  }
  if (log !== 'audit') return;
  const keptAlone = await client.query<{ index: string; event: string }>(
    `SELECT entry.chain_index AS index, entry.event FROM public.audit_entries AS entry
     WHERE entry.event IN ('IntegrityBaselineKept', 'RetentionPolicyKept', 'LegalHoldKept')
       AND NOT EXISTS (SELECT FROM public.ledger_purges WHERE xid = entry.xid) ORDER BY entry.chain_index LIMIT 10`,
  );
  for (const { index, event } of keptAlone.rows) {
    breaks.add(
      'PURGE_UNEXPLAINED',
      Number(index),
      `${event} is told by removals alone, and by none of that transaction`,
    );
  }
  const untold = await client.query<{ index: string; resource: string }>(
    `SELECT entry.chain_index AS index, coalesce(entry.resource, '') AS resource FROM public.audit_entries AS entry
     WHERE entry.event = 'EntriesPurged'
       AND NOT EXISTS (SELECT FROM public.ledger_purges WHERE concat('purge/', number) = entry.resource)
     ORDER BY entry.chain_index LIMIT 10`,
  );
  for (const { index, resource } of untold.rows) {
    breaks.add('PURGE_UNEXPLAINED', Number(index), `the entry tells of ${resource}, which left no receipt`);
  }
}

function* faultsOf(
  receipt: ReceiptRow,
  expected: string,
  isNewest: boolean,
): Generator<Pick<LogBreak, 'message'> & { index: number | null }> {
  const { number, first, firstKept, entryIndex, agrees } = receipt;
  const name = `the removal ${number} of the entries from ${first} to before ${firstKept}`;
  if (first !== expected) yield { index: Number(expected), message: `${name} should begin at ${expected}` };
  if (entryIndex !== null && !agrees)
    yield { index: Number(entryIndex), message: `${name} is not what its entry tells` };
  // The newest removal is told by an entry that came after it, and is so never removed with it.
  if (entryIndex === null && isNewest) yield { index: Number(firstKept), message: `no entry tells of ${name}` };
}
