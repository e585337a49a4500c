import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Clock } from '../clock.js';
import type { LoginSource } from '../db/login.js';
import { ledgerConnection, openPool } from '../db/pool.js';
import { DaybookError } from '../errors.js';
import { toDaybookError } from '../ledger/database-errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import { logNames, type LogName } from '../ledger/rows.js';
import { acceptCheckpoints, type AcceptCheckpoint } from './accept-checkpoints.js';
import { readNewestCheckpoint, type CheckpointRow } from './read-checkpoints.js';
import { signCheckpointStep, type SigningContext } from './sign-checkpoint.js';

/** A caller who asks for a proof waits so long for its checkpoint, in milliseconds. */
const proofWaitMs = 10_000;
/** Checkpoints made because somebody asked are at least so far apart, in milliseconds. */
const onDemandPauseMs = 50;
const aborted = Symbol('aborted');

export interface CheckpointSignerOptions extends SigningContext {
  /** Login of the application. */
  readonly url: LoginSource;
  /** What callers ask is read through this: they must not take the signer's own connections from it. */
  readonly database: Queryable;
  /** Between two looks at the logs, in milliseconds: a new entry is covered by a checkpoint after about so long. */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when signing begins to be refused, until it succeeds once, and with null when signing goes on again. */
  readonly onRefusal: (log: LogName, error: DaybookError | null) => Promise<void>;
}

/** How a log's signing stands. Times are milliseconds since 1970. */
export interface SignerState {
  readonly refusal: string | null;
  readonly lastError: string | null;
  readonly newestSize: number;
  readonly newestSignedAtMs: number | null;
}

interface LogState {
  refusal: DaybookError | null;
  /** Code of the refusal that was reported; what else its message says may change with each entry. */
  reported: DaybookError['code'] | null;
  lastError: string | null;
  newestSize: number;
  newestSignedAtMs: number | null;
  round: Promise<void> | null;
}

/** Signs each log's head at a steady pace. Every node runs one; the database lets one at a time sign a log. */
export class CheckpointSigner implements AsyncDisposable {
  readonly #options: CheckpointSignerOptions;
  readonly #context: SigningContext;
  readonly #pool: pg.Pool;
  readonly #accept: AcceptCheckpoint;
  readonly #closing = new AbortController();
  readonly #states: Record<LogName, LogState>;
  readonly #running: Promise<void>[];

  constructor(options: CheckpointSignerOptions) {
    this.#options = options;
    this.#context = { ...options, signal: this.#closing.signal };
    this.#accept = acceptCheckpoints(options.keys);
    const connection = ledgerConnection(options.url, 'daybook signer');
    const settings = {
      ...connection,
      // A signer that hangs gives its lock up, and another node signs.
      options: `${connection.options ?? ''} -c idle_in_transaction_session_timeout=15s -c lock_timeout=10s`,
      max: 2,
      statement_timeout: 60_000,
    };
    this.#pool = openPool(settings, (err) => options.log.warn({ err }, 'the signer lost a connection'));
    const fresh = () => ({
      refusal: null,
      reported: null,
      lastError: null,
      newestSize: 0,
      newestSignedAtMs: null,
      round: null,
    });
    this.#states = { signals: fresh(), audit: fresh() };
    this.#running = logNames.map((log) => this.#run(log));
  }

  state(log: LogName): SignerState {
    const { refusal, lastError, newestSize, newestSignedAtMs } = this.#states[log];
    return { refusal: refusal?.message ?? null, lastError, newestSize, newestSignedAtMs };
  }

