import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import { decodeUtf8 } from '../core/bytes.js';
import { ledgerConnection } from '../db/pool.js';
import { DaybookError } from '../errors.js';
import { toDaybookError } from '../ledger/database-errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import { logNames, type LogName } from '../ledger/rows.js';
import type { ObjectStore } from '../storage/object-store.js';
import { readKnownCheckpoint, type KnownCheckpoint } from './known-checkpoints.js';
import { checkpointKey, publishLog } from './publish-log.js';
import { readNewestCheckpoint } from './read-checkpoints.js';
import type { SigningKeys } from './signing-keys.js';

/** Held while a node publishes a log: others would write the same bytes. */
const publisherLocks: Readonly<Record<LogName, string>> = { signals: '7219460237150047', audit: '7219460237150048' };
/** Longest pause after failures, in milliseconds. */
const pauseMaxMs = 60_000;

export interface LogPublisherOptions {
  readonly database: Queryable;
  /** URL of the application role, for the connections that hold the locks: uploads under them can take long. */
  readonly url: string;
  readonly store: ObjectStore;
  readonly keys: SigningKeys;
  /** Between two publications of a log that grew, in milliseconds. */
  readonly intervalMs: number;
  readonly log: Logger;
}

type Published = KnownCheckpoint & { readonly etag: string };

interface PublisherState {
  published: Published | null;
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
    this.#holders = createPool(options);
    const fresh = () => ({ published: null, lastError: null, failures: 0 });
    this.#states = { signals: fresh(), audit: fresh() };
  }

  /** The checkpoint that the store held when it was last read; null where it had none or could not be read. */
  published(log: LogName): KnownCheckpoint | null {
    return this.#states[log].published;
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
    if (newest === null || Number(newest.treeSize) === this.#states[log].published?.checkpoint.size) return;
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

  async #readPublished(log: LogName): Promise<Published | null> {
    const { store, keys } = this.#options;
    const stored = await store.read(checkpointKey(log));
    const published =
      stored === null
        ? null
        : {
            ...readKnownCheckpoint(
              decodeUtf8(stored.bytes),
              store.description,
              keys.originOf(log),
              keys.verifiersOf(log),
            ),
            etag: stored.etag,
          };
    this.#states[log].published = published;
    return published;
  }
}

function createPool({ url, log }: LogPublisherOptions): pg.Pool {
  const pool = new pg.Pool({ ...ledgerConnection(url, 'daybook publisher'), max: logNames.length });
  const noteError = (error: Error) => log.warn({ err: error }, 'the publisher lost a connection');
  pool.on('error', noteError);
  // One that breaks while it waits for the store has no query to report it to.
  pool.on('connect', (client) => client.on('error', noteError));
  return pool;
}
