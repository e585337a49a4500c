import type pg from 'pg';
import { DaybookError } from '../errors.js';
import { countAuditEntries, orTooBroad } from './audit-totals.js';
import { readBounded } from './bounded-page.js';
import { conditionToSql, type Condition, type FilterFields } from './filter.js';
import { auditColumns, logs, selectList, signalColumns, type AuditRow, type LogName, type SignalRow } from './rows.js';

/** Most rows of one page, and how many when the caller does not say. */
const pageRowsMax = 1_000;
export const pageRowsDefault = 50;

/** Properties that filters may name. */
export const signalFilterFields = {
  chainIndex: { column: 'chain_index', kind: 'integer' },
  id: { column: 'signal_id', kind: 'text', property: 'signalId' },
  symbol: { column: 'symbol', kind: 'text' },
  action: { column: 'action', kind: 'text' },
  strategy: { column: 'strategy', kind: 'text' },
  producer: { column: 'producer', kind: 'text' },
  supersedes: { column: 'supersedes', kind: 'text' },
  serverTimestamp: { column: 'server_timestamp', kind: 'time', risesIn: 'public.signals' },
} as const satisfies FilterFields;

export const auditFilterFields = {
  chainIndex: { column: 'chain_index', kind: 'integer' },
  id: { column: 'id', kind: 'uuid' },
  category: { column: 'category', kind: 'text' },
  event: { column: 'event', kind: 'text' },
  action: { column: 'action', kind: 'text' },
  actor: { column: 'actor', kind: 'text' },
  role: { column: 'role', kind: 'text' },
  outcome: { column: 'outcome', kind: 'text' },
  ipAddress: { column: 'ip_address', kind: 'text' },
  resource: { column: 'resource', kind: 'text' },
  signalId: { column: 'signal_id', kind: 'text' },
  requestId: { column: 'request_id', kind: 'text' },
  sessionId: { column: 'session_id', kind: 'text' },
  occurredAt: { column: 'occurred_at', kind: 'time' },
  recordedAt: { column: 'recorded_at', kind: 'time', risesIn: 'public.audit_entries' },
  text: { column: 'details', kind: 'json', property: 'details' },
} as const satisfies FilterFields;

/** The same for copies of archived entries, which lie anywhere in time. */
export const restoredFilterFields = {
  ...auditFilterFields,
  recordedAt: { column: 'recorded_at', kind: 'time' },
} as const satisfies FilterFields;

interface SizeRequest {
  readonly first?: number | null | undefined;
  readonly last?: number | null | undefined;
}

/** One page's request, already checked: exactly one of `first` and `last` counts. */
export interface PageRequest {
  readonly condition: Condition | null;
  readonly newestFirst: boolean;
  readonly first?: number | null;
  readonly after?: string | null;
  readonly last?: number | null;
  readonly before?: string | null;
  /** Row properties the caller will look at; `chainIndex` is always read. */
  readonly properties?: ReadonlySet<string>;
  /**
   * True for a page whose cost must not grow with the log: it may have fewer rows than asked for, or none, although more
   * follow. `lookedUpTo` says so. False for a caller who takes a short page for the last one.
   */
  readonly bounded?: boolean;
  /** Another table with the columns of the log's own, to read from instead. */
  readonly table?: 'restored_entries';
}

/** A page of rows in the requested order, and lazily what lies around it. */
export interface Page<Row> {
  readonly rows: readonly Row[];
  readonly hasNextPage: () => Promise<boolean>;
  readonly hasPreviousPage: () => Promise<boolean>;
  readonly totalCount: () => Promise<number>;
  /** Index at which a bounded page ended early, at the start or the end of its rows: the place to go on from. */
  readonly lookedUpTo?: { readonly edge: 'start' | 'end'; readonly chainIndex: string };
}

/** The page of a list in which nothing can be. */
export const emptyPage: Page<never> = {
  rows: [],
  hasNextPage: () => Promise.resolve(false),
  hasPreviousPage: () => Promise.resolve(false),
  totalCount: () => Promise.resolve(0),
};

interface LogRows {
  signals: SignalRow;
  audit: AuditRow;
}

