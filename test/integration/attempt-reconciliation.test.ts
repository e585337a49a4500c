import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { ageGap, reconcile } from '../support/refused-attempts.js';
import { insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { waitUntil } from '../support/wait-until.js';

let database: TestDatabase;
let service: SqlSession;
let application: SqlSession;
let superuser: SqlSession;

beforeEach(async () => {
  database = await createTestDatabase();
  service = await openSession(database.urls.application);
  application = await openSession(database.urls.application);
  superuser = await openSession(database.urls.superuser);
  await application.run(insertSignalsSql());
});

afterEach(async () => {
  await expectLedgerIntact(database.urls.auditor);
  for (const session of [service, application, superuser]) await session[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const update = `UPDATE public.signals SET entry_price = 1`;
const unknown = { actor: 'unknown', resource: 'unknown', details: { operation: 'unknown', recorded: false } };

/** Draws numbers as attempts do whose record never arrives. */
async function drawNumbers(count: number): Promise<void> {
  await superuser.run(`SELECT nextval('public.modification_attempt_number') FROM generate_series(1, $1::int)`, [count]);
}

/** Records an attempt, as the loop-back connection does. */
async function record(number: number): Promise<void> {
  await superuser.run(
    `INSERT INTO public.modification_attempts (attempt_number, operation, table_name, session_user_name, current_user_name)
     VALUES ($1, 'UPDATE', 'signals', 'daybook_application_a', 'none')`,
    [number],
  );
}

async function isReconciled(): Promise<unknown> {
  return superuser.value(
    `SELECT reconciled_number = last_value FROM public.modification_watch, public.modification_attempt_number`,
  );
}

describe('a number without a record', () => {
  test('becomes an entry with unknown details after ten seconds, once', async () => {
    await drawNumbers(2);
    expect(await reconcile(service)).toEqual([]);
    await ageGap(superuser, 9);
    expect(await reconcile(service)).toEqual([]);
    await ageGap(superuser, 2);
    expect(await reconcile(service)).toMatchObject([unknown, unknown]);
    expect(await reconcile(service)).toEqual([]);
    expect(await isReconciled()).toBe(true);
  });

  test('that was drawn later waits ten seconds of its own', async () => {
    await drawNumbers(1);
    await reconcile(service);
    await ageGap(superuser, 11);
    await drawNumbers(1);
    expect(await reconcile(service)).toMatchObject([unknown]);
    expect(await reconcile(service)).toEqual([]);
    await record(2);
    expect(await reconcile(service)).toMatchObject([{ details: { recorded: true } }]);
    expect(await isReconciled()).toBe(true);
  });

  test('whose record arrives in time is entered from it, however long others have been under way', async () => {
    await drawNumbers(1);
    await reconcile(service);
    await ageGap(superuser, 9);
    await record(1);
    await drawNumbers(1);
    expect(await reconcile(service)).toHaveLength(1);
    await ageGap(superuser, 9);
    expect(await reconcile(service)).toEqual([]);
    await record(2);
    expect(await reconcile(service)).toMatchObject([{ details: { recorded: true } }]);
  });

  test('is what an attempt leaves while the record cannot be connected', async () => {
    await superuser.run(`ALTER DATABASE ${database.name} CONNECTION LIMIT 1`);
    expect((await application.failure(update)).code).toBe('DB001');
    await superuser.run(`ALTER DATABASE ${database.name} CONNECTION LIMIT -1`);
    await reconcile(service);
    await ageGap(superuser, 11);
    expect(await reconcile(service)).toMatchObject([unknown]);
  });

  test('is what an attempt leaves whose caller sets a statement_timeout too short for the record', async () => {
    await superuser.run('BEGIN; LOCK TABLE public.modification_attempts');
    await application.run(`SET statement_timeout = 100`);
    expect((await application.failure(update)).code).toBe('57014');
    await application.run(`SET statement_timeout = 0`);
    await waitUntil('the connection of the record gives up', () =>
      service.value(`SELECT count(*) = 0 FROM pg_stat_activity
        WHERE usename = 'daybook_attempt_writer' AND datname = current_database()`),
    );
    await superuser.run('ROLLBACK');
    expect(await application.value(`SELECT count(*)::int FROM public.signals WHERE entry_price = 1`)).toBe(0);
    await reconcile(service);
    await ageGap(superuser, 11);
    expect(await reconcile(service)).toMatchObject([unknown]);
  });
});

describe('after a restart of the server', () => {
  const restarted = () =>
    superuser.run(`UPDATE public.modification_watch SET came_up_at = came_up_at - interval '1 day'`);
  const explained = () =>
    superuser.run(`SELECT details ->> 'first' AS first, details ->> 'last' AS last FROM public.audit_entries
      WHERE event = 'ModificationNumbersSkipped'`);

  test('numbers that a crash skipped are explained as such', async () => {
    await superuser.run(`SELECT setval('public.modification_attempt_number', 33)`);
    await restarted();
    expect(await reconcile(service)).toEqual([]);
    expect(await explained()).toEqual([{ first: '1', last: '33' }]);
    expect(await isReconciled()).toBe(true);
    expect(await reconcile(service)).toEqual([]);
  });

  test('numbers seen before it stay attempts, those skipped by it are explained', async () => {
    await drawNumbers(2);
    await reconcile(service);
    await superuser.run(`SELECT setval('public.modification_attempt_number', 34)`);
    await restarted();
    expect(await reconcile(service)).toMatchObject([unknown, unknown]);
    expect(await reconcile(service)).toEqual([]);
    expect(await explained()).toEqual([{ first: '3', last: '34' }]);
    expect(await isReconciled()).toBe(true);
  });

  test('a record made before it is entered', async () => {
    expect((await application.failure(update)).code).toBe('DB001');
    await restarted();
    expect(await reconcile(service)).toMatchObject([{ details: { recorded: true } }]);
    expect(await explained()).toEqual([]);
    expect(await isReconciled()).toBe(true);
  });
});

describe('reconciliation', () => {
  test('enters every record, however many wait', async () => {
    await superuser.run(`INSERT INTO public.modification_attempts
        (attempt_number, operation, table_name, session_user_name, current_user_name)
      SELECT number, 'DELETE', 'signals', 'daybook_application_a', 'none' FROM generate_series(1, 1500) AS number;
      SELECT setval('public.modification_attempt_number', 1500)`);
    const entered = [await reconcile(service), await reconcile(service), await reconcile(service)];
    expect(entered.map((entries) => entries.length)).toEqual([1000, 500, 0]);
  });

  test('from many nodes at once enters each attempt once', async () => {
    await superuser.run(`INSERT INTO public.modification_attempts
        (attempt_number, operation, table_name, session_user_name, current_user_name)
      SELECT number, 'DELETE', 'signals', 'daybook_application_a', 'none' FROM generate_series(1, 50) AS number;
      SELECT setval('public.modification_attempt_number', 50)`);
    const nodes = await Promise.all(Array.from({ length: 6 }, () => openSession(database.urls.application)));
    await Promise.all(nodes.map((node) => node.run(`SELECT daybook.reconcile_attempts()`)));
    await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()));
    expect(
      await service.run(`SELECT count(*)::int AS entries, count(DISTINCT details ->> 'attempt')::int AS attempts
        FROM public.audit_entries WHERE event = 'ModificationRefused'`),
    ).toEqual([{ entries: 50, attempts: 50 }]);
  });

  test('leaves the setting by which the service says its details are canonical as it was', async () => {
    expect((await application.failure(update)).code).toBe('DB001');
    await service.run(`BEGIN; SET LOCAL daybook.canonical = 'on'; SELECT daybook.reconcile_attempts()`);
    expect(await service.value(`SELECT current_setting('daybook.canonical')`)).toBe('on');
    await service.run('COMMIT');
  });
});
