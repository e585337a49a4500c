import { sqlState } from '../db/admin-connection.js';
import { DaybookError } from '../errors.js';
import { conditionToSql, type Condition } from './filter.js';
import { boundsIndex, conjunctsOf, readStretch, type Stretch } from './log-stretch.js';
import type { Queryable } from './read-entries.js';

/** Entries of one block of `audit_totals`, as the database's function has it. */
const blockEntries = 16_384n;
/** Blocks counted by one statement: half a million entries, a second or two. */
const blocksPerRollUp = 32;

/** What `audit_totals` tells apart: conditions on these alone are answered without a look at the entries. */
const totalledColumns: ReadonlySet<string> = new Set(['category', 'event', 'action', 'actor', 'role', 'outcome']);

/** Which entries a filter leaves: a stretch of the log, and what else must hold. */
interface Selection {
  readonly stretch: Stretch;
  readonly remaining: readonly Condition[];
}

/** How the entries of a selection are counted. */
export interface CountPlan extends Selection {
  /** First and last block that are counted by their totals; null where entries are looked at one by one. */
  readonly blocks: Stretch | null;
}

/** Counts whole blocks that are not counted yet; throws what aborted `signal`. Several may do so at once. */
export async function rollUpTotals(database: Queryable, signal?: AbortSignal): Promise<void> {
  for (;;) {
    signal?.throwIfAborted();
    const found = await database.query<{ counted: number }>('SELECT daybook.roll_up_audit_totals($1) AS counted', [
      blocksPerRollUp,
    ]);
    if ((found.rows[0]?.counted ?? 0) < blocksPerRollUp) return;
  }
}

/** How to count the audit entries that match; null where there are none. Brings totals up to date where they are used. */
export async function planCount(database: Queryable, condition: Condition | null): Promise<CountPlan | null> {
  const selection = await readSelection(database, condition);
  return selection === null ? null : { ...selection, blocks: await readTotalledBlocks(database, selection) };
}

async function readSelection(database: Queryable, condition: Condition | null): Promise<Selection | null> {
  const conjuncts = conjunctsOf(condition);
  const stretch = await readStretch(database, { log: 'audit', from: null, to: null }, conjuncts.filter(boundsIndex));
  return stretch === null ? null : { stretch, remaining: conjuncts.filter((part) => !boundsIndex(part)) };
}

async function readTotalledBlocks(database: Queryable, { stretch, remaining }: Selection): Promise<Stretch | null> {
  const first = (stretch.low + blockEntries - 1n) / blockEntries;
  const last = (stretch.high + 1n) / blockEntries - 1n;
  if (first > last || !remaining.every(isTotalled)) return null;
  await rollUpTotals(database);
  const found = await database.query<{ low: string | null; high: string | null }>(
    `SELECT greatest(min(block), $1) AS low, least(max(block), $2) AS high FROM public.audit_totals`,
    [first.toString(), last.toString()],
  );
  const { low = null, high = null } = found.rows[0] ?? {};
  return low === null || high === null || BigInt(low) > BigInt(high) ? null : { low: BigInt(low), high: BigInt(high) };
}

function isTotalled(condition: Condition): boolean {
  if (condition.kind === 'compare') return totalledColumns.has(condition.column);
  return condition.kind === 'not' ? isTotalled(condition.part) : condition.parts.every(isTotalled);
}

/** Indexes that the totals of a plan do not cover, newest first. */
export function uncoveredStretches({ stretch, blocks }: CountPlan): readonly Stretch[] {
  if (blocks === null) return [stretch];
  const newer = { low: (blocks.high + 1n) * blockEntries, high: stretch.high };
  const older = { low: stretch.low, high: blocks.low * blockEntries - 1n };
  return [newer, older].filter(({ low, high }) => low <= high);
}

/** SQL that is true for the entries of a stretch that fulfil what remains of a filter. */
export function entriesWhere({ low, high }: Stretch, remaining: readonly Condition[], parameters: unknown[]): string {
  const between = `chain_index BETWEEN ${push(parameters, low)} AND ${push(parameters, high)}`;
  return [between, ...remaining.map((part) => conditionToSql(part, parameters))].join(' AND ');
}

/** SQL that is true for the totals of a plan's blocks that fulfil what remains of its filter. */
export function totalsWhere(blocks: Stretch, remaining: readonly Condition[], parameters: unknown[]): string {
  const between = `block BETWEEN ${push(parameters, blocks.low)} AND ${push(parameters, blocks.high)}`;
  return [between, ...remaining.map((part) => conditionToSql(part, parameters))].join(' AND ');
}

