import type { Logger } from 'pino';
import type { Queryable } from '../ledger/read-entries.js';

/** How long one check may take before it counts as failed, in milliseconds. */
const checkTimeoutMs = 2_000;

export interface HealthCheck {
  readonly status: 'ok' | 'failed';
  readonly durationMs: number;
  /** Facts for whoever mends it. */
  readonly [fact: string]: unknown;
}

/** A safeguard that this installation lacks; what it costs and how to get it. */
interface MissingSafeguard {
  readonly name: string;
  readonly cause: string;
  readonly mend: string;
}

/** How a log's signing and publishing stand; null where nothing is wrong. */
interface ProofHealth {
  readonly refusal: string | null;
  readonly canSign: boolean;
  readonly lastError: string | null;
  readonly publishingError: string | null;
  /** Entries that no checkpoint covers in time; `error`: that could not be seen. */
  readonly unsigned: { readonly overdue: object | null; readonly error: string | null };
}

export interface HealthSources {
  readonly database: Queryable;
  readonly missingLayers: readonly MissingSafeguard[];
  readonly appendQueue: () => { readonly waiting: number; readonly max: number };
  readonly feeds: () => Readonly<Record<string, { readonly head: string; readonly broken: string | null }>>;
  readonly reconciler: () => { readonly lastError: string | null };
  readonly proofs: () => Readonly<Record<string, ProofHealth>>;
  /** Null on a node that runs none. */
  readonly jobs: () => { readonly running: boolean; readonly failing: readonly object[] } | null;
  readonly draining: () => boolean;
  readonly log: Logger;
}

export interface HealthReport {
  /** `degraded`: it serves, and something needs attention. `failed`: it cannot serve. */
  readonly status: 'ok' | 'degraded' | 'failed';
  readonly checks: Readonly<Record<string, HealthCheck>>;
  readonly missingLayers: readonly MissingSafeguard[];
}

/** Whether this node can take requests: its database answers and it is not draining. */
export async function checkReady(
  sources: HealthSources,
): Promise<{ ready: boolean; checks: Record<string, HealthCheck> }> {
  const database = await timed(() => checkDatabase(sources.database));
  const draining: HealthCheck = { status: sources.draining() ? 'failed' : 'ok', durationMs: 0 };
  return { ready: database.status === 'ok' && draining.status === 'ok', checks: { database, notDraining: draining } };
}

/** Everything the node knows about its own state. */
export async function checkHealth(sources: HealthSources): Promise<HealthReport> {
  const { ready, checks } = await checkReady(sources);
  const queue = sources.appendQueue();
  const feeds = sources.feeds();
  const brokenFeed = Object.values(feeds).find((feed) => feed.broken !== null);
  const lock = await timed(() => checkLocks(sources.database));
  const all: Record<string, HealthCheck> = {
    ...checks,
    appendQueue: { status: queue.waiting < queue.max ? 'ok' : 'failed', durationMs: 0, ...queue },
    feeds: { status: brokenFeed === undefined ? 'ok' : 'failed', durationMs: 0, logs: feeds },
    ledgerLock: lock,
    signer: checkSigner(sources.proofs()),
    unsignedEntries: checkUnsigned(sources.proofs()),
    publishing: checkPublishing(sources.proofs()),
    jobs: checkJobs(sources.jobs()),
    reconciliation: {
      status: sources.reconciler().lastError === null ? 'ok' : 'failed',
      durationMs: 0,
      ...sources.reconciler(),
    },
  };
  const attention = Object.values(all).some((check) => check.status === 'failed') || sources.missingLayers.length > 0;
  return {
    status: ready ? (attention ? 'degraded' : 'ok') : 'failed',
    checks: all,
    missingLayers: sources.missingLayers,
  };
}

function checkSigner(logs: Readonly<Record<string, ProofHealth>>): HealthCheck {
  const fine = Object.values(logs).every((log) => log.refusal === null && log.lastError === null && log.canSign);
  return { status: fine ? 'ok' : 'failed', durationMs: 0, logs };
}

function checkUnsigned(logs: Readonly<Record<string, ProofHealth>>): HealthCheck {
  const overdue = Object.values(logs).flatMap(({ unsigned }) => unsigned.overdue ?? []);
  const errors = Object.values(logs).flatMap(({ unsigned }) => unsigned.error ?? []);
  return { status: overdue.length + errors.length === 0 ? 'ok' : 'failed', durationMs: 0, overdue, errors };
}

function checkPublishing(logs: Readonly<Record<string, ProofHealth>>): HealthCheck {
  const errors = Object.values(logs).flatMap(({ publishingError }) => publishingError ?? []);
  return { status: errors.length === 0 ? 'ok' : 'failed', durationMs: 0, errors };
}

function checkJobs(jobs: ReturnType<HealthSources['jobs']>): HealthCheck {
  if (jobs === null) return { status: 'ok', durationMs: 0, running: false, reason: 'DAYBOOK_JOBS is off on this node' };
  return { status: jobs.running && jobs.failing.length === 0 ? 'ok' : 'failed', durationMs: 0, ...jobs };
}

async function checkDatabase(database: Queryable): Promise<Record<string, unknown>> {
  const answer = await database.query<Record<string, unknown>>(
    `SELECT current_setting('server_version') AS "serverVersion", pg_postmaster_start_time()::text AS "startedAt",
            pg_database_size(current_database())::text AS "databaseBytes",
            (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
            current_setting('max_connections')::int AS "connectionsMax"`,
  );
  return answer.rows[0] ?? {};
}

/** Any role can take an advisory lock, so those that others hold, or the service itself for too long, are looked for. */
async function checkLocks(database: Queryable): Promise<Record<string, unknown>> {
  const holders = await database.query<{ pid: number; user_name: string; lock_name: string; held_seconds: number }>(
    'SELECT pid, user_name, lock_name, held_seconds FROM daybook.foreign_lock_holders() ORDER BY lock_name, pid',
  );
  if (holders.rows.length === 0) return {};
  return {
    failed: true,
    heldLong: holders.rows.map((row) => ({
      lock: row.lock_name,
      pid: row.pid,
      user: row.user_name,
      seconds: row.held_seconds,
    })),
  };
}

async function timed(check: () => Promise<Record<string, unknown>>): Promise<HealthCheck> {
  const startedMs = performance.now();
  const timeout = Promise.withResolvers<never>();
  const timer = setTimeout(() => timeout.reject(new Error(`no answer within ${checkTimeoutMs} ms`)), checkTimeoutMs);
  try {
    const { failed, ...facts } = await Promise.race([check(), timeout.promise]);
    return { status: failed === true ? 'failed' : 'ok', durationMs: sinceMs(startedMs), ...facts };
  } catch (error) {
    return { status: 'failed', durationMs: sinceMs(startedMs), error: (error as Error).message };
  } finally {
    clearTimeout(timer);
  }
}

function sinceMs(startedMs: number): number {
  return Math.round((performance.now() - startedMs) * 1000) / 1000;
}
