import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import { isFormerLogin, onLoginChange, type LoginSource } from '../db/login.js';
import { ledgerConnection } from '../db/pool.js';
import { DaybookError } from '../errors.js';
import { commitBatch, wasCommitted, type AppendRequest, type AppendResult, type CommitMark } from './commit-batch.js';
import type { NewAuditEntry } from './new-entries.js';
import { isConnectionLost, isRefusedData, mapDatabaseError } from './database-errors.js';

/** Rows of one transaction: long enough to share its fsync among many, short enough that a caller waits little. */
const batchRowsMax = 2_000;
/** Bytes of waiting texts; without this bound, a full queue of largest entries would take over a gigabyte. */
const queueBytesMax = 64 * 1024 * 1024;
/** How long an unknown COMMIT is looked for after the connection broke. */
const unknownCommitWaitMs = 10_000;
const reconnectPauseMs = 200;
/** A server that answers nothing for so long is given up: its callers are told, and the connection is replaced. */
const statementAnswerMs = 30_000;
/** How long the farewell to a connection may take before it is cut. */
const disconnectWaitMs = 1_000;

export interface LedgerWriterOptions {
  /** Login of the application. */
  readonly url: LoginSource;
  /** Rows that may wait before callers get QUEUE_FULL. */
  readonly queueRowsMax: number;
  readonly log: Logger;
  /** How long one statement may stay unanswered, in milliseconds; 30 s where nothing is said. */
  readonly statementAnswerMs?: number;
}

interface Pending {
  readonly request: AppendRequest;
  readonly rows: number;
  readonly bytes: number;
  readonly resolve: (result: AppendResult) => void;
  readonly reject: (error: DaybookError) => void;
}

/** A batch whose COMMIT was sent: how to recognise its transaction, and what to answer when it committed. */
interface Committing {
  readonly mark: CommitMark | null;
  readonly settle: () => void;
}

/**
 * The one writer of this node. Requests that arrive while a transaction runs share the next one (group commit); each
 * promise settles when its rows are durable or surely not recorded, save OUTCOME_UNKNOWN, which says so.
 */
export class LedgerWriter implements AsyncDisposable {
  readonly #options: LedgerWriterOptions;
  #queue: Pending[] = [];
  #queuedRows = 0;
  #queuedBytes = 0;
  #takenRows = 0;
  #client: pg.Client | null = null;
  #running: Promise<void> | null = null;
  #closing = false;
  readonly #forgetLogin: () => void;