/** Whoever can run a query: a pool or one of its clients. */
export type Queryable = Pick<pg.Pool, 'query'>;

/**
 * Reads one page by keyset on the index. Throws BAD_USER_INPUT for a cursor of another log, for `first` and `last`
 * together, or sizes outside 0…1,000.
 */
export async function readPage<Log extends LogName>(
  database: Queryable,
  log: Log,
  request: PageRequest,
): Promise<Page<LogRows[Log]>> {
  const size = pageSize(request);
  const backwards = request.last !== undefined && request.last !== null;
  const after = readCursor(log, 'after', request.after);
  const before = readCursor(log, 'before', request.before);
  const { newestFirst } = request;
  const [above, below] = newestFirst ? [before, after] : [after, before];
  const { rows: found, lookedUpTo } = await readDirected<LogRows[Log]>(database, log, request, {
    above,
    below,
    descending: newestFirst !== backwards,
    columns: columnsOf(log, request.properties),
    rowsMax: size + 1,
  });
  const rows = found.slice(0, size);
  if (backwards) rows.reverse();
  const more = found.length > size || lookedUpTo !== null;

  // Whether anything matches beyond an edge of the page, on the side where higher indexes lie or the other one.
  const exists = async (higher: boolean, edge: string | undefined): Promise<boolean> => {
    if (edge === undefined) return false;
    const side = higher ? { above: edge, below: null } : { above: null, below: edge };
    const ask = { ...side, descending: !higher, columns: 'chain_index AS "chainIndex"', rowsMax: 1 };
    const answer = await readDirected<LogRows[Log]>(database, log, request, ask);
    return answer.rows.length > 0 || answer.lookedUpTo !== null;
  };
  return {
    rows,
    hasNextPage: () =>
      backwards
        ? exists(!newestFirst, before === null ? undefined : (rows.at(-1)?.chainIndex ?? before))
        : Promise.resolve(more),
    hasPreviousPage: () =>
      backwards
        ? Promise.resolve(more)
        : exists(newestFirst, after === null ? undefined : (rows[0]?.chainIndex ?? after)),
    totalCount: () => countEntries(database, log, request),
    ...(lookedUpTo === null || found.length > size
      ? {}
      : { lookedUpTo: { edge: backwards ? 'start' : 'end', chainIndex: lookedUpTo } as const }),
  };
}

/** Part of a log in one direction, between two indexes that do not belong to it. */
interface DirectedRead {
  readonly above: string | null;
  readonly below: string | null;
  readonly descending: boolean;
  readonly columns: string;
  readonly rowsMax: number;
}

async function readDirected<Row extends LogRows[LogName]>(
  database: Queryable,
  log: LogName,
  request: PageRequest,
  { above, below, descending, columns, rowsMax }: DirectedRead,
): Promise<{ rows: Row[]; lookedUpTo: string | null }> {
  const { condition, bounded, table } = request;
  if (bounded === true && condition !== null) {
    const from = above === null ? null : BigInt(above) + 1n;
    const to = below === null ? null : BigInt(below) - 1n;
    const read = { log, condition, from, to, descending, rowsMax, columns };
    const { rows, lookedUpTo } = await readBounded<Row>(database, read);
    return { rows: [...rows], lookedUpTo: lookedUpTo?.toString() ?? null };
  }
  const parameters: unknown[] = [];
  const bounds = condition === null ? [] : [conditionToSql(condition, parameters)];
  if (above !== null) bounds.push(`chain_index > ${parameter(parameters, above)}`);
  if (below !== null) bounds.push(`chain_index < ${parameter(parameters, below)}`);
  const { rows } = await database.query<Row>(
    `SELECT ${columns} FROM public.${table ?? logs[log].table}${where(bounds)}
     ORDER BY chain_index ${descending ? 'DESC' : 'ASC'} LIMIT ${rowsMax}`,
    parameters,
  );
  return { rows, lookedUpTo: null };
}

