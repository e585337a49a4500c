import { BreakList, type LogBreak } from '../core/log-breaks.js';
import { logNames, type LogName } from '../ledger/rows.js';
import { verifyLogs, type VerifyProgress } from '../ledger/verify-log.js';
import { verifyCatalog } from './baseline.js';
import { chooseRecent, chooseSample, readReach, type EntrySelection, type LogReach } from './choose-entries.js';
import type { CheckArea, CheckedRange, CheckKind } from './read-checks.js';
import { withSnapshot } from '../ledger/verify-snapshot.js';
import { verifyAttempts } from './verify-attempts.js';
import { verifyRecords } from './verify-records.js';

/** Verifies single entries: each row on its own, and against its predecessor where it has one. */
export type VerifyEntries = (
  options: {
    readonly source: { readonly url: string };
    readonly log: LogName;
    readonly signal?: AbortSignal;
  } & EntrySelection,
) => Promise<{ readonly entries: number; readonly breaks: readonly LogBreak[]; readonly breakCount: number }>;

/** What verifyLogs takes beyond what a check gives it: keys, checkpoints that were published, threads. */
export type FullVerificationOptions = Omit<
  Parameters<typeof verifyLogs>[0],
  'source' | 'logs' | 'onProgress' | 'signal'
>;

/** Compares a log with what is kept outside the database. */
export type OutsideChecks = (
  kind: CheckKind,
  signal: AbortSignal | undefined,
) => Promise<readonly { readonly log: LogName; readonly breaks: readonly LogBreak[] }[]>;

export interface LookOptions {
  readonly kind: CheckKind;
  readonly sampleSize: number;
  readonly recentMinutes: number;
  /** URL of a role that may read the ledger and change nothing. */
  readonly url: string;
  readonly verifyEntries: VerifyEntries;
  readonly fullOptions: () => Promise<FullVerificationOptions>;
  readonly outsideChecks: OutsideChecks;
  readonly randomInt: (bound: number) => number;
  readonly onProgress?: (progress: VerifyProgress) => void;
  readonly signal?: AbortSignal;
}

export interface Findings {
  readonly entries: number;
  readonly ranges: readonly CheckedRange[];
  readonly breaks: Readonly<Record<CheckArea, BreakList>>;
}

/**
 * Looks at what a check of its kind covers. Every kind compares the catalogue with its baseline, which takes milliseconds;
 * FULL re-derives both logs and compares refused modifications, keys, incidents, checks and roots with their entries. Throws what the database reports, and
 * the signal's reason.
 */
export async function lookForBreaks(options: LookOptions): Promise<Findings> {
  const { kind, url, signal } = options;
  const breaks = { signals: new BreakList(), audit: new BreakList(), catalogue: new BreakList() };
  const reaches = await withSnapshot({ url }, async (client) => {
    await verifyCatalog(client, breaks.catalogue);
    if (kind === 'FULL') {
      await verifyAttempts(client, breaks.audit);
      await verifyRecords(client, breaks.audit);
    }
    return readReach(client, options.recentMinutes);
  });
  signal?.throwIfAborted();
  const ranges = kind === 'FULL' ? await lookAtAll(options, breaks) : await lookAtSome(options, reaches, breaks);
  for (const { log, breaks: found } of await options.outsideChecks(kind, signal)) {
    breaks[log].addAll({ first: found, count: found.length });
  }
  return { entries: ranges.reduce((sum, { checked }) => sum + Number(checked), 0), ranges, breaks };
}

type BreaksByLog = Readonly<Record<LogName, BreakList>>;

async function lookAtAll(options: LookOptions, breaks: BreaksByLog): Promise<CheckedRange[]> {
  const { url, onProgress, signal } = options;
  const verifications = await verifyLogs({
    ...(await options.fullOptions()),
    source: { url },
    logs: logNames,
    onProgress,
    signal,
  });
  return verifications.flatMap((verification) => {
    const { log, entries, firstIndex } = verification;
    breaks[log].addAll({ first: verification.breaks, count: verification.breakCount });
    return entries === 0 ? [] : [rangeOf(log, firstIndex, firstIndex + entries - 1, entries)];
  });
}

async function lookAtSome(
  options: LookOptions,
  reaches: readonly LogReach[],
  breaks: BreaksByLog,
): Promise<CheckedRange[]> {
  const { url, signal } = options;
  const chosen = chooseRecent(reaches);
  if (options.kind === 'SAMPLE') chosen.unshift(...chooseSample(reaches, options.sampleSize, options.randomInt));
  const ranges = new Map<LogName, CheckedRange>();
  for (const { log, selection } of chosen) {
    const verification = await options.verifyEntries({
      source: { url },
      log,
      ...selection,
      signal,
    });
    breaks[log].addAll({ first: verification.breaks, count: verification.breakCount });
    const [first, last] =
      'indexes' in selection
        ? [selection.indexes[0] ?? 0, selection.indexes.at(-1) ?? 0]
        : [selection.from, selection.to - 1];
    // The sample, where there is one, comes first and lies below what is recent.
    const earlier = ranges.get(log);
    const checked = verification.entries + Number(earlier?.checked ?? 0);
    ranges.set(log, rangeOf(log, Number(earlier?.first ?? first), last, checked));
  }
  return [...ranges.values()];
}

function rangeOf(area: LogName, first: number, last: number, checked: number): CheckedRange {
  return { area, first: String(first), last: String(last), checked: String(checked) };
}
