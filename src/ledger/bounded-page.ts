import type pg from 'pg';
import { conditionToSql, type Comparison, type Condition } from './filter.js';
import { boundsIndex, conjunctsOf, readStretch, type Stretch } from './log-stretch.js';
import { logs, type LogName } from './rows.js';

/**
 * Entries that one page looks at, window by window: in the log itself, where they lie side by side, and by an index, where
 * each is somewhere else. Enough to fill nearly every page, and some 30 ms of work however long the log is and whatever the
 * filter asks for.
 */
const windows = [
  { inLog: 1_000, byIndex: 500 },
  { inLog: 4_000, byIndex: 1_000 },
  { inLog: 16_000, byIndex: 2_500 },
] as const;
/** Entries with a prefix that are few enough to be sorted. */
const prefixEntriesMax = 1_000;
/** Conditions of one filter whose indexes are tried. */
const anchorsMax = 5;
/** Longest list behind `in` whose values are each read by the index. */
const anchorValuesMax = 20;

/**
 * Columns with an index on (column, chain_index), those that tell most apart first, and the values that the index leaves
 * out because most entries have them: in the log itself the next one is never far.
 */
export const indexedColumns: Readonly<Record<LogName, Readonly<Record<string, readonly string[]>>>> = {
  signals: { signal_id: [], supersedes: [], symbol: [], strategy: [], producer: [], action: [] },
  audit: {
    id: [],
    request_id: [],
    signal_id: [],
    session_id: [],
    resource: [],
    ip_address: [],
    actor: [],
    outcome: ['OK'],
    event: [],
    role: ['PRODUCER'],
    action: ['READ', 'CREATE'],
    category: [],
  },
};

type Queryable = Pick<pg.Pool, 'query'>;

/** What to read: entries between two indexes, both included, in one direction. */
export interface BoundedRead {
  readonly log: LogName;
  readonly condition: Condition;
  readonly from: bigint | null;
  readonly to: bigint | null;
  readonly descending: boolean;
  /** Most rows to return. */
  readonly rowsMax: number;
  /** The select list. */
  readonly columns: string;
}

/** Rows in the direction of reading. */
export interface BoundedRows<Row> {
  readonly rows: readonly Row[];
  /** Where looking ended before the range or the rows asked for did: everything up to this index is accounted for. */
  readonly lookedUpTo: bigint | null;
}

/** A condition that an index answers in index order. */
interface Anchor {
  readonly comparison: Comparison;
  readonly values: readonly string[];
  readonly leftOut: readonly string[];
}

/** How far the next entries of an index lie; `anchor` is null for the log itself. */
interface Reach {
  readonly anchor: Anchor | null;
  readonly upTo: bigint;
}

/**
 * Reads the entries that match, in index order, and never looks at more than 21,000 of them, or 4,000 by an index. Each window
 * goes by the index that gets farthest with its share of entries, so that a rare value is found at once wherever it lies.
 * Entries never change and are only added at the end, so that several statements see what one would.
 */
export async function readBounded<Row extends object>(
  database: Queryable,
  asked: BoundedRead,
): Promise<BoundedRows<Row>> {
  const conjuncts = conjunctsOf(asked.condition);
  const request = { ...asked, condition: withoutIndexEnds(conjuncts) };
  const range = await readStretch(database, request, conjuncts.filter(boundsIndex));
  if (range === null || request.rowsMax === 0) return { rows: [], lookedUpTo: null };
  const remaining = conjuncts.filter((part) => !boundsIndex(part));
  const anchors = remaining.flatMap((part) => anchorOf(request.log, part) ?? []).sort(byColumn(request.log));
  if (anchors.some(({ values }) => values.length === 0)) return { rows: [], lookedUpTo: null };
  const [anchor = null] = anchors;
  // Where an index answers the whole filter, nothing is looked at in vain.
  if (remaining.length === (anchor === null ? 0 : 1)) {
    const rows = await readRows<Row>(database, request, range, anchor, request.rowsMax, request.rowsMax);
    return { rows, lookedUpTo: null };
  }
  for (const prefix of remaining.filter((part) => isPrefix(request.log, part))) {
    const rows = await readFewWithPrefix<Row>(database, request, range, prefix);
    if (rows !== null) return { rows, lookedUpTo: null };
  }
  return readWindows<Row>(database, request, range, anchors.slice(0, anchorsMax));
}

