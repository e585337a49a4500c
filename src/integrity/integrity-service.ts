import { randomInt, randomUUID } from 'node:crypto';
import pg from 'pg';
import type { Logger } from 'pino';
import type { Append } from '../access/request-calls.js';
import type { Clock } from '../clock.js';
import { timestampFromMs } from '../core/timestamp.js';
import { DaybookError } from '../errors.js';
import { toDaybookError } from '../ledger/database-errors.js';
import type { CallOrigin } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { VerifyProgress } from '../ledger/verify-log.js';
import {
  lookForBreaks,
  type Findings,
  type FullVerificationOptions,
  type OutsideChecks,
  type VerifyEntries,
} from './look-for-breaks.js';
import { getCheck, type CheckKind, type IntegrityCheckRow } from './read-checks.js';
import { recordCheck } from './record-check.js';

/** How many entries a sample has where the caller does not say, and at most. */
const sampleSizeDefault = 1_000;
const sampleSizeMax = 100_000;
const recentMinutesDefault = 15;

/**
 * Locks by two numbers are a space of their own, apart from the single-number locks of ledger and migrations.
 * daybook.foreign_lock_holders() watches these very numbers.
 */
const checkLocks: Readonly<Record<CheckKind, readonly [number, number]>> = {
  SAMPLE: [721_946_049, 1],
  RECENT: [721_946_049, 2],
  FULL: [721_946_049, 3],
};

/** What the node counts of its checks. */
export interface CheckMetrics {
  /** Contradictions that a check found. */
  failed(count: number): void;
  duration(kind: CheckKind, seconds: number): void;
  finished(kind: CheckKind, result: IntegrityCheckRow['result']): void;
}

export interface IntegrityServiceOptions {
  /** The application role's pool, for reads; its options also open the connection that holds a check's lock. */
  readonly database: Queryable & Pick<pg.Pool, 'options'>;
  /** The auditor's URL: checks look through a role that can change nothing. */
  readonly readerUrl: string;
  readonly verifyEntries: VerifyEntries;
  readonly fullOptions?: () => Promise<FullVerificationOptions>;
  readonly outsideChecks?: OutsideChecks;
  /** What SAMPLE and RECENT cover at the end of both logs; 15 minutes where nothing is said. */
  readonly recentMinutes?: number;
  readonly metrics?: CheckMetrics;
  readonly clock: Clock;
  readonly log: Logger;
  /** A whole number from 0 to below the bound, for samples; node:crypto's where nothing is said. */
  readonly randomInt?: (bound: number) => number;
}

export interface CheckRequest {
  readonly kind: CheckKind;
  /** Entries that a SAMPLE draws, 1 to 100,000. */
  readonly sampleSize?: number | null;
  readonly origin: CallOrigin;
  /** The writer's append, or that of the call under way. */
  readonly append: Append;
  readonly onProgress?: (progress: VerifyProgress) => void;
  readonly signal?: AbortSignal;
}

declare module '../access/request-context.js' {
  interface Services {
    readonly integrity: IntegrityService;
  }
}

/** Runs checks of the ledger and puts each on the record. Used by resolvers, jobs and the command line alike. */
export class IntegrityService {
  constructor(private readonly options: IntegrityServiceOptions) {}

  /**
   * Runs one check and records it: its row, its `IntegrityChecked` entry, and an incident for each area in which something
   * contradicts, in one transaction. A check that cannot run to its end is recorded with the result ERROR and returned. Throws
   * BAD_USER_INPUT, INTEGRITY_CHECK_RUNNING while another of its kind runs on this database, and what the append throws.
   */
  async run(request: CheckRequest): Promise<IntegrityCheckRow> {
    const { clock, database, metrics } = this.options;
    const sampleSize = request.sampleSize ?? sampleSizeDefault;
    if (!Number.isInteger(sampleSize) || sampleSize < 1 || sampleSize > sampleSizeMax) {
      throw new DaybookError('BAD_USER_INPUT', `sampleSize must lie between 1 and ${sampleSizeMax}`);
    }
    const id = randomUUID();
    const startedAtMs = clock.nowMs();
    const startedMs = performance.now();
    const outcome = await this.#look(request, sampleSize);
    const durationMs = performance.now() - startedMs;
    const check = {
      id,
      kind: request.kind,
      startedAt: timestampFromMs(startedAtMs),
      endedAt: timestampFromMs(clock.nowMs()),
      durationMs: durationMs.toFixed(3),
    };
    const result = await recordCheck(
      { database, append: request.append },
      check,
      outcome,
      request.origin,
      this.options,
    );
    metrics?.duration(request.kind, durationMs / 1000);
    metrics?.finished(request.kind, result);
    return getCheck(database, id);
  }

  /** What was found, or why it could not be found out. Throws INTEGRITY_CHECK_RUNNING. */
  async #look(request: CheckRequest, sampleSize: number): Promise<Findings | DaybookError> {
    const { options } = this;
    const { kind, onProgress, signal } = request;
    try {
      await using _held = await lock(options.database.options, kind);
      return await lookForBreaks({
        kind,
        sampleSize,
        recentMinutes: options.recentMinutes ?? recentMinutesDefault,
        url: options.readerUrl,
        verifyEntries: options.verifyEntries,
        fullOptions: options.fullOptions ?? (() => Promise.resolve({})),
        outsideChecks: options.outsideChecks ?? (() => Promise.resolve([])),
        randomInt: options.randomInt ?? randomInt,
        onProgress,
        signal,
      });
    } catch (error) {
      if (error instanceof DaybookError && error.code === 'INTEGRITY_CHECK_RUNNING') throw error;
      if (signal?.aborted === true) return new DaybookError('SHUTTING_DOWN', 'the check was interrupted');
      options.log.error({ err: error, kind }, 'an integrity check could not run to its end');
      return toDaybookError(error);
    }
  }
}

/**
 * Held by a connection of its own until disposal, or until its process dies. The connection is the application's, as with
 * every lock of the service: of another role's, daybook.foreign_lock_holders() tells. Throws INTEGRITY_CHECK_RUNNING.
 */
async function lock(connection: pg.ClientConfig, kind: CheckKind): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const client = new pg.Client({ ...connection, application_name: 'daybook check' });
  // Where it breaks, the lock is free; the check itself goes on.
  client.on('error', () => undefined);
  await client.connect();
  stack.defer(() => client.end());
  const { rows } = await client.query<{ held: boolean }>('SELECT pg_try_advisory_lock($1, $2) AS held', [
    ...checkLocks[kind],
  ]);
  if (rows[0]?.held !== true) {
    throw new DaybookError('INTEGRITY_CHECK_RUNNING', `a ${kind} check runs on this database: wait for its result`);
  }
  return stack.move();
}
