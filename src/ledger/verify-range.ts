import type pg from 'pg';
import { BreakList, type LogBreak } from '../core/log-breaks.js';
import { tileWidth } from '../core/tile-path.js';
import type { VerifierKey } from '../core/verifier-key.js';
import type { LogStart } from './purges.js';
import { logs, selectList, type LogName } from './rows.js';
import { isWrittenByAppend, Subtransactions, type ForeignRow } from './subtransactions.js';
import { readCheckpoints, toBigintText, type CheckpointHead } from './verify-checkpoints.js';
import { DayStarts, type DayStart } from './verify-days.js';
import { RangeTreeBuilder, type RangeTree, type StoredTile } from './verify-range-tree.js';
import { rowRules, RowVerifier, type LedgerRow, type Predecessor, type RowRules } from './verify-rows.js';

/** Rows per fetch: large enough to hide the round trip, small enough that two batches of largest entries fit in memory. */
const fetchRows = 500;

/** One piece of a log, to be verified by itself; crosses to a worker thread as a message. */
export interface RangeTask {
  readonly log: LogName;
  /** First and last index as decimal text, for a row that was put farther out than a number can tell. */
  readonly from: string;
  readonly to: string;
  /** First index, a multiple of 256. */
  readonly first: number;
  readonly width: number;
  /** Checkpoints larger than this, up to the range's end, are checked with it. */
  readonly checkpointsAbove: number;
  /** More sizes whose partial hashes are wanted. */
  readonly sizes: readonly number[];
  /** A full tile that ends at or before this size must be stored. */
  readonly tilesRequiredTo: number;
  /** Where the log begins, where that is in this range or behind it: of entries before it only the tree is there. */
  readonly start: LogStart | null;
}

/** What a range gave; crosses back from a worker thread. */
export interface RangeFinding {
  readonly entries: number;
  /** `chain_hash` of the range's last entry as hex, null without entries. */
  readonly headChainHash: string | null;
  readonly tree: RangeTree;
  /** By ascending size. */
  readonly checkpoints: readonly CheckpointHead[];
  readonly days: readonly DayStart[];
  readonly breaks: { readonly first: readonly LogBreak[]; readonly count: number };
}

/** Verifies ranges on one connection, whose transaction shows the snapshot. Ranges of a log come by ascending index. */
export class RangeVerifier {
  readonly #subtransactions: Readonly<Record<LogName, Subtransactions>>;

  constructor(
    private readonly client: pg.Client,
    private readonly keys: Readonly<Record<LogName, readonly VerifierKey[]>>,
  ) {
    this.#subtransactions = {
      signals: new Subtransactions(client, 'signals'),
      audit: new Subtransactions(client, 'audit'),
    };
  }

  /** `onRows` is told each batch's number of rows. Throws what the database reports, and the signal's reason. */
  verify(task: RangeTask, onRows: (rows: number) => void, signal?: AbortSignal): Promise<RangeFinding> {
    return task.log === 'signals'
      ? this.#verify(task, rowRules.signals, onRows, signal)
      : this.#verify(task, rowRules.audit, onRows, signal);
  }

  async #verify<Row extends LedgerRow>(
    task: RangeTask,
    rules: RowRules<Row>,
    onRows: (rows: number) => void,
    signal?: AbortSignal,
  ): Promise<RangeFinding> {
    // Kept apart and joined in this order, so that breaks of one index come in the same one wherever a batch ends.
    const [breaks, treeBreaks, checkpointBreaks] = [new BreakList(), new BreakList(), new BreakList()];
    const predecessor = task.start === null ? await readPredecessor(this.client, task) : predecessorOf(task.start);
    const stored = await readStoredTiles(this.client, task);
    const checkpoints = await readCheckpoints(
      this.client,
      { log: task.log, above: task.checkpointsAbove, upTo: task.first + task.width },
      this.keys[task.log],
      checkpointBreaks,
    );
    const rows = new RowVerifier(rules, breaks, predecessor);
    const days = new DayStarts(predecessor?.recordedAt);
    const tree = new RangeTreeBuilder({
      first: task.first,
      stored,
      sizes: new Set([...task.sizes, ...checkpoints.map(({ size }) => size)]),
      tilesRequiredTo: task.tilesRequiredTo,
      breaks: treeBreaks,
    });
    const firstKept = task.start?.firstKept ?? 0;
    takeRemoved(task, stored, tree, treeBreaks);
    let entries = 0;
    for await (const batch of readRowsInOrder<Row & ForeignRow>(this.client, task, selectList(rules.columns))) {
      signal?.throwIfAborted();
      for (const row of batch) {
        const leafHash = rows.check(row);
        const index = Number(row.chainIndex);
        // An index that a double cannot tell from its neighbours is an INDEX_GAP long before.
        if (index >= firstKept && Number.isSafeInteger(index)) tree.take(index, leafHash);
        days.take(index, rules.recordedAt(row));
      }
      await this.#checkWriters(task.log, batch, breaks);
      entries += batch.length;
      onRows(batch.length);
    }
    const found = tree.finish();
    breaks.addAll(treeBreaks);
    breaks.addAll(checkpointBreaks);
    return {
      entries,
      headChainHash: entries === 0 ? null : rows.headChainHash,
      tree: found,
      checkpoints,
      days: days.found,
      breaks: { first: breaks.first, count: breaks.count },
    };
  }

  async #checkWriters(log: LogName, batch: readonly ForeignRow[], breaks: BreakList): Promise<void> {
    const foreign = batch.filter((row) => !isWrittenByAppend(row));
    if (foreign.length === 0) return;
    // No savepoint is on record for an index that the log can never have reached.
    const [possible, impossible] = [foreign.filter(isSafeIndex), foreign.filter((row) => !isSafeIndex(row))];
    const unexplained = possible.length === 0 ? [] : await this.#subtransactions[log].findUnexplained(possible);
    for (const row of [...unexplained, ...impossible]) addRewritten(row, breaks);
  }
}

