import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { roles } from '../../src/db/roles.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { expectRefusedOnce, reconcile } from '../support/refused-attempts.js';
import { drawSecrets } from '../support/sample-secrets.js';
import { insertEntriesSql, insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

let database: TestDatabase;
let service: SqlSession;
const sessions: Record<string, SqlSession> = {};

beforeAll(async () => {
  database = await createTestDatabase();
  const { application, migrator, superuser } = database.urls;
  service = await openSession(application);
  sessions.application = await openSession(application);
  sessions.owner = await openSession(migrator, `SET ROLE ${roles.owner}`);
  sessions.superuser = await openSession(superuser);
  await service.run(`INSERT INTO public.signals (signal_id, symbol, action, entry_price, confidence, rationale, producer)
    VALUES ('kept', 'BTC-USD', 'BUY', 100, 0.5, 'A signal that many attempts are aimed at', 'desk')`);
  await service.run(insertEntriesSql(2));
});

afterAll(async () => {
  expect(await reconcile(service)).toEqual([]);
  expect(await service.run(`SELECT signal_id, entry_price::text FROM public.signals`)).toEqual([
    { signal_id: 'kept', entry_price: '100' },
  ]);
  await expectLedgerIntact(database.urls.auditor);
  for (const session of [service, ...Object.values(sessions)]) await session[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const who = { application: roles.application, owner: roles.migrator, superuser: 'postgres' } as const;
type Who = keyof typeof who;

/** What takes a check digit, another encoding or a look at randomness to be told: PostgreSQL does not try. */
const hardToFindInSql: ReadonlySet<string> = new Set([
  'a card number',
  'an AWS secret key',
  'basic credentials',
  'a percent-encoded token',
  'an escaped name in JSON',
  'a signed URL',
]);

const attempts: [string, string, string, string][] = [
  ['an UPDATE', `UPDATE public.signals SET entry_price = 1`, 'UPDATE', 'signals'],
  ['an UPDATE that changes nothing', `UPDATE public.signals SET entry_price = entry_price`, 'UPDATE', 'signals'],
  ['an UPDATE without a row', `UPDATE public.signals SET entry_price = 1 WHERE false`, 'UPDATE', 'signals'],
  ['a DELETE', `DELETE FROM public.audit_entries WHERE chain_index = 1`, 'DELETE', 'audit_entries'],
  ['a DELETE without a row', `DELETE FROM public.signals WHERE signal_id = 'never recorded'`, 'DELETE', 'signals'],
  ['a TRUNCATE', `TRUNCATE public.signals`, 'TRUNCATE', 'signals'],
  ['a TRUNCATE of both logs', `TRUNCATE public.signals, public.audit_entries`, 'TRUNCATE', 'signals'],
  [
    'an UPDATE in a CTE',
    `WITH changed AS (UPDATE public.signals SET entry_price = 1 RETURNING 1) SELECT * FROM changed`,
    'UPDATE',
    'signals',
  ],
  [
    'a DELETE in a CTE that is never read',
    `WITH gone AS (DELETE FROM public.signals RETURNING 1) SELECT 1`,
    'DELETE',
    'signals',
  ],
  [
    'ON CONFLICT DO UPDATE that meets a row',
    `INSERT INTO public.signals (signal_id, symbol, action, entry_price, confidence, rationale)
     VALUES ('kept', 'BTC-USD', 'SELL', 1, 1, 'An upsert is an update in disguise')
     ON CONFLICT (signal_id) DO UPDATE SET entry_price = 1`,
    'UPDATE',
    'signals',
  ],
  [
    'ON CONFLICT DO UPDATE that meets none',
    `INSERT INTO public.signals (signal_id, symbol, action, entry_price, confidence, rationale)
     VALUES ('new', 'BTC-USD', 'SELL', 1, 1, 'An upsert is an update in disguise')
     ON CONFLICT (signal_id) DO UPDATE SET entry_price = 1`,
    'UPDATE',
    'signals',
  ],
  [
    'a MERGE that updates',
    `MERGE INTO public.signals AS target USING (VALUES ('kept')) AS source (id) ON target.signal_id = source.id
     WHEN MATCHED THEN UPDATE SET entry_price = 1`,
    'UPDATE',
    'signals',
  ],
  [
    'a MERGE that deletes nothing',
    `MERGE INTO public.signals AS target USING (VALUES ('other')) AS source (id) ON target.signal_id = source.id
     WHEN MATCHED THEN DELETE`,
    'DELETE',
    'signals',
  ],
  ['an UPDATE through the view', `UPDATE public.signal_audit_log SET signal_id = 'other'`, 'UPDATE', 'audit_entries'],
  ['a DELETE through the view', `DELETE FROM public.signal_audit_log`, 'DELETE', 'audit_entries'],
  [
    'an UPDATE after an append in the same transaction',
    `BEGIN; ${insertSignalsSql()}; UPDATE public.signals SET entry_price = 1`,
    'UPDATE',
    'signals',
  ],
  [
    'an UPDATE of a row appended in the same transaction, under a savepoint',
    `BEGIN; SAVEPOINT one; ${insertEntriesSql(1, 'gone')};
     UPDATE public.audit_entries SET outcome = 'GONE' WHERE details ->> 'note' = 'gone'`,
    'UPDATE',
    'audit_entries',
  ],
];

describe.each(Object.keys(who) as Who[])('as %s', (role) => {
  test.each(attempts)('%s is refused and leaves one entry', async (_, sql, operation, table) => {
    const entry = await expectRefusedOnce(sessions[role] as SqlSession, service, sql);
    expect(entry).toMatchObject({ actor: who[role], resource: table, details: { operation, recorded: true } });
    expect(entry.action).toBe(operation === 'TRUNCATE' ? 'DELETE' : operation);
  });

  test('an UPDATE whose error a DO block swallows changes nothing and leaves one entry', async () => {
    await sessions[role]?.run(`DO $$ BEGIN UPDATE public.signals SET entry_price = 1;
      EXCEPTION WHEN OTHERS THEN NULL; END $$`);
    expect(await reconcile(service)).toMatchObject([{ actor: who[role], details: { operation: 'UPDATE' } }]);
  });
});

test.each([
  ['UPDATE', `UPDATE public.signals SET entry_price = 1`],
  ['TRUNCATE', `TRUNCATE public.audit_entries`],
])('a superuser whose session skips ordinary triggers is refused too: %s', async (operation, sql) => {
  const entry = await expectRefusedOnce(
    sessions.superuser as SqlSession,
    service,
    `BEGIN; SET LOCAL session_replication_role = replica; ${sql}`,
  );
  expect(entry).toMatchObject({ actor: who.superuser, details: { operation } });
});

test('the entry holds the old and the new row, the statement, and no secret', async () => {
  const entry = await expectRefusedOnce(
    sessions.application as SqlSession,
    service,
    `UPDATE public.signals SET entry_price = 0.01, strategy = 'x' /* password = 'hunter2' */ WHERE signal_id = 'kept'`,
  );
  expect(entry.signalId).toBe('kept');
  expect(entry.oldData).toMatchObject({ signal_id: 'kept', entry_price: '100', strategy: null });
  expect(entry.newData).toMatchObject({ signal_id: 'kept', entry_price: '0.01', strategy: 'x' });
  expect(entry.details.statement).toContain('UPDATE public.signals');
  expect(entry.details.statement).not.toContain('hunter2');
});

test('what an update would have stored is recorded without secrets, and what was stored as it is', async () => {
  const { oldData, newData } = await expectRefusedOnce(
    sessions.owner as SqlSession,
    service,
    `UPDATE public.signals SET strategy = 'password=hunter2', rationale = 'see https://kim:hunter2@example.org/ for it'`,
  );
  expect(oldData).toMatchObject({ rationale: 'A signal that many attempts are aimed at' });
  expect(newData).toMatchObject({
    strategy: 'password=[redacted]',
    rationale: 'see https://[redacted]@example.org/ for it',
    symbol: 'BTC-USD',
  });
});

test('keys and tokens of known form, and what follows telling words, leave no statement with its secret', async () => {
  const redacted = (statement: string) =>
    (sessions.superuser as SqlSession).value('SELECT daybook.redact_statement($1)', [statement]);
  const found = drawSecrets().filter(({ shape }) => !hardToFindInSql.has(shape));
  expect(found.length).toBeGreaterThan(20);
  for (const { shape, text, plain } of found) {
    const statement = `UPDATE public.signals SET rationale = '${text.replaceAll("'", "''")}' WHERE true`;
    expect({ shape, leaked: String(await redacted(statement)).includes(plain) }).toEqual({ shape, leaked: false });
  }
  const harmless = `UPDATE public.signals SET entry_price = 1.5, note = 'a pin bar' WHERE signal_id = 'kept'`;
  expect(await redacted(harmless)).toBe(harmless);
});

test('statements made against the search for secrets are searched in time', async () => {
  const pieces = [
    'password',
    'password ',
    'password=',
    "password '",
    "''",
    '://',
    '://a:',
    'eyJ',
    'bearer ',
    '-----BEGIN PRIVATE KEY',
  ];
  for (const piece of pieces) {
    const statement = piece.repeat(Math.ceil(20_000 / piece.length));
    const startedMs = performance.now();
    await (sessions.superuser as SqlSession).value('SELECT daybook.redact_statement($1)', [statement]);
    expect({ piece, slow: performance.now() - startedMs > 3_000 }).toEqual({ piece, slow: false });
  }
});

test('a session that reads backslashes in another way gives away no secret either', async () => {
  await using session = await openSession(database.urls.application, 'SET standard_conforming_strings = off');
  const entry = await expectRefusedOnce(
    session,
    service,
    `UPDATE public.signals SET entry_price = 0.01 /* password = hunter2 */`,
  );
  expect(entry.details.statement).toContain('UPDATE public.signals');
  expect(entry.details.statement).not.toContain('hunter2');
});

test.each([
  ['a number of 70,000 digits', `entry_price = '1e69999'`],
  [
    'texts that JSON writes six times as long',
    `session_id = repeat(E'\\x01', 4000), request_id = repeat(E'\\x02', 4000),
     strategy = repeat(E'\\x03', 4000), ip_address = repeat(E'\\x04', 4000)`,
  ],
  ['a text of a megabyte', `rationale = repeat('é', 500000)`],
])('a new row with %s cannot keep its attempt out of the log', async (_, change) => {
  const entry = await expectRefusedOnce(
    sessions.application as SqlSession,
    service,
    `UPDATE public.signals SET ${change}`,
  );
  expect(entry.oldData).toMatchObject({ signal_id: 'kept' });
  expect(entry.newData).not.toBeNull();
});

test('a new row that jsonb cannot hold cannot keep its attempt out of the log', async () => {
  const entry = await expectRefusedOnce(
    sessions.application as SqlSession,
    service,
    `UPDATE public.audit_entries SET details = '{"a":"\\u0000"}' WHERE chain_index = 1`,
  );
  expect(entry).toMatchObject({ details: { operation: 'UPDATE', recorded: true }, newData: null });
  expect(entry.oldData).toMatchObject({ event: 'OrderAccepted' });
});

test('a statement of a megabyte of control characters cannot keep its attempt out of the log', async () => {
  const entry = await expectRefusedOnce(
    sessions.application as SqlSession,
    service,
    `UPDATE public.signals SET entry_price = 1 /* ${'\u0001'.repeat(1_000_000)} */`,
  );
  expect(entry.details).toMatchObject({ operation: 'UPDATE', recorded: true });
});

describe('the record of attempts', () => {
  test.each([
    [
      'written',
      `INSERT INTO public.modification_attempts (attempt_number, operation, table_name, session_user_name,
       current_user_name) VALUES (9999, 'UPDATE', 'signals', 'someone', 'else')`,
    ],
    ['changed', `UPDATE public.modification_attempts SET statement = ''`],
    ['removed', `DELETE FROM public.modification_attempts`],
    ['emptied', `TRUNCATE public.modification_attempts`],
    ['numbered', `SELECT nextval('public.modification_attempt_number')`],
    ['entered', `SELECT daybook.append_refused_modification(1, NULL)`],
    ['reached through dblink', `SELECT daybook.dblink_exec('daybook_attempts', 'SELECT 1')`],
    ['connected to', `SELECT daybook.dblink_connect('own', 'daybook_attempts')`],
    ['redirected', `UPDATE public.modification_watch SET reconciled_number = 1000000`],
  ])('cannot be %s by the application', async (_, sql) => {
    expect((await sessions.application?.failure(sql))?.code).toBe('42501');
  });

  test.each([
    ['changed', `UPDATE public.modification_attempts SET statement = ''`],
    ['marked as entered twice', `UPDATE public.modification_attempts SET audit_index = 1`],
    ['removed', `DELETE FROM public.modification_attempts`],
    ['emptied', `TRUNCATE public.modification_attempts`],
  ])('cannot be %s by the owner or a superuser', async (_, sql) => {
    for (const session of [sessions.owner, sessions.superuser]) {
      expect((await session?.failure(sql))?.code).toBe('DB001');
    }
  });
});

test('what savepoints left on record cannot be changed either', async () => {
  await expectRefusedOnce(sessions.superuser as SqlSession, service, `DELETE FROM public.ledger_subxacts`);
});