/** Number of entries that match; computed only when asked for. Throws QUERY_TOO_BROAD where that takes too long. */
async function countEntries(
  database: Queryable,
  log: LogName,
  { condition, table }: Pick<PageRequest, 'condition' | 'table'>,
): Promise<number> {
  if (log === 'audit' && table === undefined) return Number(await countAuditEntries(database, condition));
  const parameters: unknown[] = [];
  const bounds = condition === null ? [] : [conditionToSql(condition, parameters)];
  const counted = await orTooBroad(() =>
    database.query<{ count: string }>(
      `SELECT count(*) AS count FROM public.${table ?? logs[log].table}${where(bounds)}`,
      parameters,
    ),
  );
  return Number(counted.rows[0]?.count ?? 0);
}

/** Signals by public id, in no particular order; ids that are not recorded are left out. */
export async function readSignalsById(database: Queryable, ids: readonly string[]): Promise<SignalRow[]> {
  const found = await database.query<SignalRow>(
    `SELECT ${columnsOf('signals')} FROM public.signals WHERE signal_id = ANY ($1::text[])`,
    [ids],
  );
  return found.rows;
}

/** Signals that supersede one of the given ids. */
export async function readSupersedingSignals(database: Queryable, ids: readonly string[]): Promise<SignalRow[]> {
  const found = await database.query<SignalRow>(
    `SELECT ${columnsOf('signals')} FROM public.signals WHERE supersedes = ANY ($1::text[])`,
    [ids],
  );
  return found.rows;
}

/** One audit entry by its id or its index, also one that was brought back from its archive; null when there is none. */
export async function readAuditEntry(
  database: Queryable,
  by: { readonly id: string } | { readonly chainIndex: string },
): Promise<AuditRow | null> {
  const [column, value] = 'id' in by ? ['id', by.id] : ['chain_index', by.chainIndex];
  const select = (table: string) => `SELECT ${columnsOf('audit')} FROM public.${table} WHERE ${column} = $1`;
  const found = await database.query<AuditRow>(
    `${select('audit_entries')} UNION ALL ${select('restored_entries')} LIMIT 1`,
    [value],
  );
  return found.rows[0] ?? null;
}

/** Opaque cursor of a row in a connection. */
export function encodeCursor(log: LogName, chainIndex: string): string {
  return Buffer.from(`${log}:${chainIndex}`).toString('base64url');
}

/** Index that a cursor names, null for none. Throws BAD_USER_INPUT for a cursor of another list. */
export function readCursor(log: LogName, argument: string, cursor: string | null | undefined): string | null {
  if (cursor === undefined || cursor === null) return null;
  const match = /^(signals|audit):(\d{1,18})$/.exec(Buffer.from(cursor, 'base64url').toString());
  if (match?.[1] !== log || match[2] === undefined) {
    throw new DaybookError('BAD_USER_INPUT', `${argument} is not a cursor of this list: use pageInfo or edges.cursor`);
  }
  return match[2];
}

/** Rows of a page. Throws BAD_USER_INPUT for `first` and `last` together, or a size outside 0…1,000. */
export function pageSize({ first, last }: SizeRequest): number {
  if (first !== undefined && first !== null && last !== undefined && last !== null) {
    throw new DaybookError('BAD_USER_INPUT', 'give first or last, not both');
  }
  const size = first ?? last ?? pageRowsDefault;
  if (size < 0 || size > pageRowsMax) {
    throw new DaybookError('BAD_USER_INPUT', `first and last must lie between 0 and ${pageRowsMax}: page with cursors`);
  }
  return size;
}

/** The select list of the wanted properties, all where none are named; `chainIndex` is always in it. */
export function columnsOf(log: LogName, properties?: ReadonlySet<string>): string {
  const wanted = properties === undefined ? undefined : new Set(['chainIndex', ...properties]);
  return log === 'signals' ? selectList<SignalRow>(signalColumns, wanted) : selectList<AuditRow>(auditColumns, wanted);
}

function where(bounds: readonly string[]): string {
  return bounds.length === 0 ? '' : ` WHERE ${bounds.join(' AND ')}`;
}

function parameter(parameters: unknown[], value: unknown): string {
  parameters.push(value);
  return `$${parameters.length}`;
}
