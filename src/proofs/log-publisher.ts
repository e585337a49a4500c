import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Logger } from 'pino';
import { decodeUtf8 } from '../core/bytes.js';
import type { LoginSource } from '../db/login.js';
import { ledgerConnection, openPool } from '../db/pool.js';
import { DaybookError } from '../errors.js';
import { toDaybookError } from '../ledger/database-errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import { logNames, type LogName } from '../ledger/rows.js';
import type { ObjectStore } from '../storage/object-store.js';
import { readKnownCheckpoint, type CheckpointFiles, type KnownCheckpoint } from './known-checkpoints.js';
import { checkpointKey, publishLog } from './publish-log.js';
import { readNewestCheckpoint } from './read-checkpoints.js';
import type { SigningKeys } from './signing-keys.js';

/** Held while a node publishes a log: others would write the same bytes. */
const publisherLocks: Readonly<Record<LogName, string>> = { signals: '7219460237150047', audit: '7219460237150048' };
/** Longest pause after failures, in milliseconds. */
const pauseMaxMs = 60_000;
/** The store of a log that does not grow is looked at after so many intervals, and at least so often, in milliseconds. */
const quietIntervals = 10;
const quietLookMs = 60_000;

/** How callers of the API hear of the places of a checkpoint; their paths are the operator's affair. */
const inStore = 'the object store';
const seenFile = 'the record of what was published';

export interface LogPublisherOptions {
  readonly database: Queryable;
  /** Login of the application, for the connections that hold the locks: uploads under them can take long. */
  readonly url: LoginSource;
  readonly store: ObjectStore;
  readonly keys: SigningKeys;
  /** What this node saw published last, kept over restarts: a store that was emptied is noticed by it. */
  readonly seen: CheckpointFiles;
  /** Called until it succeeds once where the store lost what was published; the log is published anew meanwhile. */
  readonly onLoss: (log: LogName, loss: PublicationLoss) => Promise<void>;
  /** Between two publications of a log that grew, in milliseconds. */
  readonly intervalMs: number;
  readonly log: Logger;
}

/** What a store lost. Sizes are numbers of entries; `found` is null where there is no checkpoint at all. */
export interface PublicationLoss {
  readonly store: string;
  readonly expected: number;
  readonly found: number | null;
}

type Published = KnownCheckpoint & { readonly etag: string };

interface PublisherState {
  published: Published | null;
  /** False until the store answered once. */
  wasRead: boolean;
  lookedAtMs: number;
  /** Size of the lost checkpoint that was reported last. */
  reportedLoss: number | null;
  lastError: DaybookError | null;
  failures: number;
}

/**
 * Publishes both logs in the static layout, and remembers what the store held last: a signer never contradicts it. Every
 * node runs one; the database lets one at a time publish a log.
 */
export class LogPublisher implements AsyncDisposable {
  readonly #options: LogPublisherOptions;
  readonly #closing = new AbortController();
  readonly #states: Record<LogName, PublisherState>;
  readonly #holders: pg.Pool;
  #running: Promise<void>[] = [];

