import { formatTimestamp, parseTimestamp } from '../core/timestamp.js';
import { DaybookError } from '../errors.js';
import { readMissingEntries } from '../ledger/purges.js';
import type { Queryable } from '../ledger/read-entries.js';
import { classifySignal, type ClassifiedSignal, type ExecutionStatus } from './classify-signal.js';
import { addMs, readTraceEvents, type TracedSignal } from './trace-events.js';

const daysMax = 366;
/** Most signals of one answer, and most events of one day: each is looked at. */
const signalsMax = 100_000;
const eventsOfDayMax = 200_000;
const microsPerDay = 86_400_000_000n;

export interface ExecutionRateRequest {
  /** Days in UTC, both included, as in 2026-11-20. */
  readonly from: string;
  readonly to: string;
  /** Only this strategy; null for all, those without a name too. */
  readonly strategy: string | null;
  readonly windowMs: number;
  readonly lastIndex: string;
  /** RFC 3339. */
  readonly now: string;
}

/** What became of the signals of one strategy that were recorded on one day. */
export interface ExecutionRateRow {
  readonly date: string;
  readonly strategy: string | null;
  readonly signals: number;
  readonly holds: number;
  readonly executed: number;
  readonly partiallyExecuted: number;
  readonly rejected: number;
  readonly pending: number;
  /** Without the HOLDs. */
  readonly notExecuted: number;
  readonly superseded: number;
  /** executed / (signals − holds − superseded), cut to six digits; null where nothing was to be executed. */
  readonly executionRate: string | null;
}

type DaySignal = TracedSignal & ClassifiedSignal & { readonly strategy: string | null };

/** Days in order, strategies by name with the nameless one last. Throws BAD_USER_INPUT, ARCHIVED. */
export async function readExecutionRates(
  database: Queryable,
  request: ExecutionRateRequest,
): Promise<ExecutionRateRow[]> {
  const first = startOf(request.from);
  const days = Number((startOf(request.to) - first) / microsPerDay) + 1;
  if (days < 1) throw new DaybookError('BAD_USER_INPUT', 'from must not be later than to');
  if (days > daysMax) throw new DaybookError('BAD_USER_INPUT', `at most ${daysMax} days fit into one answer`);
  const rates: ExecutionRateRow[] = [];
  let signalsLeft = signalsMax;
  for (let day = 0; day < days; day += 1) {
    const start = first + BigInt(day) * microsPerDay;
    const signals = await readSignalsOfDay(database, start, request.strategy, signalsLeft);
    signalsLeft -= signals.length;
    if (signalsLeft < 0) throw tooMuch(`${signalsMax} signals`);
    if (signals.length > 0)
      rates.push(...(await rateDay(database, request, formatTimestamp(start).slice(0, 10), signals)));
  }
  return rates;
}

async function rateDay(
  database: Queryable,
  request: ExecutionRateRequest,
  date: string,
  signals: readonly DaySignal[],
): Promise<ExecutionRateRow[]> {
  const { windowMs, lastIndex, now } = request;
  const found = await readTraceEvents(database, signals, { windowMs, lastIndex, eventsMax: eventsOfDayMax });
  const missing = await readMissingEntries(database, firstOf(signals), addMs(lastOf(signals), windowMs));
  if (missing !== null) {
    throw new DaybookError(
      'ARCHIVED',
      `entries ${missing.firstIndex} to ${missing.lastIndex}, which may tell of signals of ${date}, are in archives: restoreArchives`,
    );
  }
  if (!found.complete) throw tooMuch(`${eventsOfDayMax} orders, fills and alerts on ${date}`);
  const byStrategy = new Map<
    string | null,
    { counts: Record<ExecutionStatus, number>; signals: number; holds: number }
  >();
  for (const signal of signals) {
    const group = byStrategy.get(signal.strategy) ?? { counts: noCounts(), signals: 0, holds: 0 };
    byStrategy.set(signal.strategy, group);
    const { status } = classifySignal(signal, found.bySignal.get(signal.signalId) ?? [], { now, windowMs });
    group.signals += 1;
    if (signal.action === 'HOLD' && status === 'NOT_EXECUTED') group.holds += 1;
    else group.counts[status] += 1;
  }
  return [...byStrategy].sort(byName).map(([strategy, { counts, signals: count, holds }]) => ({
    date,
    strategy,
    signals: count,
    holds,
    executed: counts.EXECUTED,
    partiallyExecuted: counts.PARTIALLY_EXECUTED,
    rejected: counts.REJECTED,
    pending: counts.PENDING,
    notExecuted: counts.NOT_EXECUTED,
    superseded: counts.SUPERSEDED,
    executionRate: ratio(counts.EXECUTED, count - holds - counts.SUPERSEDED),
  }));
}

async function readSignalsOfDay(
  database: Queryable,
  start: bigint,
  strategy: string | null,
  most: number,
): Promise<DaySignal[]> {
  const found = await database.query<DaySignal>(
    `SELECT signal.signal_id AS "signalId", signal.server_timestamp AS "serverTimestamp", signal.action, signal.strategy,
       later.signal_id AS "supersededBy"
     FROM public.signals AS signal LEFT JOIN public.signals AS later ON later.supersedes = signal.signal_id
     WHERE signal.server_timestamp >= $1 AND signal.server_timestamp < $2 AND ($3::text IS NULL OR signal.strategy = $3)
     ORDER BY signal.chain_index LIMIT $4`,
    [formatTimestamp(start), formatTimestamp(start + microsPerDay), strategy, most + 1],
  );
  return found.rows;
}

function startOf(date: string): bigint {
  const start = parseTimestamp(`${date}T00:00:00Z`);
  if (start === null) throw new DaybookError('BAD_USER_INPUT', 'a day is written as in 2026-11-20');
  return start;
}

function tooMuch(what: string): DaybookError {
  return new DaybookError('BAD_USER_INPUT', `more than ${what}: ask for fewer days or one strategy`);
}

function firstOf(signals: readonly DaySignal[]): string {
  return signals.map(({ serverTimestamp }) => serverTimestamp).sort()[0] ?? '';
}

function lastOf(signals: readonly DaySignal[]): string {
  return (
    signals
      .map(({ serverTimestamp }) => serverTimestamp)
      .sort()
      .at(-1) ?? ''
  );
}

function noCounts(): Record<ExecutionStatus, number> {
  return { EXECUTED: 0, PARTIALLY_EXECUTED: 0, REJECTED: 0, PENDING: 0, NOT_EXECUTED: 0, SUPERSEDED: 0, ARCHIVED: 0 };
}

function byName([left]: readonly [string | null, unknown], [right]: readonly [string | null, unknown]): number {
  if (left === null || right === null) return left === right ? 0 : left === null ? 1 : -1;
  return left < right ? -1 : 1;
}

function ratio(part: number, whole: number): string | null {
  if (whole === 0) return null;
  const millionths = (BigInt(part) * 1_000_000n) / BigInt(whole);
  const fraction = (millionths % 1_000_000n).toString().padStart(6, '0').replace(/0+$/, '');
  return `${millionths / 1_000_000n}${fraction === '' ? '' : `.${fraction}`}`;
}