/** The stretch says already where in the log a time lies: no statement looks for it again. */
function withoutIndexEnds(conjuncts: readonly Condition[]): Condition {
  return { kind: 'and', parts: conjuncts.map((part) => (boundsIndex(part) ? { ...part, risesIn: undefined } : part)) };
}

async function readWindows<Row extends object>(
  database: Queryable,
  request: BoundedRead,
  range: Stretch,
  anchors: readonly Anchor[],
): Promise<BoundedRows<Row>> {
  const rows: Row[] = [];
  let left = range;
  for (const size of windows) {
    const { anchor, upTo } = await chooseReach(database, request, left, anchors, size);
    const window = request.descending ? { ...left, low: upTo } : { ...left, high: upTo };
    const perValue = anchor === null ? 0 : shareOf(anchor, size);
    rows.push(...(await readRows<Row>(database, request, window, anchor, perValue, request.rowsMax - rows.length)));
    if (rows.length === request.rowsMax || upTo === (request.descending ? left.low : left.high)) {
      return { rows, lookedUpTo: null };
    }
    left = request.descending ? { ...left, high: upTo - 1n } : { ...left, low: upTo + 1n };
  }
  return { rows, lookedUpTo: request.descending ? left.high + 1n : left.low - 1n };
}

function isPrefix(log: LogName, condition: Condition): condition is Comparison {
  return (
    condition.kind === 'compare' &&
    condition.operator === 'startsWith' &&
    indexedColumns[log][condition.column]?.length === 0
  );
}

/**
 * All that match where few values begin with the prefix, null where many do. An index finds a beginning only in a database
 * that orders text by bytes, as those do that Daybook makes; in another one the answer is null.
 */
async function readFewWithPrefix<Row extends object>(
  database: Queryable,
  { log, condition, descending, columns, rowsMax }: BoundedRead,
  { low, high }: Stretch,
  prefix: Comparison,
): Promise<readonly Row[] | null> {
  const parameters: unknown[] = [];
  const entries = `public.${logs[log].table} WHERE ${conditionToSql(prefix, parameters)} ORDER BY ${prefix.column}`;
  const looked = await database.query<{ ordered: boolean; many: boolean }>(
    `SELECT ordered, ordered AND EXISTS (SELECT FROM ${entries} OFFSET ${prefixEntriesMax} LIMIT 1) AS many
     FROM (SELECT datlocprovider = 'b' OR (datlocprovider = 'c' AND datcollate IN ('C', 'POSIX')) AS ordered
           FROM pg_database WHERE datname = current_database()) AS server`,
    parameters,
  );
  if (looked.rows[0]?.ordered !== true || looked.rows[0].many) return null;
  const between = `chain_index BETWEEN ${push(parameters, low)} AND ${push(parameters, high)}`;
  const found = await database.query<Row & Record<string, unknown>>(
    `SELECT ${columns} FROM (SELECT * FROM ${entries} LIMIT ${prefixEntriesMax}) AS entries
     WHERE ${between} AND ${conditionToSql(condition, parameters)}
     ORDER BY chain_index ${descending ? 'DESC' : 'ASC'} LIMIT ${rowsMax}`,
    parameters,
  );
  return found.rows;
}

function anchorOf(log: LogName, condition: Condition): Anchor | null {
  if (condition.kind !== 'compare') return null;
  const leftOut = indexedColumns[log][condition.column];
  const { operator, value } = condition;
  if (leftOut === undefined || (operator !== 'eq' && operator !== 'in')) return null;
  const values = [...new Set(operator === 'in' ? (value as readonly string[]) : [String(value)])];
  const usable = values.length <= anchorValuesMax && !values.some((given) => leftOut.includes(given));
  return usable ? { comparison: condition, values, leftOut } : null;
}

function byColumn(log: LogName): (left: Anchor, right: Anchor) => number {
  const order = Object.keys(indexedColumns[log]);
  return (left, right) => order.indexOf(left.comparison.column) - order.indexOf(right.comparison.column);
}

type WindowSize = (typeof windows)[number];

