import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import { ledgerConnection } from '../db/pool.js';

/** How long a subscriber waits at most for a wake-up that was lost, in milliseconds. */
const pollMs = 1_000;
const reconnectPauseMs = 1_000;

/**
 * Wakes whoever waits for a new checkpoint or root. A hint only: waiters look for themselves, and at least each second.
 * Holds one connection that listens.
 */
export class ProofWatch implements AsyncDisposable {
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #wake = Promise.withResolvers<void>();

  constructor(
    private readonly url: string,
    private readonly log: Logger,
  ) {
    this.#running = this.#run();
  }

  /** Resolves at the next change, at the next poll, or when `signal` aborts. */
  async changed(signal: AbortSignal): Promise<void> {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    const timer = delay(pollMs, undefined, { signal: ended, ref: false }).catch(() => undefined);
    await Promise.race([this.#wake.promise, timer]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const client = new pg.Client(ledgerConnection(this.url, 'daybook proofs'));
      const lost = Promise.withResolvers<void>();
      client.on('error', () => lost.resolve());
      client.on('end', () => lost.resolve());
      client.on('notification', () => this.#wakeAll());
      const stop = () => lost.resolve();
      signal.addEventListener('abort', stop, { once: true });
      try {
        await client.connect();
        await client.query('LISTEN daybook_proofs');
        await lost.promise;
      } catch (error) {
        this.log.warn({ err: error }, 'listening for checkpoints was interrupted: polling meanwhile');
      } finally {
        signal.removeEventListener('abort', stop);
        await client.end().catch(() => undefined);
      }
      await delay(reconnectPauseMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  #wakeAll(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
  }
}
