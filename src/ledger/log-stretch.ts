import type pg from 'pg';
import { conditionToSql, type Comparison, type Condition } from './filter.js';
import { logs, type LogName } from './rows.js';

/** A stretch of a log, both ends included. */
export interface Stretch {
  readonly low: bigint;
  readonly high: bigint;
}

/** Conditions that must all hold. */
export function conjunctsOf(condition: Condition | null): readonly Condition[] {
  if (condition === null) return [];
  return condition.kind === 'and' ? condition.parts.flatMap(conjunctsOf) : [condition];
}

const ordering = ['eq', 'lt', 'lte', 'gt', 'gte'];

/** True where a condition says between which indexes its entries lie, and nothing else. */
export function boundsIndex(condition: Condition): condition is Comparison {
  return (
    condition.kind === 'compare' &&
    (condition.column === 'chain_index' || condition.risesIn !== undefined) &&
    ordering.includes(condition.operator)
  );
}

/**
 * Between which indexes the entries lie that fulfil `bounds`, within `from` and `to`, both included; null where there are
 * none. A log has no gaps, so that it holds every index of its stretch.
 */
export async function readStretch(
  database: Pick<pg.Pool, 'query'>,
  { log, from, to }: { readonly log: LogName; readonly from: bigint | null; readonly to: bigint | null },
  bounds: readonly Comparison[],
): Promise<Stretch | null> {
  const table = `public.${logs[log].table}`;
  const parameters: unknown[] = [];
  const ends = bounds.flatMap((bound) => endsOf(table, bound, parameters));
  const sides = ends.map(({ side, sql }, place) => `${sql} AS ${side}_${place}`);
  const found = await database.query<Record<string, string | null>>(
    `SELECT ${[`(SELECT min(chain_index) FROM ${table}) AS low`, `(SELECT max(chain_index) FROM ${table}) AS high`, ...sides].join(', ')}`,
    parameters,
  );
  const stated = Object.entries(found.rows[0] ?? {});
  if (stated.length === 0 || stated.some(([, value]) => value === null)) return null;
  const of = (side: Side) => stated.flatMap(([name, value]) => (name.startsWith(side) ? [BigInt(value ?? 0)] : []));
  const low = [...of('low'), ...(from === null ? [] : [from])].reduce((a, b) => (a > b ? a : b));
  const high = [...of('high'), ...(to === null ? [] : [to])].reduce((a, b) => (a < b ? a : b));
  return low > high ? null : { low, high };
}

type Side = 'low' | 'high';

/** The ends that a comparison of the index, or of a value that rises with it, sets. */
function endsOf(table: string, comparison: Comparison, parameters: unknown[]): { side: Side; sql: string }[] {
  const { column, operator } = comparison;
  const end = (side: Side, operator: 'gt' | 'gte' | 'lt' | 'lte') => {
    const where = conditionToSql({ ...comparison, operator, risesIn: undefined }, parameters);
    const order = side === 'low' ? 'ASC' : 'DESC';
    const sort = column === 'chain_index' ? [] : [`${column} ${order}`];
    return {
      side,
      sql: `(SELECT chain_index FROM ${table} WHERE ${where} ORDER BY ${[...sort, `chain_index ${order}`].join(', ')} LIMIT 1)`,
    };
  };
  if (operator === 'gt' || operator === 'gte') return [end('low', operator)];
  if (operator === 'lt' || operator === 'lte') return [end('high', operator)];
  return [end('low', 'gte'), end('high', 'lte')];
}
