import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Queryable } from './read-entries.js';

/** How long a refused modification waits for its entry, at most. */
const intervalMs = 500;
const pauseAfterErrorMs = 2_000;

/**
 * Moves refused modifications from their own table into the audit log and accounts for every number (see
 * migrations/0001-ledger/07-reconcile.sql). Any number of nodes may run it: the database lets one at a time do the work.
 */
export class AttemptReconciler implements AsyncDisposable {
  readonly #database: Queryable;
  readonly #log: Logger;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  /** Message of the last round's failure; null when it went well. */
  lastError: string | null = null;
  /** Entries added since start. */
  added = 0;

  constructor(database: Queryable, log: Logger) {
    this.#database = database;
    this.#log = log;
    this.#running = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#round();
      const pauseMs = this.lastError === null ? intervalMs : pauseAfterErrorMs;
      await delay(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #round(): Promise<void> {
    try {
      const done = await this.#database.query<{ added: number }>('SELECT daybook.reconcile_attempts() AS added');
      const added = done.rows[0]?.added ?? 0;
      if (added > 0) this.#log.warn({ added }, 'refused modifications were entered into the audit log');
      this.added += added;
      this.lastError = null;
    } catch (error) {
      if (this.lastError === null)
        this.#log.error({ err: error }, 'refused modifications could not be entered: trying on');
      this.lastError = (error as Error).message;
    }
  }
}
