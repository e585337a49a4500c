import { encodeHex, encodeUtf8 } from '../../src/core/bytes.js';
import { CompactRange, emptyRoot, hashLeafBytes } from '../../src/core/merkle-tree.js';
import { logs, type LogName } from '../../src/ledger/rows.js';
import { MTH } from './literal-rfc6962.js';
import type { SqlSession } from './sql-session.js';

/** A log as its rows tell of it, and the roots that they give. */
export interface RecordedLog {
  readonly bodies: readonly Uint8Array[];
  /** UTC, as in 2026-11-20T10:00:00.000000Z. */
  readonly recordedAt: readonly string[];
  /** Of the first 0, 1, 2 … entries, as hex. */
  readonly roots: readonly string[];
}

/** A day's root as the database has it. */
export interface StoredRoot {
  readonly date: string;
  readonly treeSize: number;
  readonly entriesOfDay: number;
  readonly rootHash: string;
  readonly note: string;
  /** Hex, from the root of the day before. */
  readonly proof: readonly string[];
  readonly sealedOn: string;
}

export async function readRecordedLog(session: SqlSession, log: LogName): Promise<RecordedLog> {
  const { table, recordedColumn } = logs[log];
  const rows = await session.run(
    `SELECT body, to_char(${recordedColumn} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS recorded
     FROM public.${table} ORDER BY chain_index`,
  );
  const bodies = rows.map(({ body }) => encodeUtf8(String(body)));
  const range = new CompactRange();
  const roots = [encodeHex(emptyRoot)];
  for (const body of bodies) {
    range.append(hashLeafBytes(body));
    roots.push(encodeHex(range.root()));
  }
  if (roots.at(-1) !== encodeHex(MTH(bodies))) throw new Error(`the roots of ${log} are not those of RFC 6962`);
  return { bodies, recordedAt: rows.map(({ recorded }) => String(recorded)), roots };
}

/** Entries recorded on `date` or before, whatever their index. */
export function countUntil(log: RecordedLog, date: string): number {
  return log.recordedAt.filter((recorded) => recorded.slice(0, 10) <= date).length;
}

/** The roots of a log by date. */
export async function readStoredRoots(session: SqlSession, log: LogName): Promise<StoredRoot[]> {
  const rows = await session.run(
    `SELECT date::text AS date, tree_size, entries_of_day, encode(root_hash, 'hex') AS root_hash, note,
            encode(consistency_proof, 'hex') AS proof, (sealed_at AT TIME ZONE 'UTC')::date::text AS sealed_on
     FROM public.merkle_roots JOIN public.checkpoints USING (log, tree_size) WHERE log = $1 ORDER BY date`,
    [log],
  );
  return rows.map((row) => ({
    date: String(row.date),
    treeSize: Number(row.tree_size),
    entriesOfDay: Number(row.entries_of_day),
    rootHash: String(row.root_hash),
    note: String(row.note),
    proof: String(row.proof).match(/.{64}/g) ?? [],
    sealedOn: String(row.sealed_on),
  }));
}
