import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import { isFormerLogin, onLoginChange, type LoginSource } from '../db/login.js';
import { ledgerConnection, openPool } from '../db/pool.js';
import { DaybookError } from '../errors.js';
import { assertContinuous, readExtent, readRowsFrom, type RowOf } from './cursor-reads.js';
import { isConnectionLost, mapDatabaseError } from './database-errors.js';
import { RecentRows } from './recent-rows.js';
import { SharedFrames } from './shared-frames.js';
import type { LogName } from './rows.js';

/** How long a lost notification can delay an entry. */
const pollIntervalMs = 1_000;
/** Rows of one read at the head; of the largest entries these are 40 MB for a moment. */
const tailRowsMax = 500;
/** Rows of one read of history. */
const historyRowsMax = 250;
const historyConnectionsMax = 2;
/** Attempts of a history read whose connection breaks; with the pauses between, about three seconds. */
const historyAttemptsMax = 6;
const reconnectPauseMinMs = 100;
const reconnectPauseMaxMs = 2_000;
/** A connection that answers nothing for so long is replaced; otherwise a network that swallows packets stops the feed. */
const queryTimeoutMs = 10_000;
/**
 * Rows kept for feeds that are a moment behind. Few, so that most die young: rows that stay long enough to grow old make
 * the process several times as large as themselves before they are collected.
 */
const recentRowsMax = 2_048;
const recentBytesMax = 4 * 1024 * 1024;

export interface LogTailOptions<Log extends LogName> {
  /** Login of the application, directly to PostgreSQL: LISTEN does not work through a transaction pooler. */
  readonly url: LoginSource;
  readonly log: Log;
  readonly logger: Logger;
  /** Called once per finding when the stored log has a gap, a foreign link or has become shorter (LEDGER_BROKEN). */
  readonly onBroken: (error: DaybookError) => void;
  /** Bounds of the rows kept in memory. */
  readonly recentRowsMax?: number;
  readonly recentBytesMax?: number;
}

interface Waiter {
  readonly position: bigint;
  readonly wake: () => void;
}

/**
 * Follows the head of one log for all feeds of this node. Cursor reads are the truth; the notification and the timer
 * only say when to read. A lost connection is replaced and the reads go on at the same position, so nothing is skipped.
 * While no feed waits at the head, as when all their clients are slow, rows stay in the database and only the extent of
 * the log is looked at.
 */
export class LogTail<Log extends LogName = LogName> implements AsyncDisposable {
  /** Frames that feeds of this log share. */
  readonly frames = new SharedFrames<RowOf[Log]>();
  readonly #options: LogTailOptions<Log>;
  readonly #recent: RecentRows<RowOf[Log]>;
  readonly #history: pg.Pool;
  readonly #historyReads = new Map<string, Promise<readonly RowOf[Log][]>>();
  readonly #waiters = new Set<Waiter>();
  #refreshes: PromiseWithResolvers<void>[] = [];
  #client: pg.Client | null = null;
  /** True when a feed waited for the head since the extent was last checked. */
  #wanted = false;
  /** True when a notification came since the tail last read. */
  #outdated = false;
  /** False until the first look: how the log reads before that is the verifier's matter. */
  #knowsHead = false;
  #extentCheckedMs = -Infinity;
  #firstRetained = 0n;
  #broken: DaybookError | null = null;
  #looks: Promise<void> | null = null;
  #wakeUp: (() => void) | null = null;
  /** False after a notification that came while the tail was reading. */
  #mayRest = true;
  readonly #closing = new AbortController();
  readonly #forgetLogin: () => void;

  constructor(options: LogTailOptions<Log>) {
    this.#options = options;
    this.#forgetLogin = onLoginChange(options.url, () => this.#wake());
    this.#recent = new RecentRows(options.recentRowsMax ?? recentRowsMax, options.recentBytesMax ?? recentBytesMax);
    const settings = {
      ...ledgerConnection(options.url, `daybook ${options.log} history`),
      max: historyConnectionsMax,
      idleTimeoutMillis: 10_000,
      query_timeout: queryTimeoutMs,
    };
    this.#history = openPool(settings, (err) => options.logger.debug({ err }, 'a history connection broke'));
  }

  /** Size of the log as far as this node has seen it: index of the last entry + 1. */
  get head(): bigint {
    return this.#recent.end;
  }

  /** Lowest index that the database still holds. */
  get firstRetained(): bigint {
    return this.#firstRetained;
  }

