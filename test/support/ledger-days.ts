import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { anchorRoots, type AnchorRun } from '../../src/anchors/anchor-roots.js';
import { readPassword, withConnection } from '../../src/db/admin-connection.js';
import { deriveRoleUrls } from '../../src/db/roles.js';
import { serviceOrigin } from '../../src/integrity/integrity-entry.js';
import { openAnchors, openStore } from '../../src/open-proofs.js';
import { startFakedPostgres } from './faked-postgres.js';
import type { SqlSession } from './sql-session.js';
import type { TestDatabase } from './test-database.js';
import type { TestService } from './test-service.js';

const dayMs = 24 * 60 * 60 * 1_000;
/** Days of a test lie in the past, so that the clocks of stores and authorities are never behind. */
const daysBack = 20;

/** A PostgreSQL whose days the test ends at will. */
export interface LedgerDays extends AsyncDisposable {
  /** An empty database; the first service on it migrates it. */
  createDatabase(): Promise<TestDatabase>;
  /** UTC date of a test's day, counted from 0. */
  dateOf(day: number): string;
  /** Sets the clock to a time of a test's day. */
  goTo(day: number, time?: string): Promise<void>;
  /** Sets the clock to a time (RFC 3339, UTC). */
  setClock(time: string): Promise<void>;
}

export async function startLedgerDays(): Promise<LedgerDays> {
  const server = await startFakedPostgres();
  const firstMs = Math.floor(Date.now() / dayMs - daysBack) * dayMs;
  const dateOf = (day: number) => new Date(firstMs + day * dayMs).toISOString().slice(0, 10);
  return {
    dateOf,
    goTo: (day, time = '12:00:00') => server.setClock(`${dateOf(day)}T${time}Z`),
    setClock: (time) => server.setClock(time),
    createDatabase: async () => {
      const name = `test_${randomUUID().replaceAll('-', '')}`;
      await withConnection(server.adminUrl, async (admin) => {
        await admin.query(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`);
      });
      const url = new URL(`/${name}`, server.adminUrl).href;
      return { name, urls: deriveRoleUrls(url, readPassword(url)!), [Symbol.asyncDispose]: () => Promise.resolve() };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** A sealed root as the API tells of it. */
export interface RootAnswer {
  readonly log: 'SIGNALS' | 'AUDIT';
  readonly date: string;
  readonly treeSize: string;
  readonly checkpoint: string;
  readonly anchors: readonly {
    readonly kind: string;
    readonly target: string;
    readonly status: string;
    readonly reference: string | null;
    readonly error: string | null;
  }[];
}

const rootFields = 'log date treeSize checkpoint anchors { kind target status reference error }';

/** Seals what has ended, and returns the roots of both logs, the newest first. */
export async function sealAll(service: TestService): Promise<RootAnswer[]> {
  for (const log of ['SIGNALS', 'AUDIT']) {
    const { errors } = await service.call(`mutation { sealLog(input: { log: ${log} }) { sealed { date } } }`);
    if (errors !== undefined) throw new Error(`${log} was not sealed: ${JSON.stringify(errors)}`);
  }
  return readRoots(service);
}

export async function readRoots(service: TestService): Promise<RootAnswer[]> {
  const { data, errors } = await service.call(`{ merkleRoots(first: 100) { nodes { ${rootFields} } } }`);
  if (errors !== undefined) throw new Error(JSON.stringify(errors));
  return data?.merkleRoots.nodes as RootAnswer[];
}

/** The root of one log's day. */
export function rootOf(roots: readonly RootAnswer[], log: RootAnswer['log'], date: string): RootAnswer {
  const found = roots.find((root) => root.log === log && root.date === date);
  if (found === undefined) throw new Error(`${log} has no root of ${date}: ${JSON.stringify(roots)}`);
  return found;
}

/** The attempts at the pending anchor that is tried last, and when it is due. */
export async function readPending(
  session: SqlSession,
): Promise<{ readonly attempts: number; readonly pauseSeconds: number; readonly dueAt: string }> {
  const [row] = await session.run(
    `SELECT max(attempts) AS attempts, max(next_attempt_at) AS due,
            extract(epoch FROM max(next_attempt_at) - clock_timestamp())::float8 AS pause
     FROM public.anchors WHERE status = 'PENDING'`,
  );
  const due = row?.due as Date;
  return { attempts: Number(row?.attempts), pauseSeconds: Number(row?.pause), dueAt: due.toISOString() };
}

/** Sets the clock to when every pending anchor is due. */
export async function goToNextAttempt(days: LedgerDays, session: SqlSession): Promise<void> {
  const { dueAt } = await readPending(session);
  await days.setClock(new Date(Date.parse(dueAt) + 1_000).toISOString());
}

/** Tries every anchor that is due, as the job does each minute, with anchors as the service's own configuration has them. */
export async function anchorDue(service: TestService): Promise<AnchorRun> {
  const { config, services, append, log } = service.context;
  const pool = services.database as pg.Pool;
  const store = openStore(config);
  try {
    const anchors = await openAnchors({ config, pool, clock: services.clock }, store);
    return await anchorRoots({ database: pool, append, anchors, log }, new AbortController().signal);
  } finally {
    await store?.[Symbol.asyncDispose]();
  }
}

/** Runs the check that looks at everything, as the service does each night; codes and messages are of its breaks. */
export async function checkFully(service: TestService): Promise<{ result: string; codes: string[]; messages: string }> {
  const { services, append } = service.context;
  const origin = serviceOrigin('test', randomUUID());
  const { result, breaks, error } = await services.integrity.run({ kind: 'FULL', origin, append });
  return {
    result,
    codes: [...new Set(breaks.map(({ code }) => code))].sort(),
    messages: [...breaks.map(({ area, message }) => `${area}: ${message}`), error ?? ''].join('\n'),
  };
}

/** Entries of the audit log with one event, oldest first. */
export async function readEntries(service: TestService, event: string): Promise<Record<string, any>[]> {
  const { data } = await service.call(
    `{ auditEntries(first: 500, filter: { event: { in: ["${event}"] } }) { nodes { resource outcome details } } }`,
  );
  return data?.auditEntries.nodes as Record<string, any>[];
}
