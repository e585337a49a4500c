import pg from 'pg';
import { ledgerConnection } from '../src/db/pool.js';
import { withConnection } from '../src/db/admin-connection.js';
import { parseFilter } from '../src/ledger/filter.js';
import { auditFilterFields, readPage } from '../src/ledger/read-entries.js';
import { startBenchDatabase } from './bench-database.js';
import type { Bench, BenchContext } from './comparison.js';
import { compare, measureInTurns } from './measure-pairs.js';
import { storeAuditLog } from './store-audit-log.js';

const entriesOfSmall = 100_000;
const pageRows = 50;
const rounds = 15;
const warmUpRounds = 3;
const target = { atMost: 2 };

/** A filled log, and what filters need to know of it. */
interface FilledLog extends AsyncDisposable {
  readonly client: pg.Client;
  readonly entries: number;
  /** When the entry in the middle was recorded, and the last one. */
  readonly middle: string;
  readonly last: string;
}

interface Query {
  readonly filter: (log: FilledLog) => object | null;
  readonly newestFirst?: true;
}

const always = (filter: object): Query => ({ filter: () => filter });
const newest = (query: Query): Query => ({ ...query, newestFirst: true });

/** Each condition with a value that many entries have and one that only the last hundred have, and combinations of both. */
const queries: Readonly<Record<string, Query>> = {
  'no filter': { filter: () => null },
  'no filter, newest first': { filter: () => null, newestFirst: true },
  'actor, one in twenty': always({ actor: { eq: 'desk-7' } }),
  'actor, late': always({ actor: { eq: 'night-shift' } }),
  'two actors, one late': always({ actor: { in: ['desk-7', 'night-shift'] } }),
  'role, frequent': always({ role: { eq: 'PRODUCER' } }),
  'role, late': always({ role: { eq: 'ADMIN' } }),
  'category, late': always({ category: { eq: 'SECRET' } }),
  'event, late': always({ event: { eq: 'SecretRotated' } }),
  'action, frequent': always({ action: { eq: 'CREATE' } }),
  'action, late': always({ action: { eq: 'EXECUTE' } }),
  'resource prefix, frequent': always({ resource: { startsWith: 'orders/' } }),
  'resource prefix, late': always({ resource: { startsWith: 'vault/' } }),
  'outcome, frequent': always({ outcome: { eq: 'RATE_LIMITED' } }),
  'outcome, late': always({ outcome: { eq: 'KEY_REVOKED' } }),
  'outcome but one': always({ outcome: { ne: 'OK' } }),
  'address, frequent': always({ ipAddress: { eq: '10.0.1.1' } }),
  'address, late': always({ ipAddress: { eq: '192.0.2.1' } }),
  'request, newest first': newest(always({ requestId: { eq: 'request-700' } })),
  'session, newest first': newest(always({ sessionId: { eq: 'session-7' } })),
  'recorded after the middle': { filter: ({ middle }) => ({ recordedAt: { gte: middle } }) },
  'recorded before the middle, newest first': {
    filter: ({ middle }) => ({ recordedAt: { lt: middle } }),
    newestFirst: true,
  },
  'happened at the end': { filter: ({ last }) => ({ occurredAt: { gte: last } }) },
  'index range': { filter: ({ entries }) => ({ chainIndex: { gte: String(entries - 500) } }) },
  'text, in every entry': always({ text: { contains: 'Usual' } }),
  'text, late': always({ text: { contains: 'quarterly' } }),
  'text, late, newest first': newest(always({ text: { contains: 'quarterly' } })),
  'actor and outcome that never meet': always({ actor: { eq: 'desk-7' }, outcome: { eq: 'KEY_REVOKED' } }),
  'actor and text that never meet': always({ actor: { eq: 'desk-7' }, text: { contains: 'quarterly' } }),
  'either of two': always({ or: [{ actor: { eq: 'night-shift' } }, { outcome: { eq: 'KEY_REVOKED' } }] }),
};

/** First pages of the audit log by every filter: their time in a long log against that in a short one. */
export const auditQueries: Bench = async (context) => {
  await using small = await fillLog(context, entriesOfSmall);
  await using large = await fillLog(context, context.entriesOfLarge);
  const lines = [];
  for (const [place, [what, query]] of Object.entries(queries).entries()) {
    const samples = await measureInTurns({
      signal: context.signal,
      progress: () => context.progress(place / Object.keys(queries).length, what),
      doing: what,
      rounds,
      warmUpRounds,
      measure: { large: () => timeOfPage(large, query), small: () => timeOfPage(small, query) },
    });
    lines.push({
      ...compare(samples, 'large', 'small', {
        bench: 'audit-queries',
        what: `${what}: first page of ${pageRows}, ${large.entries} entries`,
        baselineIs: `${small.entries} entries`,
        unit: 'ms',
        target,
      }),
      details: await explainPage(what, large, query),
    });
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
  const client = new pg.Client(ledgerConnection(database.urls.application, 'daybook bench'));
  await client.connect();
  stack.defer(() => client.end());
  const found = await client.query<{ recorded_at: string }>(
    'SELECT recorded_at FROM public.audit_entries WHERE chain_index IN ($1, $2) ORDER BY chain_index',
    [entries / 2, entries - 1],
  );
  const [middle, last] = found.rows.map((row) => row.recorded_at);
  if (middle === undefined || last === undefined) throw new Error(`the log has fewer than ${entries} entries`);
  const owned = stack.move();
  return { client, entries, middle, last, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function timeOfPage(log: FilledLog, query: Query): Promise<number> {
  const startedMs = performance.now();
  await readFirstPage(log, query, log.client);
  return performance.now() - startedMs;
}

function readFirstPage(log: FilledLog, { filter, newestFirst }: Query, client: Pick<pg.Client, 'query'>) {
  const given = filter(log);
  return readPage(client as pg.Pool, 'audit', {
    condition: given === null ? null : parseFilter(given, auditFilterFields),
    newestFirst: newestFirst ?? false,
    first: pageRows,
    bounded: true,
  });
}

/** The plans of the statements behind a page, with the rows that each step really gave. */
async function explainPage(what: string, log: FilledLog, query: Query): Promise<string> {
  const statements: { readonly text: string; readonly values: unknown[] }[] = [];
  const page = await readFirstPage(log, query, {
    query: ((text: string, values: unknown[]) => {
      statements.push({ text, values: [...values] });
      return log.client.query(text, values);
    }) as pg.Client['query'],
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