  /** What is wrong with the stored log at its head, if anything is: no feed may pass it. */
  get broken(): DaybookError | null {
    return this.#broken;
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Connects and learns the head. Throws DATABASE_UNAVAILABLE or LEDGER_BROKEN; afterwards the tail mends itself. */
  async start(): Promise<void> {
    try {
      await this.#look();
    } catch (error) {
      await this.#disconnect();
      throw mapDatabaseError(error);
    }
    this.#looks = this.#keepLooking();
  }

  /** Resolves when everything committed before the call is below `head`. Throws as `start`, or SHUTTING_DOWN. */
  refresh(): Promise<void> {
    if (this.closed) return Promise.reject(shuttingDown());
    const refresh = Promise.withResolvers<void>();
    this.#refreshes.push(refresh);
    this.#wake();
    return refresh.promise;
  }

  /** Resolves when the log has an entry at `position`, after `timeoutMs`, on abort, when broken, and on closing. */
  waitForMore(position: bigint, signal: AbortSignal, timeoutMs: number): Promise<void> {
    if (position < this.head || signal.aborted || this.closed || this.#broken !== null) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        this.#waiters.delete(waiter);
        resolve();
      };
      const waiter: Waiter = { position, wake };
      const timer = setTimeout(wake, timeoutMs);
      signal.addEventListener('abort', wake, { once: true });
      this.#waiters.add(waiter);
      this.#wanted = true;
      if (this.#outdated) this.#wake();
    });
  }

  /**
   * Rows from `from` on in index order without a gap: at least one where `from` is below `head`, at most `max`. Equal
   * reads of history that run at the same time are one. Throws CURSOR_EXPIRED, DATABASE_UNAVAILABLE, LEDGER_BROKEN.
   */
  async read(from: bigint, max: number): Promise<readonly RowOf[Log][]> {
    if (this.closed) throw shuttingDown();
    if (from >= this.head) return [];
    const recent = this.#recent.slice(from, max);
    if (recent !== null) return recent;
    if (from < this.#firstRetained) {
      throw new DaybookError('CURSOR_EXPIRED', `the ${this.#options.log} log starts at ${this.#firstRetained}`);
    }
    const missing = this.head - from;
    const count = Math.min(max, missing < historyRowsMax ? Number(missing) : historyRowsMax);
    const key = `${from}+${count}`;
    const running = this.#historyReads.get(key) ?? this.#readHistory(from, count);
    this.#historyReads.set(key, running);
    try {
      return await running;
    } finally {
      this.#historyReads.delete(key);
    }
  }

  /** Ends waiting feeds and closes the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closed) return;
    this.#forgetLogin();
    this.#closing.abort();
    this.#wake();
    this.#wakeWaiters();
    await this.#looks;
    this.#endRefreshes(shuttingDown());
    await this.#disconnect();
    await this.#history.end();
  }

  async #keepLooking(): Promise<void> {
    let failures = 0;
    while (!this.closed) {
      await this.#rest(pollIntervalMs);
      if (this.closed) return;
      try {
        await this.#look();
        failures = 0;
      } catch (error) {
        if (error instanceof DaybookError && error.code === 'LEDGER_BROKEN') continue;
        failures += 1;
        await this.#disconnect();
        const pauseMs = Math.min(reconnectPauseMaxMs, reconnectPauseMinMs * 2 ** Math.min(failures - 1, 10));
        this.#options.logger.warn({ err: error, pauseMs, log: this.#options.log }, 'the tail lost its connection');
        await delay(pauseMs, undefined, { signal: this.#closing.signal }).catch(() => undefined);
        // Whatever happened meanwhile sent its notification to the connection that is gone.
        this.#mayRest = false;
      }
    }
  }

  /** Waits for a notification or until the time is over. */
  async #rest(restMs: number): Promise<void> {
    if (this.#mayRest) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, restMs);
        this.#wakeUp = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#wakeUp = null;
  }

