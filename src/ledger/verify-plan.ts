import type pg from 'pg';
import type { VerifierKey } from '../core/verifier-key.js';
import { readLogStart, type LogStart } from './purges.js';
import { logs, type LogName } from './rows.js';
import { readSignerKeys, type SignerKeys } from './verify-checkpoints.js';
import type { RangeTask } from './verify-range.js';

/** What there is of one log, and the ranges in which it is verified. */
export interface LogPlan {
  readonly log: LogName;
  /** Entries that the log should have by its last index. */
  readonly length: number;
  /** Null where nothing was removed. */
  readonly start: LogStart | null;
  readonly signer: SignerKeys;
  readonly newestCheckpoint: NewestCheckpoint | null;
  /** By ascending index; only where there are entries, or were before they were archived. */
  readonly ranges: readonly RangeTask[];
}

export interface NewestCheckpoint {
  readonly size: number;
  /** As the database noted it; the signature does not cover it. */
  readonly signedAt: string;
}

/**
 * Cuts a log into ranges of `width` indexes, a power of two. One look into the index for each, so that a row somewhere far
 * behind the others costs no more than itself.
 */
export async function planLog(
  client: pg.ClientBase,
  log: LogName,
  options: { readonly width: number; readonly keys: readonly VerifierKey[]; readonly sizes: readonly number[] },
): Promise<LogPlan> {
  const signer = await readSignerKeys(client, log, options.keys);
  const newestCheckpoint = await readNewestCheckpoint(client, log);
  const start = await readLogStart(client, log);
  const removed = Math.ceil((start?.firstKept ?? 0) / options.width);
  const numbers = await readRangeNumbers(client, log, options.width);
  let checkpointsAbove = 0;
  const ranges = withRemoved(numbers, removed).map((number): RangeTask => {
    const from = number * BigInt(options.width);
    const first = Number(from);
    const above = checkpointsAbove;
    const upTo = first + options.width;
    checkpointsAbove = Math.max(upTo, above);
    return {
      log,
      from: from.toString(),
      to: (from + BigInt(options.width) - 1n).toString(),
      first,
      width: options.width,
      checkpointsAbove: above,
      sizes: options.sizes.filter((size) => size > above && size <= upTo),
      tilesRequiredTo: newestCheckpoint?.size ?? 0,
      start: start !== null && first >= 0 && first <= start.firstKept ? start : null,
    };
  });
  return { log, length: await readLength(client, log), start, signer, newestCheckpoint, ranges };
}

/** Numbers of ranges in order, the first `removed` ones among them whether they still have rows or not. */
function withRemoved(numbers: readonly bigint[], removed: number): bigint[] {
  return [
    ...numbers.filter((number) => number < 0n),
    ...Array.from({ length: removed }, (_, place) => BigInt(place)),
    ...numbers.filter((number) => number >= BigInt(removed)),
  ];
}

async function readLength(client: pg.ClientBase, log: LogName): Promise<number> {
  const found = await client.query<{ length: string | null }>(
    `SELECT max(chain_index)::numeric + 1 AS length FROM public.${logs[log].table}`,
  );
  return Math.max(Number(found.rows[0]?.length ?? 0), 0);
}

async function readNewestCheckpoint(client: pg.ClientBase, log: LogName): Promise<NewestCheckpoint | null> {
  const found = await client.query<{ size: string; signedAt: string }>(
    `SELECT tree_size AS size, signed_at AS "signedAt" FROM public.checkpoints
     WHERE log = $1 ORDER BY tree_size DESC LIMIT 1`,
    [log],
  );
  const [row] = found.rows;
  return row === undefined ? null : { size: Number(row.size), signedAt: row.signedAt };
}

async function readRangeNumbers(client: pg.ClientBase, log: LogName, width: number): Promise<bigint[]> {
  const bits = Math.log2(width);
  const table = `public.${logs[log].table}`;
  const found = await client.query<{ number: string }>(
    `WITH RECURSIVE ranges (number) AS (
       (SELECT chain_index >> ${bits} FROM ${table} ORDER BY chain_index LIMIT 1)
       UNION ALL
       SELECT (SELECT chain_index >> ${bits} FROM ${table} WHERE chain_index >= (number + 1) << ${bits}
               ORDER BY chain_index LIMIT 1)
       FROM ranges WHERE number < ${2n ** 63n - 1n} >> ${bits}
     ) SELECT number FROM ranges WHERE number IS NOT NULL`,
  );
  return found.rows.map(({ number }) => BigInt(number));
}
