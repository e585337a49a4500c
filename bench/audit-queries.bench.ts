import { readAuditStats } from '../src/audit/read-audit-stats.js';
import { withConnection } from '../src/db/admin-connection.js';
import { ledgerConnection, openPool } from '../src/db/pool.js';
import { rollUpTotals } from '../src/ledger/audit-totals.js';
import { parseFilter } from '../src/ledger/filter.js';
import { auditFilterFields, encodeCursor, readPage, type Queryable } from '../src/ledger/read-entries.js';
import { startBenchDatabase } from './bench-database.js';
import type { Bench, BenchContext, Comparison } from './comparison.js';
import { compare, measureInTurns } from './measure-pairs.js';
import { storeAuditLog } from './store-audit-log.js';

const entriesOfSmall = 100_000;
const pageRows = 50;
const pageRounds = 11;
/** Of a few milliseconds the scheduler can take many: a round counts the fastest of so many reads. */
const readsPerRound = 4;
const totalsRounds = 5;
const warmUpRounds = 3;
const target = { atMost: 2 };

/** A filled log, and what filters need to know of it. */
interface FilledLog extends AsyncDisposable {
  readonly client: Queryable;
  readonly entries: number;
  /** When the entry in the middle was recorded, and the last one. */
  readonly middle: string;
  readonly last: string;
}

interface Query {
  readonly filter: (log: FilledLog) => object | null;
  readonly newestFirst?: true;
  /** The share of the log that lies before the page, from 0 to 1. */
  readonly after?: number;
}

const always = (filter: object): Query => ({ filter: () => filter });
const newest = (query: Query): Query => ({ ...query, newestFirst: true });
const farIn = (query: Query): Query => ({ ...query, after: 0.6 });

/**
 * Each condition with a value that many entries have, one that only the last hundred have and one that none has, then
 * combinations that rarely or never meet, and pages far in.
 */
const queries: Readonly<Record<string, Query>> = {
  'no filter': { filter: () => null },
  'no filter, newest first': { filter: () => null, newestFirst: true },
  'no filter, far in': farIn({ filter: () => null }),
  'actor, one in twenty': always({ actor: { eq: 'desk-7' } }),
  'actor, one in twenty, far in': farIn(always({ actor: { eq: 'desk-7' } })),
  'actor, late': always({ actor: { eq: 'night-shift' } }),
  'actor, none': always({ actor: { eq: 'nobody' } }),
  'actor absent, none': always({ actor: { isNull: true } }),
  'two actors, one late': always({ actor: { in: ['desk-7', 'night-shift'] } }),
  'role, frequent': always({ role: { eq: 'PRODUCER' } }),
  'role, late': always({ role: { eq: 'ADMIN' } }),
  'role, none': always({ role: { eq: 'MONITOR' } }),
  'category, frequent': always({ category: { eq: 'API' } }),
  'category, late': always({ category: { eq: 'SECRET' } }),
  'category, none, newest first': newest(always({ category: { eq: 'BACKUP' } })),
  'event, late': always({ event: { eq: 'SecretRotated' } }),
  'event, none': always({ event: { eq: 'NeverSeen' } }),
  'action, frequent': always({ action: { eq: 'CREATE' } }),
  'action, late': always({ action: { eq: 'EXECUTE' } }),
  'action, none': always({ action: { eq: 'LOGOUT' } }),
  'resource prefix, frequent': always({ resource: { startsWith: 'orders/' } }),
  'resource prefix, late': always({ resource: { startsWith: 'vault/' } }),
  'resource prefix, none': always({ resource: { startsWith: 'nowhere/' } }),
  'outcome, frequent': always({ outcome: { eq: 'RATE_LIMITED' } }),
  'outcome, late': always({ outcome: { eq: 'KEY_REVOKED' } }),
  'outcome, none': always({ outcome: { eq: 'FORBIDDEN' } }),
  'outcome but one': always({ outcome: { ne: 'OK' } }),
  'outcome but two, late': always({ outcome: { notIn: ['OK', 'RATE_LIMITED'] } }),
  'address, frequent': always({ ipAddress: { eq: '10.0.1.1' } }),
  'address, late': always({ ipAddress: { eq: '192.0.2.1' } }),
  'address prefix, none': always({ ipAddress: { startsWith: '203.' } }),
  'request, newest first': newest(always({ requestId: { eq: 'request-700' } })),
  'request, none': always({ requestId: { eq: 'no-request' } }),
  'session, newest first': newest(always({ sessionId: { eq: 'session-7' } })),
  'session, none': always({ sessionId: { eq: 'no-session' } }),
  'signal, none': always({ signalId: { eq: 'no-signal' } }),
  'recorded after the middle': { filter: ({ middle }) => ({ recordedAt: { gte: middle } }) },
  'recorded before the middle, newest first': {
    filter: ({ middle }) => ({ recordedAt: { lt: middle } }),
    newestFirst: true,
  },
  'recorded before there was a log': always({ recordedAt: { lt: '2000-01-01T00:00:00Z' } }),
  'happened at the end': { filter: ({ last }) => ({ occurredAt: { gte: last } }) },
  'index range': { filter: ({ entries }) => ({ chainIndex: { gte: String(entries - 500) } }) },
  'text, in every entry': always({ text: { contains: 'Usual' } }),
  'text, late': always({ text: { contains: 'quarterly' } }),
  'text, late, newest first': newest(always({ text: { contains: 'quarterly' } })),
  'text, none': always({ text: { contains: 'nothing of the kind' } }),
  'text, none, far in': farIn(always({ text: { contains: 'nothing of the kind' } })),
  'text, none, in a range of time': {
    filter: ({ middle }) => ({ text: { contains: 'nothing of the kind' }, recordedAt: { gte: middle } }),
  },
  'actor and category, frequent, far in': farIn(always({ actor: { eq: 'desk-8' }, category: { eq: 'ORDER' } })),
  'actor and outcome that never meet': always({ actor: { eq: 'desk-7' }, outcome: { eq: 'KEY_REVOKED' } }),
  'actor and outcome, each frequent, that never meet': always({
    actor: { eq: 'desk-7' },
    outcome: { eq: 'RATE_LIMITED' },
  }),
  'actor and text that never meet': always({ actor: { eq: 'desk-7' }, text: { contains: 'quarterly' } }),
  'either of two': always({ or: [{ actor: { eq: 'night-shift' } }, { outcome: { eq: 'KEY_REVOKED' } }] }),
  'five conditions, none': always({
    actor: { eq: 'desk-7' },
    category: { eq: 'API' },
    action: { eq: 'READ' },
    role: { eq: 'PRODUCER' },
    outcome: { eq: 'OK' },
  }),
};

