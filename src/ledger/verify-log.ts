import { availableParallelism } from 'node:os';
import pg from 'pg';
import { BreakList, type LogBreak } from '../core/log-breaks.js';
import type { VerifierKey } from '../core/verifier-key.js';
import type { LogName } from './rows.js';
import { CheckpointVerifier, readPublished, type PublishedCheckpoint, type PublishedHead } from './verify-heads.js';
import { genesisHash } from '../core/hash-entry.js';
import { verifyPurges } from './purges.js';
import { verifyArchives } from './verify-archives.js';
import { verifyPairs } from './verify-pairs.js';
import { planLog, type LogPlan, type NewestCheckpoint } from './verify-plan.js';
import { RangeVerifier, type RangeFinding, type RangeTask } from './verify-range.js';
import { verifyAnchors, verifyRoots } from './verify-roots.js';
import { exportSnapshot, withSnapshot } from './verify-snapshot.js';
import { TreeVerifier } from './verify-tree.js';
import { RangeWorkers, type WorkerEntry } from './verify-workers.js';
import type { DayStart } from './verify-days.js';

/** Entries of a range: 64 tiles, a tenth of a second of work. A power of two. */
const rangeEntriesDefault = 16_384;
/** With fewer entries in all, starting threads costs more than they save. */
const threadsWorthEntries = 50_000;
const threadsMax = 4;
/** Findings wait for those of earlier ranges: so many ranges a thread are handed out ahead of the one waited for. */
const rangesAhead = 3;

export interface VerifyOptions {
  /**
   * Where the ledger is, for a role that may read it, or an open connection made with ledgerConnection, not in use, which
   * is then used alone.
   */
  readonly source: { readonly url: string } | { readonly client: pg.Client };
  /** Verifier keys that the caller trusts. Without one, those in the database are used, which prove no identity. */
  readonly keys?: readonly VerifierKey[];
  /** Checkpoints kept outside the database: the log must still begin with what they say. */
  readonly publishedCheckpoints?: readonly PublishedCheckpoint[];
  /** Threads that verify; by default one for few entries, else one a processor, at most four. */
  readonly threads?: number;
  /** The module those threads run: verify-range-worker. */
  readonly workerEntry?: WorkerEntry;
  /** Entries a range, a power of two from 256 on. */
  readonly rangeEntries?: number;
  /** Called after each batch with rows checked so far and rows expected in all. */
  readonly onProgress?: (progress: VerifyProgress) => void;
  readonly signal?: AbortSignal;
}

export interface VerifyProgress {
  readonly log: LogName;
  readonly checked: number;
  readonly total: number;
}

/** The tree of one log, computed from its entries alone. */
interface TreeVerification {
  /** Entries in it: all up to the first that is missing. */
  readonly size: number;
  /** Hex. */
  readonly rootHash: string;
  /** Stored tiles that were compared with it. */
  readonly tiles: number;
  /** Stored checkpoints whose root it has. */
  readonly checkpoints: number;
  readonly newestCheckpoint: NewestCheckpoint | null;
  /** Daily roots that were checked. */
  readonly roots: number;
}

/** What one verification of one log found. */
export interface LogVerification {
  readonly log: LogName;
  readonly entries: number;
  /** Index of the first entry that is not archived and removed; the tree alone tells of those before it. */
  readonly firstIndex: number;
  readonly seconds: number;
  readonly entriesPerSecond: number;
  /** `chain_hash` of the last entry as hex; 64 zeros for an empty log. */
  readonly headChainHash: string;
  readonly tree: TreeVerification;
  /**
   * Whose keys the signatures were checked with: those the caller pinned; those of the database, so that who signed is
   * unknown; or none, where nothing is signed yet.
   */
  readonly signer: 'pinned' | 'database' | 'none';
  /** Entries after the last one that an anchor or a published checkpoint covers: only the database protects them. */
  readonly unanchoredEntries: number;
  /** The break with the lowest index, null when the log is intact. */
  readonly firstBreak: LogBreak | null;
  /** The first breaks by index, at most `breaksKeptMax`. */
  readonly breaks: readonly LogBreak[];
  /** All breaks found. */
  readonly breakCount: number;
}

/** Verifies ranges of a log, here or in threads. */
interface RangeRunner {
  /** How many ranges may be under way or waiting to be taken. */
  readonly ahead: number;
  verify(task: RangeTask, onRows: (rows: number) => void): Promise<RangeFinding>;
}

/** Re-derives one log from its rows. Throws what the database or the connection reports, and the signal's reason. */
export async function verifyLog(options: VerifyOptions & { readonly log: LogName }): Promise<LogVerification> {
  const [verification] = await verifyLogs({ ...options, logs: [options.log] });
  if (verification === undefined) throw new Error('no log was verified');
  return verification;
}

/**
 * Re-derives the named logs, all of them as they stood at one moment: each row by itself, the chain, the tree, stored tiles,
 * checkpoints with their signatures, daily roots and anchors. Throws as verifyLog.
 */
