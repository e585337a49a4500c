import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { roles } from '../../src/db/roles.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

let database: TestDatabase;
let application: SqlSession;
let superuser: SqlSession;

beforeAll(async () => {
  database = await createTestDatabase();
  application = await openSession(database.urls.application);
  superuser = await openSession(database.urls.superuser);
  await application.run(insertSignalsSql());
});

afterAll(async () => {
  await expectLedgerIntact(database.urls.auditor);
  await application[Symbol.asyncDispose]();
  await superuser[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const changes: [string, string][] = [
  ['switching triggers off', 'ALTER TABLE public.signals DISABLE TRIGGER USER'],
  ['switching one trigger off', 'ALTER TABLE public.signals DISABLE TRIGGER prevent_signal_modification_trigger'],
  ['removing a trigger', 'DROP TRIGGER append_signal_trigger ON public.signals'],
  ['renaming a table', 'ALTER TABLE public.signals RENAME TO harmless'],
  ['moving a table', 'ALTER TABLE public.signals SET SCHEMA daybook'],
  ['removing a table', 'DROP TABLE public.audit_entries CASCADE'],
  ['removing a constraint', 'ALTER TABLE public.signals DROP CONSTRAINT signals_body_size'],
  ['hiding rows by a policy', 'CREATE POLICY hide ON public.signals USING (false)'],
  ['a rule', 'CREATE RULE swallow AS ON UPDATE TO public.signals DO INSTEAD NOTHING'],
  ['a child table', 'CREATE TABLE public.more () INHERITS (public.signals)'],
  ['a table of its own', 'CREATE TABLE public.harmless (number integer)'],
  ['replacing a function', `CREATE OR REPLACE FUNCTION daybook.lock_ledger() RETURNS void LANGUAGE sql AS ''`],
  ['a change of rights', 'GRANT UPDATE ON public.signals TO PUBLIC'],
  ['a change of owner', 'ALTER TABLE public.signals OWNER TO CURRENT_USER'],
  ['removing the loop-back server', 'DROP SERVER daybook_attempts CASCADE'],
  ['removing the schema of the guards', 'DROP SCHEMA daybook CASCADE'],
  ['removing the guard itself', 'DROP FUNCTION daybook.refuse_ddl() CASCADE'],
  ['removing all that the owner has', 'DROP OWNED BY daybook_owner CASCADE'],
  ['removing the extension', 'DROP EXTENSION dblink CASCADE'],
];

describe('a change of the schema', () => {
  test.each(changes)('is refused to a superuser: %s', async (_, sql) => {
    const error = await superuser.failure(sql);
    expect({ code: error.code, message: error.message }).toEqual({
      code: 'DB001',
      message: expect.stringContaining('immutable') as unknown,
    });
  });

  test.each(changes)('is refused to the application: %s', async (_, sql) => {
    expect(['42501', 'DB001']).toContain((await application.failure(sql)).code);
  });

  test('is refused in the guise of another setting or name', async () => {
    await superuser.run(`SET application_name = 'daybook migrate'; SET session_replication_role = replica`);
    expect((await superuser.failure('ALTER TABLE public.signals DISABLE TRIGGER USER')).code).toBe('DB001');
    await superuser.run('RESET ALL');
    await superuser.run(`SET ROLE ${roles.migrator}; SET ROLE ${roles.owner}`);
    expect((await superuser.failure('ALTER TABLE public.signals DISABLE TRIGGER USER')).code).toBe('DB001');
    await superuser.run('RESET ROLE');
  });

  test('is left to the migrator', async () => {
    await using migrator = await openSession(database.urls.migrator, `SET ROLE ${roles.owner}`);
    await migrator.run('BEGIN; CREATE TABLE public.later (number integer); DROP TABLE public.later; ROLLBACK');
  });

  test('may be of temporary tables, and REINDEX', async () => {
    await application.run('CREATE TEMP TABLE scratch (number integer PRIMARY KEY); DROP TABLE scratch');
    await superuser.run('REINDEX TABLE public.signals');
  });
});

test('a temporary table of the same name stands in for nothing', async () => {
  await using other = await openSession(database.urls.application, 'CREATE TEMP TABLE signals (chain_index bigint)');
  const before = await other.value('SELECT count(*)::int FROM public.signals');
  await other.run(insertSignalsSql());
  expect(await other.value('SELECT count(*)::int FROM public.signals')).toBe((before as number) + 1);
});
