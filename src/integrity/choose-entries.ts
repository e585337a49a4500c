import type pg from 'pg';
import { logNames, logs, type LogName } from '../ledger/rows.js';

/** Entries of one log to be verified: `from` is the first index, `to` the one after the last; indexes are ascending. */
export type EntrySelection = { readonly from: number; readonly to: number } | { readonly indexes: readonly number[] };

/** How far a log reaches, and where what was recorded in the last minutes begins. */
export interface LogReach {
  readonly log: LogName;
  readonly length: number;
  /** Index of the first entry that is not archived and removed. */
  readonly first: number;
  readonly recentFrom: number;
}

/** Reads both logs' reach in the snapshot that `client` is in. */
export async function readReach(client: pg.ClientBase, recentMinutes: number): Promise<LogReach[]> {
  const reaches: LogReach[] = [];
  for (const log of logNames) {
    const { table, recordedColumn } = logs[log];
    const found = await client.query<{ length: string; first: string; recentFrom: string | null }>(
      `SELECT (SELECT coalesce(max(first_kept_index), 0) FROM public.ledger_purges WHERE log = '${log}') AS first,
         (SELECT coalesce(max(chain_index) + 1, 0) FROM public.${table}) AS length,
         (SELECT chain_index FROM public.${table}
          WHERE ${recordedColumn} >= clock_timestamp() - make_interval(mins => $1)
          ORDER BY ${recordedColumn}, chain_index LIMIT 1) AS "recentFrom"`,
      [recentMinutes],
    );
    const length = Number(found.rows[0]?.length ?? 0);
    reaches.push({
      log,
      length,
      first: Number(found.rows[0]?.first ?? 0),
      recentFrom: Number(found.rows[0]?.recentFrom ?? length),
    });
  }
  return reaches;
}

/** What was recorded in the last minutes; logs without any are left out. */
export function chooseRecent(reaches: readonly LogReach[]): { log: LogName; selection: EntrySelection }[] {
  return reaches
    .filter(({ length, recentFrom }) => recentFrom < length)
    .map(({ log, length, recentFrom }) => ({ log, selection: { from: recentFrom, to: length } }));
}

/**
 * `size` entries drawn from all that are older than the last minutes, each with the same chance whichever log it is in; all
 * of them where there are not more. `randomInt(n)` gives a whole number from 0 to n − 1, each equally likely.
 */
export function chooseSample(
  reaches: readonly LogReach[],
  size: number,
  randomInt: (bound: number) => number,
): { log: LogName; selection: EntrySelection }[] {
  const population = reaches.reduce((sum, { first, recentFrom }) => sum + recentFrom - first, 0);
  const drawn = drawDistinct(population, Math.min(size, population), randomInt).sort((one, other) => one - other);
  let offset = 0;
  return reaches.flatMap(({ log, first, recentFrom }) => {
    const from = offset;
    offset += recentFrom - first;
    const indexes = drawn.filter((place) => place >= from && place < offset).map((place) => place - from + first);
    return indexes.length === 0 ? [] : [{ log, selection: { indexes } }];
  });
}

/** Floyd's algorithm: `size` distinct numbers below `population` in exactly as many draws. */
function drawDistinct(population: number, size: number, randomInt: (bound: number) => number): number[] {
  const drawn = new Set<number>();
  for (let bound = population - size; bound < population; bound += 1) {
    const candidate = randomInt(bound + 1);
    drawn.add(drawn.has(candidate) ? bound : candidate);
  }
  return [...drawn];
}