export async function verifyLogs(
  options: VerifyOptions & { readonly logs: readonly LogName[] },
): Promise<LogVerification[]> {
  return withSnapshot(options.source, async (client) => {
    const width = options.rangeEntries ?? rangeEntriesDefault;
    const plans: LogPlan[] = [];
    const published = (options.publishedCheckpoints ?? []).map(readPublished);
    for (const log of options.logs) {
      const sizes = published.flatMap((one) => (one.log === log && one.size !== null ? [one.size] : []));
      plans.push(await planLog(client, log, { width, keys: options.keys ?? [], sizes }));
    }
    await using stack = new AsyncDisposableStack();
    const runner = await openRunner(client, plans, width, options, stack);
    const verifications: LogVerification[] = [];
    for (const plan of plans) {
      const ofLog = published.filter(({ log }) => log === plan.log);
      verifications.push(await verifyPlan(client, plan, ofLog, runner, options));
    }
    return verifications;
  });
}

/** Starts threads, which `stack` ends, where the entries are worth it; else ranges are verified on this connection. */
async function openRunner(
  client: pg.Client,
  plans: readonly LogPlan[],
  width: number,
  options: VerifyOptions,
  stack: AsyncDisposableStack,
): Promise<RangeRunner> {
  const { source, signal } = options;
  const keysOf = (name: LogName) => plans.find(({ log }) => log === name)?.signer.keys ?? [];
  const keys = { signals: keysOf('signals'), audit: keysOf('audit') };
  const expected = plans.reduce((sum, { ranges, length }) => sum + Math.min(ranges.length * width, length), 0);
  const threads =
    options.threads ?? (expected < threadsWorthEntries ? 1 : Math.min(availableParallelism(), threadsMax));
  if ('client' in source || threads <= 1) {
    const ranges = new RangeVerifier(client, keys);
    return { ahead: 1, verify: (task, onRows) => ranges.verify(task, onRows, signal) };
  }
  const entry = options.workerEntry ?? { url: new URL('./verify-range-worker.js', import.meta.url) };
  const setup = { url: source.url, snapshot: await exportSnapshot(client), keys };
  const workers = stack.use(new RangeWorkers(entry, setup, threads, signal));
  return { ahead: threads * rangesAhead, verify: (task, onRows) => workers.verify(task, onRows) };
}

async function verifyPlan(
  client: pg.Client,
  plan: LogPlan,
  published: readonly PublishedHead[],
  runner: RangeRunner,
  options: VerifyOptions,
): Promise<LogVerification> {
  const startedMs = performance.now();
  const { log, length, newestCheckpoint, start } = plan;
  const breaks = new BreakList();
  const tree = new TreeVerifier(client, log, newestCheckpoint?.size ?? 0, breaks);
  const heads = new CheckpointVerifier(plan, published, breaks);
  const days: DayStart[] = [];
  let [entries, headChainHash] = [0, genesisHash];
  let checked = 0;
  const firstIndex = start?.firstKept ?? 0;
  const onRows = (rows: number) =>
    options.onProgress?.({ log, checked: (checked += rows), total: length - firstIndex });
  await heads.checkEmpty(client);
  for await (const { task, finding } of verifyInOrder(plan.ranges, runner, onRows)) {
    options.signal?.throwIfAborted();
    breaks.addAll(finding.breaks);
    await tree.addRange(task, finding, heads.expectedIn(task, finding));
    days.push(...finding.days.filter(({ date }) => date > (days.at(-1)?.date ?? '')));
    entries += finding.entries;
    headChainHash = finding.headChainHash ?? headChainHash;
  }
  if (tree.size === length) await tree.checkTilesBeyond(length);
  await heads.finish(client);
  const roots = await verifyRoots(client, log, { entries: length, firstIndex, days }, breaks);
  const anchoredSize = Math.max(await verifyAnchors(client, log, breaks), heads.publishedSize);
  await verifyPairs(client, log, breaks);
  await verifyPurges(client, log, breaks);
  if (log === 'audit') await verifyArchives(client, plan.signer.keys, breaks);
  const seconds = (performance.now() - startedMs) / 1000;
  return {
    log,
    entries,
    firstIndex,
    seconds,
    entriesPerSecond: entries / seconds,
    headChainHash,
    tree: {
      size: tree.size,
      rootHash: tree.rootHash,
      tiles: tree.tiles,
      checkpoints: heads.matched,
      newestCheckpoint,
      roots,
    },
    signer: newestCheckpoint === null && published.length === 0 ? 'none' : plan.signer.pinned ? 'pinned' : 'database',
    unanchoredEntries: Math.max(length - anchoredSize, 0),
    firstBreak: breaks.first[0] ?? null,
    breaks: breaks.first,
    breakCount: breaks.count,
  };
}

/** Findings in the order of ranges, whichever thread is ready first; no more of them than `ahead` are held. */
async function* verifyInOrder(
  tasks: readonly RangeTask[],
  runner: RangeRunner,
  onRows: (rows: number) => void,
): AsyncGenerator<{ task: RangeTask; finding: RangeFinding }> {
  const underWay: { task: RangeTask; finding: Promise<RangeFinding> }[] = [];
  for (const task of tasks) {
    underWay.push({ task, finding: runner.verify(task, onRows) });
    const [oldest] = underWay;
    if (underWay.length < runner.ahead || oldest === undefined) continue;
    underWay.shift();
    yield { task: oldest.task, finding: await oldest.finding };
  }
  for (const { task, finding } of underWay) yield { task, finding: await finding };
}