/** Entries of each of an index's values that a window has. */
function shareOf({ values }: Anchor, { byIndex }: WindowSize): number {
  return Math.ceil(byIndex / values.length);
}

/** Where the given number of entries ends by each index and by the log itself, and which of them gets farthest. */
async function chooseReach(
  database: Queryable,
  { log, descending }: BoundedRead,
  stretch: Stretch,
  anchors: readonly Anchor[],
  size: WindowSize,
): Promise<Reach> {
  const { low, high } = stretch;
  const end = descending ? low : high;
  const farther = (a: bigint, b: bigint) => (descending ? a < b : a > b);
  const byLog = descending ? high - BigInt(size.inLog - 1) : low + BigInt(size.inLog - 1);
  const plain: Reach = { anchor: null, upTo: farther(byLog, end) ? end : byLog };
  if (anchors.length === 0 || plain.upTo === end) return plain;
  const parameters: unknown[] = [];
  const list = anchors.map((anchor) => {
    const share = shareOf(anchor, size);
    const last = anchor.values.map(
      (value) =>
        `(SELECT chain_index FROM ${branch(log, anchor, value, stretch, descending, parameters)} OFFSET ${share - 1} LIMIT 1)`,
    );
    return `ARRAY[${last.join(', ')}]::text[]`;
  });
  const found = await database.query<Record<string, readonly (string | null)[]>>(
    `SELECT ${list.map((array, place) => `${array} AS "${place}"`).join(', ')}`,
    parameters,
  );
  const reaches = anchors.map((anchor, place): Reach => {
    const ends = (found.rows[0]?.[place] ?? []).flatMap((index) => (index === null ? [] : [BigInt(index)]));
    return { anchor, upTo: ends.reduce((a, b) => (farther(a, b) ? b : a), end) };
  });
  return [...reaches, plain].reduce((best, reach) => (farther(reach.upTo, best.upTo) ? reach : best));
}

/** Matching rows of a stretch by one index, of which at most `entriesMax` entries of each value are looked at. */
async function readRows<Row extends object>(
  database: Queryable,
  { log, condition, descending, columns }: BoundedRead,
  stretch: Stretch,
  anchor: Anchor | null,
  entriesMax: number,
  rowsMax: number,
): Promise<readonly Row[]> {
  const parameters: unknown[] = [];
  const table = `public.${logs[log].table}`;
  const branches = anchor?.values.map(
    (value) => `(SELECT * FROM ${branch(log, anchor, value, stretch, descending, parameters)} LIMIT ${entriesMax})`,
  );
  const source = branches === undefined ? table : `(${branches.join(' UNION ALL ')}) AS entries`;
  const between = `chain_index BETWEEN ${push(parameters, stretch.low)} AND ${push(parameters, stretch.high)}`;
  const found = await database.query<Row & Record<string, unknown>>(
    `SELECT ${columns} FROM ${source} WHERE ${between} AND ${conditionToSql(condition, parameters)}
     ORDER BY chain_index ${descending ? 'DESC' : 'ASC'} LIMIT ${rowsMax}`,
    parameters,
  );
  return found.rows;
}

/**
 * One value's entries in index order, from the near end of a stretch on; they may lie beyond its far end. The range with equal
 * ends and the order by both columns leave the planner no choice but the index. From an equality it concludes that any way
 * through the log soon meets the value, which is wrong where all entries with it lie at the other end; given both ends of a
 * stretch it reads and sorts all of that.
 */
function branch(
  log: LogName,
  { comparison: { column, type }, leftOut }: Anchor,
  value: string,
  { low, high }: Stretch,
  descending: boolean,
  parameters: unknown[],
): string {
  const wanted = `${push(parameters, value)}::${type}`;
  const guards = leftOut.map((common) => ` AND ${column} <> '${common}'`).join('');
  const order = descending ? 'DESC' : 'ASC';
  return `public.${logs[log].table} WHERE ${column} >= ${wanted} AND ${column} <= ${wanted}${guards}
    AND chain_index ${descending ? `<= ${push(parameters, high)}` : `>= ${push(parameters, low)}`}
    ORDER BY ${column} ${order}, chain_index ${order}`;
}

function push(parameters: unknown[], value: string | bigint): string {
  parameters.push(value.toString());
  return `$${parameters.length}`;
}
