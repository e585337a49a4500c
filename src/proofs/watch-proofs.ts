import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import { onLoginChange, type LoginSource } from '../db/login.js';
import { ledgerConnection } from '../db/pool.js';
import type { Queryable } from '../ledger/read-entries.js';

/** How long a wake-up that was lost is made up for at most, in milliseconds. */
const pollMs = 1_000;
const reconnectPauseMs = 1_000;

export interface ProofWatchOptions {
  /** Login of the application, for the one connection that listens. */
  readonly url: LoginSource;
  /** For the polls. */
  readonly database: Queryable;
  readonly log: Logger;
}

/**
 * Wakes whoever waits for a new checkpoint or root, and lets those who ask the same read it once. A notification is a hint:
 * while anybody waits, one query a second for all of them looks whether there is something new.
 */
export class ProofWatch implements AsyncDisposable {
  readonly #options: ProofWatchOptions;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>[];
  readonly #waiting = new Set<() => void>();
  readonly #reads = new Map<string, Promise<unknown>>();
  /** Last numbers of checkpoints and roots that a poll saw. */
  #polled: string | null = null;
  #version = 0;

  constructor(options: ProofWatchOptions) {
    this.#options = options;
    this.#running = [this.#listen(), this.#poll()];
  }

  /** Grows with each change that was noticed. To be taken before one reads, and given to `changed` after it. */
  get version(): number {
    return this.#version;
  }

  /** Resolves once there was a change after `version`, and when `signal` aborts. */
  async changed(version: number, signal: AbortSignal): Promise<void> {
    if (this.#version > version || signal.aborted || this.#closing.signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    this.#waiting.add(wake);
    signal.addEventListener('abort', wake, { once: true });
    try {
      await promise;
    } finally {
      this.#waiting.delete(wake);
      signal.removeEventListener('abort', wake);
    }
  }

  /** The result of `read`, shared by all who ask by the same name before the next change. A failure is not kept. */
  shared<Result>(name: string, read: () => Promise<Result>): Promise<Result> {
    const known = this.#reads.get(name) as Promise<Result> | undefined;
    if (known !== undefined) return known;
    const result = read();
    this.#reads.set(name, result);
    result.catch(() => {
      if (this.#reads.get(name) === result) this.#reads.delete(name);
    });
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    for (const wake of this.#waiting) wake();
    await Promise.all(this.#running);
  }

  async #listen(): Promise<void> {
    const { signal } = this.#closing;
    const { url } = this.#options;
    while (!signal.aborted) {
      const client = new pg.Client(ledgerConnection(url, 'daybook proofs'));
      let isReplaced = false;
      const lost = Promise.withResolvers<void>();
      client.on('error', () => lost.resolve());
      client.on('end', () => lost.resolve());
      client.on('notification', () => this.#wakeAll());
      const forgetLogin = onLoginChange(url, () => {
        isReplaced = true;
        lost.resolve();
      });
      const stop = () => lost.resolve();
      signal.addEventListener('abort', stop, { once: true });
      try {
        await client.connect();
        await client.query('LISTEN daybook_proofs');
        // What came while nothing listened.
        this.#wakeAll();
        await lost.promise;
      } catch (error) {
        this.#options.log.warn({ err: error }, 'listening for checkpoints was interrupted: polling meanwhile');
      } finally {
        signal.removeEventListener('abort', stop);
        forgetLogin();
        await client.end().catch(() => undefined);
      }
      if (isReplaced) continue;
      await delay(reconnectPauseMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #poll(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await delay(pollMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted || this.#waiting.size === 0) continue;
      try {
        const polled = await readLastNumbers(this.#options.database);
        if (polled !== this.#polled) this.#wakeAll();
        this.#polled = polled;
      } catch (error) {
        this.#options.log.warn({ err: error }, 'looking for checkpoints failed: trying on');
      }
    }
  }

  #wakeAll(): void {
    this.#version += 1;
    this.#reads.clear();
    for (const wake of this.#waiting) wake();
  }
}

async function readLastNumbers(database: Queryable): Promise<string> {
  const found = await database.query<{ numbers: string }>({
    name: 'read_last_proof_numbers',
    text: `SELECT concat_ws(' ', (SELECT max(number) FROM public.checkpoints WHERE log = 'signals'),
      (SELECT max(number) FROM public.checkpoints WHERE log = 'audit'), (SELECT max(number) FROM public.merkle_roots)) AS numbers`,
  });
  return found.rows[0]?.numbers ?? '';
}
