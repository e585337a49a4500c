import type pg from 'pg';
import { genesisHash } from '../core/hash-entry.js';
import { BreakList, type LogBreak } from '../core/log-breaks.js';
import { tileWidth } from '../core/tile-path.js';
import { logs, type LogName } from './rows.js';
import { readLogStart, type LogStart } from './purges.js';
import { isWrittenByAppend, type ForeignRow } from './subtransactions.js';
import { toBigintText } from './verify-checkpoints.js';
import { addRewritten } from './verify-range.js';
import { rowRules, RowVerifier, type LedgerRow, type Predecessor, type RowRules } from './verify-rows.js';
import { withSnapshot } from './verify-snapshot.js';

/** Rows per query; two batches of the largest entries fit in memory. */
const batchRows = 500;

/** Recorded savepoints that may hold a row's index: several only where one ran inside another. */
const savepointsRead = 8;

export interface EntriesVerification {
  /** Rows that were there and were checked. */
  readonly entries: number;
  readonly firstBreak: LogBreak | null;
  /** The first breaks by index, at most `breaksKeptMax`. */
  readonly breaks: readonly LogBreak[];
  readonly breakCount: number;
}

/** What is read beside each row to check it by itself. */
interface Neighbours extends ForeignRow {
  readonly previousChainHash: string | null;
  readonly previousRecordedAt: string | null;
  /** Of the stored tile, where it is full. */
  readonly storedLeaf: string | null;
}

/**
 * Checks some entries of a log, each by itself: its content, the link to its predecessor, the leaf in its stored tile, and
 * who wrote its row. The cost follows the number of entries asked for. `to` is the last index. Throws as verifyLog.
 */
export async function verifyEntries(options: {
  readonly source: { readonly url: string } | { readonly client: pg.Client };
  readonly log: LogName;
  readonly indexes: readonly number[] | { readonly from: number; readonly to: number };
  readonly signal?: AbortSignal;
}): Promise<EntriesVerification> {
  const { source, log, indexes, signal } = options;
  return withSnapshot(source, async (client) => {
    const breaks = new BreakList();
    const start = await readLogStart(client, log);
    let entries = 0;
    for (const batch of inBatches(indexes)) {
      signal?.throwIfAborted();
      entries +=
        log === 'signals'
          ? await verifyBatch(client, { log, start, indexes: batch }, rowRules.signals, breaks)
          : await verifyBatch(client, { log, start, indexes: batch }, rowRules.audit, breaks);
    }
    return { entries, firstBreak: breaks.first[0] ?? null, breaks: breaks.first, breakCount: breaks.count };
  });
}

function* inBatches(indexes: readonly number[] | { readonly from: number; readonly to: number }): Generator<number[]> {
  if ('from' in indexes) {
    for (let first = indexes.from; first <= indexes.to; first += batchRows) {
      const length = Math.min(batchRows, indexes.to - first + 1);
      yield Array.from({ length }, (_, place) => first + place);
    }
    return;
  }
  const ascending = [...new Set(indexes)].sort((left, right) => left - right);
  for (let place = 0; place < ascending.length; place += batchRows) yield ascending.slice(place, place + batchRows);
}

async function verifyBatch<Row extends LedgerRow>(
  client: pg.ClientBase,
  {
    log,
    start,
    indexes,
  }: { readonly log: LogName; readonly start: LogStart | null; readonly indexes: readonly number[] },
  rules: RowRules<Row>,
  breaks: BreakList,
): Promise<number> {
  const rows = await readWithNeighbours(client, log, rules, indexes);
  const seen = new Set<number>();
  for (const row of rows) {
    const index = Number(row.chainIndex);
    if (seen.has(index)) breaks.add('INDEX_GAP', index, `index ${index} occurs twice`);
    seen.add(index);
    const leafHash = new RowVerifier(rules, breaks, predecessorOf(index, row, start, breaks)).check(row);
    if (row.storedLeaf === null || row.storedLeaf === leafHash) continue;
    breaks.add('TILE_MISMATCH', index, `its tile of level 0 holds ${row.storedLeaf}, the body gives ${leafHash}`);
  }
  for (const index of indexes) {
    if (!seen.has(index)) breaks.add('INDEX_GAP', index, `index ${index} is missing`);
  }
  for (const row of await findUnexplained(client, log, rows)) addRewritten(row, breaks);
  return rows.length;
}

function predecessorOf(index: number, row: Neighbours, start: LogStart | null, breaks: BreakList): Predecessor {
  if (index === 0) return { index: -1, chainHash: genesisHash, recordedAt: '' };
  if (index === start?.firstKept) {
    return { index: index - 1, chainHash: start.previousHash, recordedAt: start.lastRecordedAt };
  }
  if (row.previousChainHash === null) breaks.add('INDEX_GAP', index - 1, `index ${index - 1} is missing`);
  return { index: index - 1, chainHash: row.previousChainHash, recordedAt: row.previousRecordedAt ?? '' };
}

async function readWithNeighbours<Row extends LedgerRow>(
  client: pg.ClientBase,
  log: LogName,
  rules: RowRules<Row>,
  indexes: readonly number[],
): Promise<(Row & Neighbours)[]> {
  const { table, recordedColumn } = logs[log];
  const columns = Object.entries<string>(rules.columns).map(([name, column]) => `entry.${column} AS "${name}"`);
  const found = await client.query<Row & Neighbours>(
    `SELECT ${columns.join(', ')}, entry.xid, entry.xmin,
            before.chain_hash AS "previousChainHash", before.${recordedColumn} AS "previousRecordedAt",
            substring(stored.hashes FROM (entry.chain_index % ${tileWidth})::integer * 32 + 1 FOR 32) AS "storedLeaf"
     FROM public.${table} AS entry
       LEFT JOIN LATERAL (SELECT chain_hash, ${recordedColumn} FROM public.${table} AS previous
         WHERE previous.chain_index = entry.chain_index - 1 LIMIT 1) AS before ON true
       LEFT JOIN public.ledger_tiles AS stored
         ON stored.log = $2 AND stored.level = 0 AND stored.tile = entry.chain_index / ${tileWidth}
     WHERE entry.chain_index = ANY ($1::bigint[]) ORDER BY entry.chain_index`,
    [indexes.map(toBigintText), log],
  );
  return found.rows;
}

/** Rows whose xmin is neither their transaction's nor that of a savepoint on record for them. */
async function findUnexplained<Row extends ForeignRow>(
  client: pg.ClientBase,
  log: LogName,
  rows: readonly Row[],
): Promise<Row[]> {
  const foreign = rows.filter((row) => !isWrittenByAppend(row));
  if (foreign.length === 0) return [];
  const explained = await client.query<{ index: string }>(
    `SELECT written.index FROM unnest($2::bigint[], $3::xid8[], $4::xid[]) AS written (index, xid, xmin)
     WHERE EXISTS (SELECT FROM (
         SELECT last_index, xid, subxid FROM public.ledger_subxacts
         WHERE log = $1 AND first_index <= written.index ORDER BY first_index DESC LIMIT ${savepointsRead}) AS savepoint
       WHERE savepoint.last_index >= written.index AND savepoint.xid = written.xid AND savepoint.subxid = written.xmin)`,
    [log, foreign.map((row) => row.chainIndex), foreign.map((row) => row.xid), foreign.map((row) => row.xmin)],
  );
  const indexes = new Set(explained.rows.map(({ index }) => index));
  return foreign.filter(({ chainIndex }) => !indexes.has(chainIndex));
}
