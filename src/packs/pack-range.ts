import { encodeHex } from '../core/bytes.js';
import { decompose } from '../core/merkle-tree.js';
import { DaybookError } from '../errors.js';
import { readLogStart, type LogStart } from '../ledger/purges.js';
import type { Queryable } from '../ledger/read-entries.js';
import { logNames, logs, type LogName } from '../ledger/rows.js';
import { readFoldedGroups } from '../ledger/tree-nodes.js';

/** A tree head as a pack holds it; null where the log had no entries. */
export interface PackHead {
  readonly treeSize: number;
  readonly rootHash: string;
  readonly note: string;
}

/** What of a log belongs into a pack: the entries from one tree head to another. */
export interface PackRange {
  readonly origin: string;
  /** Null before the first day. */
  readonly before: PackHead | null;
  readonly head: PackHead;
  /** Hashes of the perfect subtrees before the range, as hex. */
  readonly previousSubtrees: readonly string[];
  readonly chainBefore: string;
}

const genesis = '00'.repeat(32);

/** The tree and the chain right before a range. Throws ARCHIVED, LEDGER_BROKEN where the entry before it is not there. */
export async function readRangeStart(
  database: Queryable,
  log: LogName,
  size: number,
): Promise<Pick<PackRange, 'previousSubtrees' | 'chainBefore'>> {
  if (size === 0) {
    assertNotArchived(log, size, await readLogStart(database, log));
    return { previousSubtrees: [], chainBefore: genesis };
  }
  const subtrees = await readFoldedGroups(
    database,
    log,
    decompose(0, size).map((node) => [node]),
  );
  const last = await database.query<{ chainHash: string }>(
    `SELECT encode(chain_hash, 'hex') AS "chainHash" FROM public.${logs[log].table} WHERE chain_index = $1`,
    [size - 1],
  );
  const chainBefore = last.rows[0]?.chainHash;
  if (chainBefore === undefined) {
    const start = await readLogStart(database, log);
    if (start?.firstKept === size)
      return { previousSubtrees: subtrees.map(encodeHex), chainBefore: start.previousHash };
    assertNotArchived(log, size, start);
    throw new DaybookError('LEDGER_BROKEN', `entry ${size - 1} of the ${log} log is not there: run daybook verify`);
  }
  return { previousSubtrees: subtrees.map(encodeHex), chainBefore };
}

/** Throws ARCHIVED for a range whose first entries were removed: a pack is made of the log, not of copies. */
function assertNotArchived(log: LogName, size: number, start: LogStart | null): void {
  if (start === null || size >= start.firstKept) return;
  throw new DaybookError(
    'ARCHIVED',
    `entries of this day were archived: the ${log} log begins at ${start.firstKept}. Take the pack that was made in time, or ` +
      `read the entries: daybook archive restore --from ${size} --to ${start.firstKept - 1} --out <file>`,
  );
}

/** The day before and the day after, as in 2026-11-20. */
export function dayAfter(date: string, days = 1): string {
  return new Date(Date.parse(`${date}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

/** Throws BAD_USER_INPUT for anything but a day of the calendar. */
export function assertDate(name: string, date: string): void {
  const isDay = /^\d{4}-\d\d-\d\d$/.test(date) && !Number.isNaN(Date.parse(`${date}T00:00:00Z`));
  if (!isDay || dayAfter(date, 0) !== date) {
    throw new DaybookError('BAD_USER_INPUT', `${name} must be a day such as 2026-11-20`);
  }
}

export type PackRanges = Readonly<Record<LogName, PackRange>>;

/** One value for each log. */
export async function forEachLog<Value>(work: (log: LogName) => Promise<Value>): Promise<Record<LogName, Value>> {
  const values = {} as Record<LogName, Value>;
  for (const log of logNames) values[log] = await work(log);
  return values;
}
