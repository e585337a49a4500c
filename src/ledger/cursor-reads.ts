import type pg from 'pg';
import { DaybookError } from '../errors.js';
import { auditColumns, logs, selectList, signalColumns, type AuditRow, type LogName, type SignalRow } from './rows.js';

/** The row type of each log. */
export interface RowOf {
  readonly signals: SignalRow;
  readonly audit: AuditRow;
}

const lists: Readonly<Record<LogName, string>> = {
  signals: selectList<SignalRow>(signalColumns),
  audit: selectList<AuditRow>(auditColumns),
};

/** What chains entries, and the bytes that were hashed: all that is needed to hand a log on. */
export type ChainedBody = Pick<AuditRow, 'chainIndex' | 'previousHash' | 'chainHash' | 'body'>;

const chainedBody = ['chainIndex', 'previousHash', 'chainHash', 'body'] satisfies (keyof ChainedBody)[];
const bodyLists: Readonly<Record<LogName, string>> = {
  signals: selectList<SignalRow>(signalColumns, chainedBody),
  audit: selectList<AuditRow>(auditColumns, chainedBody),
};

interface Queryable {
  query<Result extends pg.QueryResultRow>(config: pg.QueryConfig): Promise<pg.QueryResult<Result>>;
}

/** At most `max` rows from position `from` on, in index order. */
export async function readRowsFrom<Log extends LogName>(
  database: Queryable,
  log: Log,
  from: bigint,
  max: number,
): Promise<RowOf[Log][]> {
  const result = await database.query<RowOf[Log]>({
    name: `read_${log}_from`,
    text: `SELECT ${lists[log]} FROM public.${logs[log].table}
           WHERE chain_index >= $1 ORDER BY chain_index LIMIT $2`,
    values: [from.toString(), max],
  });
  return result.rows;
}

/** As readRowsFrom, without the columns that a body holds too: a third of the bytes. */
export async function readBodiesFrom(
  database: Queryable,
  log: LogName,
  from: bigint,
  max: number,
): Promise<ChainedBody[]> {
  const result = await database.query<ChainedBody>({
    name: `read_${log}_bodies_from`,
    text: `SELECT ${bodyLists[log]} FROM public.${logs[log].table}
           WHERE chain_index >= $1 ORDER BY chain_index LIMIT $2`,
    values: [from.toString(), max],
  });
  return result.rows;
}

/**
 * First and last index present, null for an empty log, and the number of rows `behind` position `from`; without `from`
 * none are counted.
 */
export async function readExtent(
  database: Queryable,
  log: LogName,
  from: bigint | null,
): Promise<{ first: bigint | null; last: bigint | null; behind: bigint }> {
  const { table } = logs[log];
  const result = await database.query<{ first: string | null; last: string | null; behind: string }>({
    name: `read_${log}_extent`,
    text: `SELECT (SELECT min(chain_index) FROM public.${table}) AS first,
                  (SELECT max(chain_index) FROM public.${table}) AS last,
                  (SELECT count(*) FROM public.${table} WHERE chain_index >= $1) AS behind`,
    values: [from === null ? null : from.toString()],
  });
  const row = result.rows[0];
  const toIndex = (text: string | null | undefined) => (text === null || text === undefined ? null : BigInt(text));
  return { first: toIndex(row?.first), last: toIndex(row?.last), behind: BigInt(row?.behind ?? '0') };
}

/**
 * Throws LEDGER_BROKEN unless the rows have the indexes `from`, `from` + 1, … and each names its predecessor's chain
 * hash. `before` is the row in front of them, where it is known.
 */
export function assertContinuous(
  log: LogName,
  rows: readonly Omit<ChainedBody, 'body'>[],
  from: bigint,
  before: Omit<ChainedBody, 'body'> | undefined,
): void {
  let position = from;
  let predecessor = before;
  for (const row of rows) {
    if (row.chainIndex !== position.toString()) {
      throw new DaybookError('LEDGER_BROKEN', `the ${log} log has entry ${row.chainIndex} where ${position} must be`);
    }
    if (predecessor !== undefined && row.previousHash !== predecessor.chainHash) {
      throw new DaybookError(
        'LEDGER_BROKEN',
        `entry ${position} of the ${log} log does not name its predecessor's hash`,
      );
    }
    predecessor = row;
    position += 1n;
  }
}
