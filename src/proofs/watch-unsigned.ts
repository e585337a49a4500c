import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Queryable } from '../ledger/read-entries.js';
import { logNames, type LogName } from '../ledger/rows.js';
import { readLogFigures, type LogFigures } from './read-figures.js';

/** Between two looks at the logs, in milliseconds. */
const lookEveryMs = 2_000;
/** An entry that no checkpoint covers for longer is a fault: until then nothing but the database vouches for it. */
const patienceMs = 10_000;
/** A signer that looks seldom is waited for through so many of its looks. */
const patienceIntervals = 2;

export interface UnsignedWatchOptions {
  readonly database: Queryable;
  /** Between two looks of the signer, in milliseconds. */
  readonly checkpointIntervalMs: number;
  readonly log: Logger;
  /** Called until it succeeds once each time a log's entries begin to stay unsigned. */
  readonly onOverdue: (overdue: UnsignedEntries) => Promise<void>;
}

/** Entries that wait for a checkpoint. Sizes are numbers of entries. */
export interface UnsignedEntries {
  readonly log: LogName;
  readonly entries: number;
  readonly checkpointSize: number;
  readonly ageSeconds: number;
}

/** How a log stands; `overdue` is null where it is signed in time, `error` says why that could not be seen. */
export interface UnsignedState {
  readonly overdue: UnsignedEntries | null;
  readonly error: string | null;
}

interface LogState {
  overdue: UnsignedEntries | null;
  isReported: boolean;
  /** What was signed, and since when entries behind it have waited under this node's eyes. */
  waiting: { readonly checkpointSize: number; readonly sinceMs: number } | null;
}

/**
 * Notices that entries stay unsigned, whatever keeps the signers of all nodes from them: a lock that somebody holds leaves
 * no error anywhere. An entry counts from when it was recorded, and from when this node saw it wait: one that was restored,
 * or recorded while no node ran, is given the same time.
 */
export class UnsignedWatch implements AsyncDisposable {
  readonly #options: UnsignedWatchOptions;
  readonly #patienceMs: number;
  readonly #closing = new AbortController();
  readonly #states: Record<LogName, LogState>;
  readonly #running: Promise<void>;
  #error: string | null = null;

  constructor(options: UnsignedWatchOptions) {
    this.#options = options;
    this.#patienceMs = Math.max(patienceMs, options.checkpointIntervalMs * patienceIntervals);
    const fresh = () => ({ overdue: null, isReported: false, waiting: null });
    this.#states = { signals: fresh(), audit: fresh() };
    this.#running = this.#run();
  }

  state(log: LogName): UnsignedState {
    return { overdue: this.#states[log].overdue, error: this.#error };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await delay(lookEveryMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (!signal.aborted) await this.#look();
    }
  }

  async #look(): Promise<void> {
    try {
      for (const figures of await readLogFigures(this.#options.database)) this.#judge(figures);
      this.#error = null;
    } catch (error) {
      if (this.#error === null)
        this.#options.log.warn({ err: error }, 'looking for unsigned entries failed: trying on');
      this.#error = (error as Error).message;
      return;
    }
    for (const log of logNames) await this.#report(log);
  }

  #judge({ log, entries, checkpointSize, unsignedAgeSeconds }: LogFigures): void {
    const state = this.#states[log];
    if (entries <= checkpointSize) state.waiting = null;
    else if (state.waiting?.checkpointSize !== checkpointSize) {
      state.waiting = { checkpointSize, sinceMs: performance.now() };
    }
    const seenMs = state.waiting === null ? 0 : performance.now() - state.waiting.sinceMs;
    const isOverdue = Math.min(unsignedAgeSeconds * 1_000, seenMs) > this.#patienceMs;
    state.overdue = isOverdue ? { log, entries, checkpointSize, ageSeconds: unsignedAgeSeconds } : null;
    if (!isOverdue) state.isReported = false;
  }

  async #report(log: LogName): Promise<void> {
    const state = this.#states[log];
    if (state.overdue === null || state.isReported) return;
    try {
      await this.#options.onOverdue(state.overdue);
      state.isReported = true;
    } catch (error) {
      this.#options.log.error({ err: error, log }, 'unsigned entries could not be reported: trying on');
    }
  }
}
