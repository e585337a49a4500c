import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import { onLoginChange, type LoginSource } from '../db/login.js';
import { ledgerConnection } from '../db/pool.js';
import { DaybookError } from '../errors.js';
import { isConnectionLost, toDaybookError } from '../ledger/database-errors.js';
import type { LogTail } from '../ledger/tail-log.js';
import type { GiveWay } from './give-way.js';
import { advanceSink, noteFailure, readCursor, type SinkCursor } from './sink-rows.js';
import type { SinkTarget } from './sink-target.js';

/**
 * Session locks, one for each row of audit_sinks: this number plus the row's. Its holder alone delivers, and moves the cursor
 * through the same session, so a node that lost the lock cannot move it either.
 */
const lockBase = 7_219_460_237_160_000n;
/** How often a node that does not deliver looks whether it can take over, in milliseconds. */
const takeOverIntervalMs = 2_000;
/** How long entries may gather until they fill a delivery: fewer, larger writes, and the database is asked less often. */
const gatherMs = 250;
/** A sink that waits looks at its row at least so often, so that a replay is not missed. */
const idleMsMax = 2_000;
const firstPauseMs = 1_000;
const pauseMaxMs = 300_000;
/** What is delivered already may still be confirmed when the node shuts down. */
const lastConfirmMs = 5_000;
const queryTimeoutMs = 10_000;
const lastErrorCharactersMax = 1_000;

export interface SinkRunnerOptions {
  readonly name: string;
  /** Of the row in audit_sinks. */
  readonly number: number;
  readonly target: SinkTarget;
  readonly tail: LogTail<'audit'>;
  /** Login of the application, directly to PostgreSQL: a session lock does not hold through a transaction pooler. */
  readonly url: LoginSource;
  /** Moves the sink back where its target lost what it had acknowledged. On the record. */
  readonly rewind: (from: bigint, reason: string) => Promise<void>;
  readonly log: Logger;
  /** Called before each delivery; where nothing is said, delivery never waits for recording. */
  readonly giveWay?: GiveWay;
  /** After the first failure, in milliseconds; a second where nothing is said. */
  readonly firstPauseMs?: number;
}

/** Delivery was ended by a replay: it goes on at another position. */
class Moved extends Error {}

/**
 * Delivers the audit log to one target, in order and at least once. The cursor in the database moves when the target has
 * acknowledged; a crash at any point leaves it behind what arrived, never before. The tail only says when to look.
 */
export class SinkRunner implements AsyncDisposable {
  readonly #options: SinkRunnerOptions;
  readonly #closing = new AbortController();
  #running: Promise<void> | null = null;
  #reported: string | null = null;

  constructor(options: SinkRunnerOptions) {
    this.#options = options;
  }

  get number(): number {
    return this.#options.number;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#closing.signal.aborted) {
      const holder = this.#createHolder();
      const replaced = new AbortController();
      const forgetLogin = onLoginChange(this.#options.url, () => replaced.abort());
      try {
        await holder.connect();
        await this.#deliverAsHolder(holder, AbortSignal.any([this.#closing.signal, replaced.signal]));
        failures = 0;
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        failures += 1;
        this.#report(toDaybookError(error));
        await this.#rest(this.#pauseAfter(failures, 30_000), this.#closing.signal);
      } finally {
        forgetLogin();
        // The lock is free when this returns: after a change of the login the next session takes it at once.
        await end(holder);
      }
    }
  }