  constructor(options: LogPublisherOptions) {
    this.#options = options;
    const { url, log } = options;
    this.#holders = openPool({ ...ledgerConnection(url, 'daybook publisher'), max: logNames.length }, (err) =>
      log.warn({ err }, 'the publisher lost a connection'),
    );
    const fresh = () => ({
      published: null,
      wasRead: false,
      lookedAtMs: -Infinity,
      reportedLoss: null,
      lastError: null,
      failures: 0,
    });
    this.#states = { signals: fresh(), audit: fresh() };
  }

  /** The checkpoint that the store held when it was last read; null where it had none or could not be read. */
  published(log: LogName): KnownCheckpoint | null {
    return this.#states[log].published;
  }

  /** True as long as the store gave no answer, so that nothing is known of what lies there. */
  isUnread(log: LogName): boolean {
    return !this.#states[log].wasRead;
  }

  state(log: LogName): { readonly publishedSize: number | null; readonly lastError: string | null } {
    const { published, lastError } = this.#states[log];
    return { publishedSize: published?.checkpoint.size ?? null, lastError: lastError?.message ?? null };
  }

  /**
   * Reads what is published and begins to publish. Throws what the store throws only where `mustRead`: a node that is not
   * allowed to sign beyond a store it cannot see does not start without it.
   */
  async start(mustRead: boolean): Promise<void> {
    for (const log of logNames) {
      try {
        await this.#readPublished(log);
      } catch (error) {
        if (mustRead || (error as { code?: unknown }).code === 'LOG_INCONSISTENT') throw error;
        this.#options.log.warn({ err: error, log }, 'the published checkpoint could not be read: trying on');
      }
    }
    this.#running = logNames.map((log) => this.#run(log));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#running);
    await this.#holders.end();
  }

  async #run(log: LogName): Promise<void> {
    const { signal } = this.#closing;
    const state = this.#states[log];
    while (!signal.aborted) {
      try {
        await this.#publishUnderLock(log);
        state.lastError = null;
        state.failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        const mapped = toDaybookError(error);
        // Another node was faster: what it published is read in the next round.
        if (mapped.code !== 'OBJECT_CHANGED') {
          if (state.lastError?.message !== mapped.message) {
            this.#options.log.error({ err: error, log }, 'the log could not be published: trying on');
          }
          state.lastError = mapped;
          state.failures += 1;
        }
      }
      const pauseMs = Math.min(this.#options.intervalMs * 2 ** Math.min(state.failures, 16), pauseMaxMs);
      await delay(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #publishUnderLock(log: LogName): Promise<void> {
    const { database, store } = this.#options;
    const newest = await readNewestCheckpoint(database, log);
    if (newest === null || !(await this.#isBehind(log, Number(newest.treeSize)))) return;
    const holder = await this.#holders.connect();
    let broken: Error | undefined;
    try {
      const locked = await holder.query<{ taken: boolean }>(
        `BEGIN; SELECT pg_try_advisory_xact_lock(${publisherLocks[log]}) AS taken`,
      );
      const taken = (locked as unknown as { rows: { taken: boolean }[] }[])[1]?.rows[0]?.taken === true;
      const published = await this.#readPublished(log);
      if (taken && Number(newest.treeSize) > (published?.checkpoint.size ?? -1)) {
        await publishLog({ database, store, log, published, newest, signal: this.#closing.signal });
        await this.#readPublished(log);
      }
      await holder.query('ROLLBACK');
    } catch (error) {
      broken = error as Error;
      throw error;
    } finally {
      // A connection in an unknown state is not used again; closing it frees the lock.
      holder.release(broken);
    }
  }

  /** Whether the store lacks the newest checkpoint; of a log that does not grow it is asked now and then. */
  async #isBehind(log: LogName, newestSize: number): Promise<boolean> {
    const state = this.#states[log];
    if (state.wasRead && state.published?.checkpoint.size !== newestSize) return true;
    const lookAfterMs = Math.min(this.#options.intervalMs * quietIntervals, quietLookMs);
    if (state.wasRead && performance.now() - state.lookedAtMs < lookAfterMs) return false;
    return (await this.#readPublished(log))?.checkpoint.size !== newestSize;
  }

  async #readPublished(log: LogName): Promise<Published | null> {
    const { store, keys } = this.#options;
    const state = this.#states[log];
    const stored = await store.read(checkpointKey(log));
    const published =
      stored === null
        ? null
        : {
            ...readKnownCheckpoint(decodeUtf8(stored.bytes), inStore, keys.originOf(log), keys.verifiersOf(log)),
            etag: stored.etag,
          };
    await this.#compareWithSeen(log, published);
    state.published = published;
    state.wasRead = true;
    state.lookedAtMs = performance.now();
    return published;
  }

  /** What is published only grows, so less than was seen means that somebody removed it. It is published again. */
  async #compareWithSeen(log: LogName, published: Published | null): Promise<void> {
    const { keys, seen, store, onLoss } = this.#options;
    const state = this.#states[log];
    const note = await seen.read(log);
    const expected =
      note === null
        ? -1
        : readKnownCheckpoint(note, seenFile, keys.originOf(log), keys.verifiersOf(log)).checkpoint.size;
    const found = published?.checkpoint.size ?? null;
    if ((found ?? -1) < expected) {
      if (state.reportedLoss === expected) return;
      await onLoss(log, { store: store.description, expected, found });
      state.reportedLoss = expected;
      return;
    }
    state.reportedLoss = null;
    if (published !== null && note !== published.note) await seen.write(log, published.note);
  }
}