/** Exactly how many audit entries match. Throws QUERY_TOO_BROAD where that takes too long. */
export async function countAuditEntries(database: Queryable, condition: Condition | null): Promise<bigint> {
  const selection = await readSelection(database, condition);
  if (selection === null) return 0n;
  const { stretch, remaining } = selection;
  if (remaining.length === 0) return stretch.high - stretch.low + 1n;
  const blocks = await readTotalledBlocks(database, selection);
  const parameters: unknown[] = [];
  const parts = uncoveredStretches({ ...selection, blocks }).map(
    (part) => `SELECT count(*) AS entries FROM public.audit_entries WHERE ${entriesWhere(part, remaining, parameters)}`,
  );
  if (blocks !== null) {
    const where = totalsWhere(blocks, remaining, parameters);
    parts.push(`SELECT sum(entries) AS entries FROM public.audit_totals WHERE ${where}`);
  }
  const counted = await orTooBroad(() =>
    database.query<{ entries: string }>(
      `SELECT coalesce(sum(entries), 0) AS entries FROM (${parts.join(' UNION ALL ')}) AS part`,
      parameters,
    ),
  );
  return BigInt(counted.rows[0]?.entries ?? 0);
}

/**
 * Index of the newest entry that matches once the `skipped` newest are left out, null where there is none. With totals only
 * the entries of one block are passed over one by one. Throws QUERY_TOO_BROAD where that takes too long.
 */
export async function findAfterNewest(
  database: Queryable,
  condition: Condition | null,
  skipped: bigint,
): Promise<bigint | null> {
  const selection = await readSelection(database, condition);
  if (selection === null) return null;
  const { stretch, remaining } = selection;
  if (remaining.length === 0) {
    const index = stretch.high - skipped;
    return index < stretch.low ? null : index;
  }
  const { within, left } = await passBlocks(database, selection, skipped);
  const parameters: unknown[] = [];
  const where = entriesWhere(within, remaining, parameters);
  const found = await orTooBroad(() =>
    database.query<{ index: string }>(
      `SELECT chain_index AS index FROM public.audit_entries WHERE ${where}
       ORDER BY chain_index DESC OFFSET ${push(parameters, left)} LIMIT 1`,
      parameters,
    ),
  );
  const [row] = found.rows;
  return row === undefined ? null : BigInt(row.index);
}

/** The stretch in which the skipped entries end, as far as totals tell, and how many of them lie in it. */
async function passBlocks(
  database: Queryable,
  selection: Selection,
  skipped: bigint,
): Promise<{ within: Stretch; left: bigint }> {
  const { stretch, remaining } = selection;
  const blocks = await readTotalledBlocks(database, selection);
  if (blocks === null) return { within: stretch, left: skipped };
  const parameters: unknown[] = [];
  const newer = { low: (blocks.high + 1n) * blockEntries, high: stretch.high };
  // Past the last whole block it counts the entries themselves, and calls them the next block.
  const found = await database.query<{ block: string; entries: string }>(
    `SELECT ${push(parameters, blocks.high + 1n)}::bigint AS block, count(*) AS entries
       FROM public.audit_entries WHERE ${entriesWhere(newer, remaining, parameters)}
     UNION ALL
     SELECT block, sum(entries) FROM public.audit_totals WHERE ${totalsWhere(blocks, remaining, parameters)} GROUP BY block
     ORDER BY block DESC`,
    parameters,
  );
  let left = skipped;
  let { high } = stretch;
  for (const { block, entries } of found.rows) {
    const low = BigInt(block) * blockEntries;
    if (BigInt(entries) > left) return { within: { low, high }, left };
    left -= BigInt(entries);
    high = low - 1n;
  }
  return { within: { low: stretch.low, high }, left };
}

/** Runs a statement that visits every matching entry, unless the connection's time for one is up before. */
export async function orTooBroad<Result>(run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    if (sqlState(error) !== '57014') throw error;
    throw new DaybookError(
      'QUERY_TOO_BROAD',
      'too many entries would have to be looked at one by one: bound recordedAt or chainIndex, or filter by nothing but category, event, action, actor, role and outcome',
      { cause: error },
    );
  }
}

function push(parameters: unknown[], value: bigint): string {
  parameters.push(value.toString());
  return `$${parameters.length}`;
}