  constructor(options: LedgerWriterOptions) {
    this.#options = options;
    this.#forgetLogin = onLoginChange(options.url, () => {
      if (this.#running === null) void this.#leaveFormerLogin();
    });
  }

  /** Rows that wait for their transaction. */
  get queuedRows(): number {
    return this.#queuedRows;
  }

  /** Rows that were taken into a transaction since the writer was made, whatever became of it. */
  get takenRows(): number {
    return this.#takenRows;
  }

  /**
   * Appends a request's rows in one transaction. Throws QUEUE_FULL or SHUTTING_DOWN before anything is sent,
   * DATABASE_UNAVAILABLE when nothing was recorded, OUTCOME_UNKNOWN when that cannot be told, and the caller's own faults.
   */
  append(request: AppendRequest): Promise<AppendResult> {
    if (this.#closing) {
      return Promise.reject(new DaybookError('SHUTTING_DOWN', 'this node is shutting down: retry on another'));
    }
    const rows = countRows(request);
    const bytes = countBytes(request);
    if (this.#queuedRows + rows > this.#options.queueRowsMax || this.#queuedBytes + bytes > queueBytesMax) {
      return Promise.reject(
        new DaybookError('QUEUE_FULL', `${this.#queuedRows} entries wait to be recorded: retry after a pause`),
      );
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ request, rows, bytes, resolve, reject });
      this.#queuedRows += rows;
      this.#queuedBytes += bytes;
      this.#running ??= this.#run();
    });
  }

  /** Refuses new requests, commits those accepted, and closes the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    this.#forgetLogin();
    while (this.#running !== null) await this.#running;
    await this.#disconnect();
  }

  async #run(): Promise<void> {
    // Requests of the same turn of the event loop go into one transaction.
    await Promise.resolve();
    do {
      while (this.#queue.length > 0) await this.#commit(this.#takeBatch());
      await this.#leaveFormerLogin();
    } while (this.#queue.length > 0);
    this.#running = null;
  }

  #takeBatch(): Pending[] {
    let rows = 0;
    let count = 0;
    for (const pending of this.#queue) {
      if (count > 0 && rows + pending.rows > batchRowsMax) break;
      rows += pending.rows;
      count += 1;
    }
    const batch = this.#queue.splice(0, count);
    this.#takenRows += rows;
    this.#queuedRows -= rows;
    this.#queuedBytes -= batch.reduce((sum, pending) => sum + pending.bytes, 0);
    return batch;
  }

  async #commit(batch: readonly Pending[]): Promise<void> {
    let committing: Committing | undefined;
    try {
      const client = await this.#connect();
      const requests = batch.map((pending) => pending.request);
      const outcomes = await commitBatch(client, requests, (mark, expected) => {
        committing = { mark, settle: () => settle(batch, expected) };
      });
      settle(batch, outcomes);
    } catch (error) {
      if (isConnectionLost(error)) {
        await this.#disconnect();
        if (committing !== undefined) return this.#resolveUnknown(batch, committing);
        return rejectAll(batch, mapDatabaseError(error));
      }
      await this.#rollBack();
      if (isRefusedData(error) && batch.length > 1) {
        // One request's row was refused: halving finds it and lets the others through.
        const middle = Math.ceil(batch.length / 2);
        await this.#commit(batch.slice(0, middle));
        await this.#commit(batch.slice(middle));
        return;
      }
      const mapped = mapDatabaseError(error);
      if (mapped.code === 'INTERNAL' || mapped.code === 'LEDGER_BROKEN') {
        this.#options.log.error({ err: error }, 'an append failed for a reason that is not the caller’s');
      }
      rejectAll(batch, mapped);
    }
  }

  /** The connection broke after COMMIT was sent: the log itself tells what became of the transaction. */
  async #resolveUnknown(batch: readonly Pending[], { mark, settle }: Committing): Promise<void> {
    const signal = AbortSignal.timeout(unknownCommitWaitMs);
    while (!signal.aborted) {
      try {
        if (mark === null || (await wasCommitted(await this.#connect(), mark))) return settle();
        return rejectAll(
          batch,
          new DaybookError('DATABASE_UNAVAILABLE', 'the database restarted: nothing was recorded, retry'),
        );
      } catch (error) {
        this.#options.log.warn({ err: error }, 'looking for the outcome of a commit');
        await this.#disconnect();
      }
      await delay(reconnectPauseMs);
    }
    rejectAll(
      batch,
      new DaybookError('OUTCOME_UNKNOWN', 'the connection broke while committing: retry with the same idempotencyKey'),
    );
  }

  /** Between two transactions. */
  async #leaveFormerLogin(): Promise<void> {
    if (this.#client !== null && isFormerLogin(this.#options.url, this.#client)) await this.#disconnect();
  }

  async #connect(): Promise<pg.Client> {
    await this.#leaveFormerLogin();
    if (this.#client !== null) return this.#client;
    const config = ledgerConnection(this.#options.url, 'daybook writer');
    // A foreign holder of the ledger lock must not stall every call for ever.
    const client = new pg.Client({
      ...config,
      options: `${config.options ?? ''} -c lock_timeout=10s`,
      query_timeout: this.#options.statementAnswerMs ?? statementAnswerMs,
    });
    client.on('error', (error) => {
      this.#options.log.warn({ err: error }, 'the writer lost its connection');
      if (this.#client === client) this.#client = null;
    });
    await client.connect();
    this.#client = client;
    return client;
  }

  async #disconnect(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    if (client === null) return;
    const ended = client
      .end()
      .catch((error: unknown) => this.#options.log.debug({ err: error }, 'closing a broken connection'));
    // A server that hangs does not answer the farewell either.
    await Promise.race([ended, delay(disconnectWaitMs, undefined, { ref: false })]);
    (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  }

  async #rollBack(): Promise<void> {
    try {
      await this.#client?.query('ROLLBACK');
    } catch (error) {
      this.#options.log.warn({ err: error }, 'rolling back failed: the connection is replaced');
      await this.#disconnect();
    }
  }
}

function settle(batch: readonly Pending[], outcomes: readonly (AppendResult | DaybookError)[]): void {
  batch.forEach((pending, place) => {
    const outcome = outcomes[place];
    if (outcome instanceof DaybookError) pending.reject(outcome);
    else if (outcome === undefined) pending.reject(new DaybookError('INTERNAL', 'an append got no outcome'));
    else pending.resolve(outcome);
  });
}

function rejectAll(batch: readonly Pending[], error: DaybookError): void {
  for (const pending of batch) pending.reject(error);
}

function countRows(request: AppendRequest): number {
  return (request.signals?.length ?? 0) + (request.entries?.length ?? 0) + (request.callEntries?.length ?? 0);
}

function countBytes(request: AppendRequest): number {
  const signals = request.signals?.reduce((sum, signal) => sum + signal.rationale.length + 500, 0) ?? 0;
  const entries = [...(request.entries ?? []), ...(request.callEntries ?? [])];
  const textOf = ({ details, oldData, newData }: NewAuditEntry) =>
    details.length + (oldData?.length ?? 0) + (newData?.length ?? 0);
  return signals + entries.reduce((sum, entry) => sum + textOf(entry) + 500, 0);
}