  /**
   * Takes turns until the connection breaks or `ending` aborts: the node shuts down, or its login changed. Then what was
   * delivered is confirmed before the lock is given up.
   */
  async #deliverAsHolder(holder: pg.Client, ending: AbortSignal): Promise<void> {
    // A position that is lost in a crash of the server is behind what arrived: the same as a crash before it was stored.
    await holder.query('SET synchronous_commit = off');
    const { number } = this.#options;
    while (!ending.aborted) {
      const locked = await holder.query<{ taken: boolean }>(
        `SELECT pg_try_advisory_lock(${lockBase + BigInt(number)}) AS taken`,
      );
      if (locked.rows[0]?.taken === true) break;
      await this.#rest(takeOverIntervalMs, ending);
    }
    while (!ending.aborted) {
      const { position, failures, waitMs } = await readCursor(holder, number);
      if (waitMs > 0) {
        await this.#rest(Math.min(waitMs, idleMsMax), ending);
        continue;
      }
      await this.#deliverFrom(holder, { position, failures, ending });
    }
  }

  /** Delivers from `position` on until something fails, which is noted in the row. */
  async #deliverFrom(
    holder: pg.Client,
    { position, failures, ending }: Pick<SinkCursor, 'position' | 'failures'> & { readonly ending: AbortSignal },
  ): Promise<void> {
    const { target, number, name, log } = this.#options;
    try {
      const start = await target.open(position);
      if (start < position) {
        await this.#options.rewind(start, `its target ends before entry ${start}`);
        return;
      }
      await this.#deliver(holder, position, ending);
    } catch (error) {
      if (error instanceof Moved) {
        log.info({ sink: name }, 'the sink was moved: it goes on from its new position');
        return;
      }
      if (this.#closing.signal.aborted) return;
      const mapped = toDaybookError(error);
      if (isDatabaseError(error, mapped)) throw error;
      this.#report(mapped);
      const text = `${mapped.code}: ${mapped.message}`.slice(0, lastErrorCharactersMax);
      await noteFailure(holder, number, text, this.#pauseAfter(failures + 1, pauseMaxMs));
    } finally {
      await target.close();
    }
  }

  async #deliver(holder: pg.Client, start: bigint, ending: AbortSignal): Promise<void> {
    const { target, tail } = this.#options;
    const { signal } = this.#closing;
    let confirmed = start;
    let sent = start;
    let dueMs = Infinity;
    let deliveredMs = -Infinity;
    let caughtUpMs = performance.now();
    const confirm = async (limit: AbortSignal) => {
      if (sent === confirmed) return;
      await target.confirm(limit);
      await this.#advance(holder, confirmed, sent);
      confirmed = sent;
      dueMs = Infinity;
    };
    while (!ending.aborted) {
      const now = performance.now();
      if (sent - confirmed > target.unconfirmedEntriesMax || now >= dueMs) await confirm(signal);
      if (sent >= tail.head) {
        await tail.waitForMore(sent, ending, Math.min(idleMsMax, Math.max(0, dueMs - now)));
        await this.#noticeReplay(holder, confirmed);
        if (tail.broken !== null && sent >= tail.head) throw tail.broken;
        caughtUpMs = performance.now();
        continue;
      }
      await this.#options.giveWay?.(caughtUpMs, ending);
      const batch = target.batchEntriesMax;
      const gatheringMs = deliveredMs + gatherMs - performance.now();
      if (gatheringMs > 0) await tail.waitForMore(sent + BigInt(batch) - 1n, ending, gatheringMs);
      const rows = await tail.read(sent, batch);
      if (rows.length === 0) continue;
      deliveredMs = performance.now();
      const count = await target.deliver(rows, signal);
      dueMs = Math.min(dueMs, performance.now() + target.unconfirmedMsMax);
      sent += BigInt(count);
    }
    await confirm(signal.aborted ? AbortSignal.timeout(lastConfirmMs) : signal);
  }

  /** Throws where a replay moved the sink back while it had nothing to deliver. */
  async #noticeReplay(holder: pg.Client, position: bigint): Promise<void> {
    const { position: stored } = await readCursor(holder, this.#options.number);
    if (stored !== position) throw new Moved();
  }

  async #advance(holder: pg.Client, from: bigint, to: bigint): Promise<void> {
    if (!(await advanceSink(holder, this.#options.number, { from, to }))) throw new Moved();
    this.#reported = null;
  }

  /** In the log once, until something else is wrong or it works again. */
  #report(error: DaybookError): void {
    const { name, log } = this.#options;
    if (this.#reported === error.message) return;
    this.#reported = error.message;
    const unexpected = error.code === 'INTERNAL' ? { err: error.cause } : {};
    log.warn(
      { sink: name, code: error.code, reason: error.message, ...unexpected },
      'the sink does not deliver: trying on',
    );
  }

  #createHolder(): pg.Client {
    const { url, name, log } = this.#options;
    const holder = new pg.Client({ ...ledgerConnection(url, `daybook sink ${name}`), query_timeout: queryTimeoutMs });
    holder.on('error', (error) => log.debug({ err: error, sink: name }, 'the connection of a sink broke'));
    return holder;
  }

  #pauseAfter(failures: number, maxMs: number): number {
    return backOff(failures, maxMs, this.#options.firstPauseMs);
  }

  async #rest(restMs: number, ending: AbortSignal): Promise<void> {
    await delay(restMs, undefined, { signal: ending, ref: false }).catch(() => undefined);
  }
}

/** Doubles with each failure in a row; without chance, so that an operator can foresee it. */
export function backOff(failures: number, maxMs: number, firstMs = firstPauseMs): number {
  return Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 20));
}

/** Of the sink's own session: then its lock is gone too, and another node may deliver. */
function isDatabaseError(error: unknown, mapped: DaybookError): boolean {
  if (error instanceof DaybookError) return mapped.code === 'DATABASE_UNAVAILABLE';
  return mapped.code !== 'INTERNAL' || isConnectionLost(error);
}

async function end(holder: pg.Client): Promise<void> {
  // One that never connected, or lost its connection, has nothing to end.
  await holder.end().catch(() => undefined);
}