  /**
   * A checkpoint that covers the first `size` entries: the newest there is, or one signed now. Throws NOT_YET_SIGNED after
   * ten seconds, LOG_INCONSISTENT or SIGNING_UNAVAILABLE where nothing can be signed, and LOG_INCONSISTENT where the newest is
   * none that the log's own key signed.
   */
  async coveringCheckpoint(log: LogName, size: number): Promise<CheckpointRow> {
    const deadline = AbortSignal.any([AbortSignal.timeout(proofWaitMs), this.#closing.signal]);
    while (!deadline.aborted) {
      // A database or a signer that hangs must not keep the caller beyond the deadline.
      const newest = await unlessAborted(readNewestCheckpoint(this.#options.database, log), deadline);
      if (newest !== null && newest !== aborted && Number(newest.treeSize) >= size) {
        if ((await unlessAborted(this.#accept(newest), deadline)) !== aborted) return newest;
        continue;
      }
      const { refusal } = this.#states[log];
      if (refusal !== null) throw refusal;
      await unlessAborted(this.#sign(log), deadline);
      await delay(onDemandPauseMs, undefined, { signal: deadline }).catch(() => undefined);
    }
    throw new DaybookError(
      'NOT_YET_SIGNED',
      `no checkpoint of the ${log} log covers ${size} entries yet: retry shortly`,
    );
  }

  /** The checkpoint of exactly `size` entries, which must be there; signed under the lock where it is not yet. */
  checkpointOfSize(log: LogName, size: number): Promise<CheckpointRow> {
    return this.#withClient(async (client) => {
      for (;;) {
        const step = await signCheckpointStep(client, log, this.#context, { size, wait: true });
        if ('checkpoint' in step) return step.checkpoint;
        this.#closing.signal.throwIfAborted();
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#running);
    await this.#pool.end();
  }

  async #run(log: LogName): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#sign(log);
      await delay(this.#options.intervalMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** One round at a time for each log; whoever asks meanwhile waits for it. */
  async #sign(log: LogName): Promise<void> {
    const state = this.#states[log];
    state.round ??= this.#round(log).finally(() => {
      state.round = null;
    });
    await state.round;
  }

  async #round(log: LogName): Promise<void> {
    const state = this.#states[log];
    try {
      // Another node may have rotated the key: in the overlap every node signs with both.
      await this.#options.keys.refreshOld(this.#pool);
      // A session that holds the lock says nothing about the log: a refusal stands until this node looked itself.
      if (!(await this.#signWithNewKeys(log))) return;
      state.lastError = null;
      if (state.refusal !== null) {
        state.refusal = null;
        state.reported = null;
        await this.#options.onRefusal(log, null);
      }
    } catch (error) {
      const mapped = toDaybookError(error);
      if (state.lastError === null) this.#options.log.error({ err: error, log }, 'no checkpoint was signed: trying on');
      state.lastError = mapped.message;
      if (mapped.code !== 'LOG_INCONSISTENT' && mapped.code !== 'SIGNING_UNAVAILABLE') return;
      state.refusal = mapped;
      if (state.reported !== mapped.code) await this.#report(log, mapped);
    }
  }

  /** A report that fails is made again in the next round: the record may be what was out of order. */
  async #report(log: LogName, refusal: DaybookError): Promise<void> {
    const state = this.#states[log];
    try {
      await this.#options.onRefusal(log, refusal);
      state.reported = refusal.code;
    } catch (error) {
      this.#options.log.error({ err: error, log }, 'the refusal could not be recorded: trying on');
    }
  }

  /** Before a log is refused, the keys are read anew: another node may have made the one that it was signed with. */
  async #signWithNewKeys(log: LogName): Promise<boolean> {
    try {
      return await this.#signHead(log);
    } catch (error) {
      const isNew = this.#states[log].refusal === null && toDaybookError(error).code === 'LOG_INCONSISTENT';
      if (!isNew) throw error;
      await this.#options.keys.refresh();
      return this.#signHead(log);
    }
  }

  /** False where another session holds the lock. */
  #signHead(log: LogName): Promise<boolean> {
    return this.#withClient(async (client) => {
      for (;;) {
        const step = await signCheckpointStep(client, log, this.#context);
        if ('checkpoint' in step) this.#note(log, step.checkpoint);
        if (step.state !== 'behind' || this.#closing.signal.aborted) return step.state !== 'busy';
      }
    });
  }

  async #withClient<Result>(work: (client: pg.PoolClient) => Promise<Result>): Promise<Result> {
    const client = await this.#pool.connect();
    let broken: Error | undefined;
    try {
      return await work(client);
    } catch (error) {
      if (!(error instanceof DaybookError)) broken = error as Error;
      throw error;
    } finally {
      client.release(broken);
    }
  }

  #note(log: LogName, checkpoint: CheckpointRow): void {
    const state = this.#states[log];
    state.newestSize = Number(checkpoint.treeSize);
    state.newestSignedAtMs = Date.parse(checkpoint.signedAt);
  }
}

/** What the work gives, or `aborted` where the signal was faster; the work goes on, and what it throws then is nobody's. */
async function unlessAborted<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result | typeof aborted> {
  const { promise, resolve } = Promise.withResolvers<typeof aborted>();
  const onAbort = () => resolve(aborted);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    work.catch(() => undefined);
  }
}