  #wake(): void {
    this.#mayRest = false;
    this.#wakeUp?.();
  }

  /** Brings the head up to date and answers those who asked for it. */
  async #look(): Promise<void> {
    this.#mayRest = true;
    const refreshes = this.#refreshes;
    this.#refreshes = [];
    try {
      const client = await this.#connect();
      const isDue = this.#broken !== null || performance.now() - this.#extentCheckedMs >= pollIntervalMs;
      this.#outdated = false;
      const follows = this.#wanted || this.#waiters.size > 0;
      if (!follows || isDue) await this.#checkExtent(client, follows);
      while (follows && (await this.#readOn(client)) === tailRowsMax);
      if (this.#broken !== null) this.#options.logger.warn({ log: this.#options.log }, 'the log is continuous again');
      this.#broken = null;
      for (const refresh of refreshes) refresh.resolve();
    } catch (error) {
      this.#alarm(error);
      for (const refresh of refreshes) refresh.reject(mapDatabaseError(error));
      throw error;
    }
  }

  /** Compares the extent of the stored log with the head; with no feed waiting the head moves by this alone. */
  async #checkExtent(client: pg.Client, follows: boolean): Promise<void> {
    const { log } = this.#options;
    const { first, last, behind } = await readExtent(client, log, this.#knowsHead ? this.head : null);
    const size = last === null ? 0n : last + 1n;
    this.#extentCheckedMs = performance.now();
    this.#firstRetained = first ?? 0n;
    if (size < this.head) {
      throw new DaybookError('LEDGER_BROKEN', `the ${log} log had ${this.head} entries and now ends at ${size}`);
    }
    if (this.#knowsHead && behind !== size - this.head) {
      throw new DaybookError('LEDGER_BROKEN', `the ${log} log has ${behind} entries in [${this.head}, ${size})`);
    }
    this.#wanted = false;
    if (follows && this.#knowsHead) return;
    this.#recent.reset(size);
    this.#knowsHead = true;
    this.#wakeReached();
  }

  async #readOn(client: pg.Client): Promise<number> {
    const { log } = this.#options;
    const rows = await readRowsFrom(client, log, this.head, tailRowsMax);
    assertContinuous(log, rows, this.head, this.#recent.last);
    this.#recent.push(rows);
    this.#wakeReached();
    return rows.length;
  }

  #alarm(error: unknown): void {
    if (!(error instanceof DaybookError) || error.code !== 'LEDGER_BROKEN') return;
    // The same damage reads differently from one look to the next: one alarm until the log is continuous again.
    const isNews = this.#broken === null;
    this.#broken = error;
    if (!isNews) return;
    this.#options.logger.error({ err: error, log: this.#options.log }, 'the stored log contradicts itself');
    this.#options.onBroken(error);
    this.#wakeWaiters();
  }

  /** Throws CURSOR_EXPIRED where `from` is gone because the log starts later than this node knew. */
  async #refuseArchived(from: bigint): Promise<void> {
    const { log } = this.#options;
    const { first } = await readExtent(this.#history, log, null);
    if (first === null || first <= from) return;
    this.#firstRetained = first;
    throw new DaybookError('CURSOR_EXPIRED', `the ${log} log starts at ${first}`);
  }

  async #readHistory(from: bigint, count: number): Promise<readonly RowOf[Log][]> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const rows = await readRowsFrom(this.#history, this.#options.log, from, count);
        if (rows[0]?.chainIndex !== from.toString()) await this.#refuseArchived(from);
        assertContinuous(this.#options.log, rows, from, undefined);
        if (rows.length < count) {
          throw new DaybookError('LEDGER_BROKEN', `entry ${from + BigInt(rows.length)} of the log is missing`);
        }
        return rows;
      } catch (error) {
        if (attempt === historyAttemptsMax || error instanceof DaybookError || !isConnectionLost(error)) {
          this.#alarm(error);
          throw mapDatabaseError(error);
        }
        await delay(reconnectPauseMinMs * 2 ** (attempt - 1), undefined, { signal: this.#closing.signal }).catch(() => {
          throw shuttingDown();
        });
      }
    }
  }

  /** Each look reads after this, so what came while nothing listened is not missed. */
  async #connect(): Promise<pg.Client> {
    const { url, log, logger } = this.#options;
    if (this.#client !== null && isFormerLogin(url, this.#client)) await this.#disconnect();
    if (this.#client !== null) return this.#client;
    const client = new pg.Client({ ...ledgerConnection(url, `daybook ${log} tail`), query_timeout: queryTimeoutMs });
    client.on('notification', () => {
      this.#outdated = true;
      if (this.#waiters.size > 0) this.#wake();
    });
    client.on('error', (error) => {
      logger.debug({ err: error, log }, 'the connection of the tail broke');
      if (this.#client === client) this.#client = null;
      this.#wake();
    });
    await client.connect();
    this.#client = client;
    await client.query('LISTEN daybook_ledger');
    return client;
  }

  async #disconnect(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.end().catch((error: unknown) => this.#options.logger.debug({ err: error }, 'closing a connection'));
  }

  #wakeReached(): void {
    for (const waiter of this.#waiters) if (waiter.position < this.head) waiter.wake();
  }

  #wakeWaiters(): void {
    for (const waiter of [...this.#waiters]) waiter.wake();
  }

  #endRefreshes(error: DaybookError): void {
    for (const refresh of this.#refreshes) refresh.reject(error);
    this.#refreshes = [];
  }
}

function shuttingDown(): DaybookError {
  return new DaybookError('SHUTTING_DOWN', 'this node is shutting down: continue on another');
}