/** Totals, which look at more entries the more there are: how long they take, without a target. */
const totals: Readonly<Record<string, object>> = {
  'the whole log': {},
  'one actor': { actor: { eq: 'desk-7' } },
  refusals: { outcome: { ne: 'OK' } },
};

/** Pages of the audit log by every filter: their time in a long log against that in a short one. */
export const auditQueries: Bench = async (context) => {
  await using small = await fillLog(context, entriesOfSmall);
  await using large = await fillLog(context, context.entriesOfLarge);
  const lines: Comparison[] = [];
  const inTurns = async (what: string, rounds: number, timeIn: (log: FilledLog) => Promise<number>) => {
    const place = lines.length / (Object.keys(queries).length + Object.keys(totals).length);
    return measureInTurns({
      signal: context.signal,
      progress: () => context.progress(place, what),
      doing: what,
      rounds,
      warmUpRounds,
      measure: { large: () => timeIn(large), small: () => timeIn(small) },
    });
  };
  const line = { bench: 'audit-queries', baselineIs: `${small.entries} entries`, unit: 'ms' };
  for (const [what, query] of Object.entries(queries)) {
    const samples = await inTurns(what, pageRounds, (log) => fastestOf(() => readOnePage(log, query, log.client)));
    const name = `${what}: page of ${pageRows}, ${large.entries} entries`;
    lines.push({
      ...compare(samples, 'large', 'small', { ...line, what: name, target }),
      ...(context.plans ? { details: await explainPage(what, large, query) } : {}),
    });
  }
  for (const [what, filter] of Object.entries(totals)) {
    const condition = parseFilter(filter, auditFilterFields);
    const samples = await inTurns(what, totalsRounds, (log) => timeOf(() => readAuditStats(log.client, condition)));
    const name = `totals of ${what}, ${large.entries} entries`;
    lines.push(compare(samples, 'large', 'small', { ...line, what: name, target: null }));
  }
  return lines;
};

async function fillLog({ signal, progress }: BenchContext, entries: number): Promise<FilledLog> {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await startBenchDatabase());
  await storeAuditLog(database, entries, signal, (share) => progress(share, `storing ${entries} entries`));
  // As autovacuum leaves a log that has been there for a while.
  await withConnection(database.urls.superuser, async (superuser) => {
    await superuser.query('SET statement_timeout = 0');
    await superuser.query('VACUUM (ANALYZE) public.audit_entries');
  });
  const client = openPool({ ...ledgerConnection(database.urls.application, 'daybook bench'), max: 1 }, () => undefined);
  stack.defer(() => client.end());
  await rollUpTotals(client);
  const found = await client.query<{ recorded_at: string }>(
    'SELECT recorded_at FROM public.audit_entries WHERE chain_index IN ($1, $2) ORDER BY chain_index',
    [entries / 2, entries - 1],
  );
  const [middle, last] = found.rows.map((row) => row.recorded_at);
  if (middle === undefined || last === undefined) throw new Error(`the log has fewer than ${entries} entries`);
  const owned = stack.move();
  return { client, entries, middle, last, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function fastestOf(run: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let read = 0; read < readsPerRound; read += 1) times.push(await timeOf(run));
  return Math.min(...times);
}

async function timeOf(run: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await run();
  return performance.now() - startedMs;
}

function readOnePage(log: FilledLog, { filter, newestFirst, after }: Query, client: Queryable) {
  const given = filter(log);
  return readPage(client, 'audit', {
    condition: given === null ? null : parseFilter(given, auditFilterFields),
    newestFirst: newestFirst ?? false,
    first: pageRows,
    after: after === undefined ? null : encodeCursor('audit', String(Math.floor(log.entries * after))),
    bounded: true,
  });
}

/** The plans of the statements behind a page, with the rows that each step really gave. */
async function explainPage(what: string, log: FilledLog, query: Query): Promise<string> {
  const statements: { readonly text: string; readonly values: unknown[] }[] = [];
  const page = await readOnePage(log, query, {
    query: ((text: string, values: unknown[]) => {
      statements.push({ text, values: [...values] });
      return log.client.query(text, values);
    }) as Queryable['query'],
  });
  const plans = [`\n${what}: ${page.rows.length} rows in ${statements.length} statements`];
  for (const { text, values } of statements) {
    const explained = await log.client.query<{ 'QUERY PLAN': string }>(
      `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS OFF, SUMMARY OFF) ${text}`,
      values,
    );
    plans.push(...explained.rows.map((row) => `  ${row['QUERY PLAN']}`), '');
  }
  return plans.join('\n');
}