function isSafeIndex({ chainIndex }: ForeignRow): boolean {
  return Number.isSafeInteger(Number(chainIndex));
}

export function addRewritten(row: ForeignRow, breaks: BreakList): void {
  breaks.add('ROW_REWRITTEN', Number(row.chainIndex), `appended by transaction ${row.xid}, xmin is ${row.xmin}`);
}

async function readPredecessor(client: pg.ClientBase, { log, from }: RangeTask): Promise<Predecessor | undefined> {
  const { table, recordedColumn } = logs[log];
  const found = await client.query<{ index: string; chainHash: string; recordedAt: string }>(
    `SELECT chain_index AS index, chain_hash AS "chainHash", ${recordedColumn} AS "recordedAt" FROM public.${table}
     WHERE chain_index < $1 ORDER BY chain_index DESC LIMIT 1`,
    [from],
  );
  const [row] = found.rows;
  return row && { ...row, index: Number(row.index) };
}

function predecessorOf({ firstKept, previousHash, lastRecordedAt }: LogStart): Predecessor {
  return { index: firstKept - 1, chainHash: previousHash, recordedAt: lastRecordedAt };
}

/** The tree of entries that were archived and removed is built from the leaf hashes that stayed. */
function takeRemoved(
  { first, width, start }: RangeTask,
  stored: ReadonlyMap<number, StoredTile>,
  tree: RangeTreeBuilder,
  breaks: BreakList,
): void {
  if (start === null) return;
  const end = Math.min(first + width, start.firstKept);
  for (let tile = first / tileWidth; tile * tileWidth < end; tile += 1) {
    const hashes = stored.get(tile)?.hashes;
    if (hashes === undefined) {
      breaks.add('TILE_MISSING', tile * tileWidth, `tile ${tile} of level 0, of removed entries, is not stored`);
      continue;
    }
    for (let place = 0; place < tileWidth; place += 1) {
      tree.take(tile * tileWidth + place, hashes.slice(place * 64, (place + 1) * 64));
    }
  }
}

async function readStoredTiles(
  client: pg.ClientBase,
  { log, first, width }: RangeTask,
): Promise<ReadonlyMap<number, StoredTile>> {
  const found = await client.query<StoredTile & { tile: string }>(
    `SELECT tile, root, hashes FROM public.ledger_tiles
     WHERE log = $1 AND level = 0 AND tile >= $2 AND tile < $3`,
    [log, toBigintText(first / tileWidth), toBigintText((first + width) / tileWidth)],
  );
  return new Map(found.rows.map(({ tile, root, hashes }) => [Number(tile), { root, hashes }]));
}

/** Batches of the range's rows by ascending index; the next one is on its way while the caller checks the last. */
async function* readRowsInOrder<Row extends pg.QueryResultRow>(
  client: pg.Client,
  { log, from, to }: RangeTask,
  select: string,
): AsyncGenerator<readonly Row[]> {
  const cursor = `verify_${log}`;
  await client.query(
    `DECLARE ${cursor} NO SCROLL CURSOR FOR SELECT ${select}, xid, xmin FROM public.${logs[log].table}
     WHERE chain_index BETWEEN ${from} AND ${to} ORDER BY chain_index`,
  );
  const fetchNext = () => {
    const fetched = client.query<Row>(`FETCH ${fetchRows} FROM ${cursor}`);
    // Reported where it is awaited; a caller who stops earlier has an error of its own.
    fetched.catch(() => undefined);
    return fetched;
  };
  let upcoming = fetchNext();
  for (;;) {
    const { rows } = await upcoming;
    if (rows.length === 0) break;
    upcoming = fetchNext();
    yield rows;
  }
  await client.query(`CLOSE ${cursor}`);
}
