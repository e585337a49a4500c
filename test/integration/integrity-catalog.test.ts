import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { migrationsList } from '../../migrations/index.js';
import { readPassword } from '../../src/db/admin-connection.js';
import { BreakList } from '../../src/core/log-breaks.js';
import { migrateUp } from '../../src/db/migrate.js';
import { installRefusalLayers } from '../../src/db/refusal-layers.js';
import { provisionRoles } from '../../src/db/roles.js';
import { readCatalogFacts } from '../../src/integrity/catalog-facts.js';
import { compareFacts } from '../../src/integrity/compare-facts.js';
import { withSnapshot } from '../../src/ledger/verify-snapshot.js';
import { asIntruder, findCatalogBreaks, setBaseline, startWithBaseline } from '../support/integrity-baseline.js';
import { insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const log = pino({ level: 'silent' });

const originalLock = `CREATE OR REPLACE FUNCTION daybook.lock_ledger() RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$ SELECT pg_advisory_xact_lock(7219460237150041) $$`;

describe('a change by a superuser is found and named', () => {
  test.each<[string, string, string, string]>([
    [
      'a trigger switched off',
      'ALTER TABLE public.signals DISABLE TRIGGER prevent_signal_modification_trigger',
      'TRIGGER_CHANGED',
      'trigger public.signals.prevent_signal_modification_trigger: enabled was A, is D',
    ],
    [
      'a trigger switched off, used, and switched on again',
      `ALTER TABLE public.signals DISABLE TRIGGER prevent_signal_modification_trigger;
       ALTER TABLE public.signals DISABLE TRIGGER prevent_signal_modification_without_rows_trigger;
       UPDATE public.signals SET entry_price = 1;
       ALTER TABLE public.signals ENABLE ALWAYS TRIGGER prevent_signal_modification_without_rows_trigger;
       ALTER TABLE public.signals ENABLE ALWAYS TRIGGER prevent_signal_modification_trigger`,
      'TRIGGER_CHANGED',
      'trigger public.signals.prevent_signal_modification_trigger: catalogue row rewritten: xmin was',
    ],
    [
      'a trigger renamed',
      'ALTER TRIGGER append_signal_trigger ON public.signals RENAME TO zzz',
      'TRIGGER_CHANGED',
      'trigger public.signals.append_signal_trigger: is gone',
    ],
    [
      'a trigger added',
      `CREATE TRIGGER more BEFORE INSERT ON public.signals FOR EACH ROW EXECUTE FUNCTION daybook.refuse_modification()`,
      'TRIGGER_CHANGED',
      'trigger public.signals.more: was added',
    ],
    [
      'a function replaced',
      `CREATE OR REPLACE FUNCTION daybook.lock_ledger() RETURNS void LANGUAGE sql AS ''`,
      'FUNCTION_CHANGED',
      'function daybook.lock_ledger(): sha256 was',
    ],
    [
      'a function replaced and put back',
      `CREATE OR REPLACE FUNCTION daybook.lock_ledger() RETURNS void LANGUAGE sql AS ''; ${originalLock}`,
      'FUNCTION_CHANGED',
      'function daybook.lock_ledger(): catalogue row rewritten: xmin was',
    ],
    [
      'the owner of a function',
      'ALTER FUNCTION daybook.refuse_modification() OWNER TO CURRENT_USER',
      'FUNCTION_CHANGED',
      'function daybook.refuse_modification(): grants was',
    ],
    [
      'the owner of a table, and back',
      'ALTER TABLE public.audit_entries OWNER TO CURRENT_USER; ALTER TABLE public.audit_entries OWNER TO daybook_owner',
      'TABLE_CHANGED',
      'table public.audit_entries: catalogue row rewritten: xmin was',
    ],
    [
      'a policy that hides rows',
      'CREATE POLICY hide ON public.signals USING (false); ALTER TABLE public.signals ENABLE ROW LEVEL SECURITY',
      'TABLE_CHANGED',
      'policy public.signals.hide: was added',
    ],
    [
      'a rule that swallows statements',
      'CREATE RULE swallow AS ON UPDATE TO public.signals DO INSTEAD NOTHING',
      'TABLE_CHANGED',
      'rule public.signals.swallow: was added',
    ],
    [
      'a view that shows something else',
      `CREATE OR REPLACE VIEW public.signal_audit_log AS
         SELECT NULL::uuid AS id, NULL::bigint AS chain_index, NULL::text AS signal_id, NULL::text AS action,
           NULL::jsonb AS old_data, NULL::jsonb AS new_data, NULL::text AS user_id, NULL::text AS ip_address,
           NULL::timestamptz AS "timestamp", NULL::text AS session_id, NULL::text AS request_id, NULL::text AS outcome,
           NULL::bytea AS verification_hash`,
      'TABLE_CHANGED',
      'rule public.signal_audit_log."_RETURN": definition was',
    ],
    [
      'a child table',
      'CREATE SCHEMA aside; CREATE TABLE aside.more () INHERITS (public.signals)',
      'TABLE_CHANGED',
      'child table aside.more of public.signals: was added',
    ],
    [
      'a constraint removed and added again',
      `ALTER TABLE public.signals DROP CONSTRAINT signals_action_known;
       ALTER TABLE public.signals ADD CONSTRAINT signals_action_known CHECK (action IN ('BUY', 'SELL', 'HOLD'))`,
      'TABLE_CHANGED',
      'constraint public.signals.signals_action_known: catalogue row rewritten: xmin was',
    ],
    [
      'a primary key removed and added again',
      `ALTER TABLE public.incidents DROP CONSTRAINT incidents_pkey;
       ALTER TABLE public.incidents ADD CONSTRAINT incidents_pkey PRIMARY KEY (id)`,
      'TABLE_CHANGED',
      'constraint public.incidents.incidents_pkey: made anew: oid was',
    ],
    [
      'a foreign key removed and added again',
      `ALTER TABLE public.anchors DROP CONSTRAINT anchors_log_date_fkey;
       ALTER TABLE public.anchors ADD CONSTRAINT anchors_log_date_fkey
         FOREIGN KEY (log, date) REFERENCES public.merkle_roots (log, date)`,
      'TABLE_CHANGED',
      'constraint public.anchors.anchors_log_date_fkey: made anew: oid was',
    ],
    [
      'the address at which attempts are recorded',
      `ALTER SERVER daybook_attempts OPTIONS (SET port '1')`,
      'EXTENSION_CHANGED',
      'foreign server daybook_attempts: target was this database, is 127.0.0.1:1/',
    ],
    [
      'how attempts are recorded',
      `ALTER SERVER daybook_attempts OPTIONS (SET connect_timeout '600')`,
      'EXTENSION_CHANGED',
      'foreign server daybook_attempts: options was {connect_timeout=2}, is {connect_timeout=600}',
    ],
    [
      'who records attempts',
      'DROP USER MAPPING FOR daybook_owner SERVER daybook_attempts',
      'EXTENSION_CHANGED',
      'user mapping daybook_owner on daybook_attempts: is gone',
    ],
    [
      'a way to another server',
      `CREATE SERVER elsewhere FOREIGN DATA WRAPPER dblink_fdw OPTIONS (host '192.0.2.1')`,
      'EXTENSION_CHANGED',
      'foreign server elsewhere: was added',
    ],
    [
      'the right to a foreign data wrapper',
      'GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO PUBLIC',
      'EXTENSION_CHANGED',
      'foreign data wrapper dblink_fdw: grants was',
    ],
    [
      'an extension',
      'CREATE SCHEMA aside; CREATE EXTENSION citext SCHEMA aside',
      'EXTENSION_CHANGED',
      'extension citext: was added',
    ],
    [
      'a unique index removed',
      'DROP INDEX public.signals_supersedes_key',
      'TABLE_CHANGED',
      'unique index public.signals_supersedes_key: is gone',
    ],
    [
      'a default',
      `ALTER TABLE public.incidents ALTER COLUMN status SET DEFAULT 'CLOSED'`,
      'TABLE_CHANGED',
      `column public.incidents.status: default was 'OPEN'::text, is 'CLOSED'::text`,
    ],
    [
      'a grant',
      'GRANT UPDATE ON public.integrity_baselines TO PUBLIC',
      'TABLE_CHANGED',
      'table public.integrity_baselines: grants was',
    ],
    [
      'a sequence started anew',
      'ALTER SEQUENCE public.modification_attempt_number RESTART',
      'TABLE_CHANGED',
      'table public.modification_attempt_number: catalogue row rewritten: xmin was',
    ],
    [
      'an event trigger switched off and on',
      'ALTER EVENT TRIGGER daybook_refuse_ddl DISABLE; ALTER EVENT TRIGGER daybook_refuse_ddl ENABLE ALWAYS',
      'EVENT_TRIGGER_CHANGED',
      'event trigger daybook_refuse_ddl: catalogue row rewritten: xmin was',
    ],
    [
      'an event trigger removed and made again',
      `DROP EVENT TRIGGER daybook_refuse_drop;
       CREATE EVENT TRIGGER daybook_refuse_drop ON sql_drop EXECUTE FUNCTION daybook.refuse_ddl();
       ALTER EVENT TRIGGER daybook_refuse_drop ENABLE ALWAYS`,
      'EVENT_TRIGGER_CHANGED',
      'event trigger daybook_refuse_drop: catalogue row rewritten: xmin was',
    ],
    [
      'a table rewritten',
      'VACUUM FULL public.signals',
      'TABLE_CHANGED',
      'table public.signals: catalogue row rewritten: xmin was',
    ],
    [
      'a setting of the database',
      `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database()); END $$`,
      'ROLE_CHANGED',
      'settings of every role in this database: was added',
    ],
  ])('%s', async (_, tampering, code, message) => {
    await using database = await createTestDatabase();
    await setBaseline(database);
    await using superuser = await openSession(database.urls.superuser, asIntruder);
    // A statement of its own each: together they would be one transaction.
    for (const statement of tampering.startsWith('DO') ? [tampering] : splitStatements(tampering)) {
      await superuser.run(statement);
    }
    expect(await findCatalogBreaks(database)).toContainEqual({
      code,
      index: null,
      message: expect.stringContaining(message) as unknown,
    });
  });

  test('a role made a superuser, or a member of another', async () => {
    await using database = await createTestDatabase();
    // Roles belong to the whole server: what is rolled back does not reach the other tests.
    await using superuser = await openSession(database.urls.superuser, 'BEGIN; SET LOCAL search_path = pg_catalog');
    const before = await readCatalogFacts(superuser.client);
    await superuser.run('ALTER ROLE daybook_attempt_writer SUPERUSER; GRANT daybook_owner TO daybook_application_a');
    const breaks = new BreakList();
    compareFacts(before.facts, (await readCatalogFacts(superuser.client)).facts, breaks);
    expect(breaks.first).toEqual([
      { code: 'ROLE_CHANGED', index: null, message: 'role daybook_attempt_writer: superuser was false, is true' },
      {
        code: 'ROLE_CHANGED',
        index: null,
        message: expect.stringMatching(/^membership daybook_application_a in daybook_owner, .*was added$/) as unknown,
      },
    ]);
    await superuser.run('ROLLBACK');
  });
});

/** By semicolons outside of `$$`. */
function splitStatements(sql: string): string[] {
  return sql
    .split(/(\$\$.*?\$\$)/s)
    .map((part, place) => (place % 2 === 1 ? part.replaceAll(';', '\u0001') : part))
    .join('')
    .split(';')
    .map((statement) => statement.replaceAll('\u0001', ';'));
}

describe('what normal operation does gives no break', () => {
  let database: TestDatabase;
  let superuser: SqlSession;

  beforeAll(async () => {
    database = await createTestDatabase();
    superuser = await openSession(database.urls.superuser);
    await setBaseline(database);
  });

  afterAll(async () => {
    expect(await findCatalogBreaks(database)).toEqual([]);
    await superuser[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  test('at first', async () => {
    expect(await findCatalogBreaks(database)).toEqual([]);
  });

  test.each([
    ['recording signals', insertSignalsSql(20)],
    ['VACUUM', 'VACUUM'],
    ['VACUUM FREEZE of everything, the catalogue included', 'VACUUM FREEZE'],
    ['VACUUM FULL of the catalogue', 'VACUUM FULL pg_trigger, pg_proc, pg_class, pg_event_trigger, pg_attribute'],
    ['ANALYZE', 'ANALYZE'],
    ['REINDEX of a table', 'REINDEX TABLE public.signals'],
    ['REINDEX of the schema', 'REINDEX SCHEMA public'],
    ['REINDEX CONCURRENTLY of a table that others refer to', 'REINDEX TABLE CONCURRENTLY public.checkpoints'],
    ['REINDEX CONCURRENTLY of the schema', 'REINDEX SCHEMA CONCURRENTLY public'],
    ['temporary tables', 'CREATE TEMP TABLE scratch (number integer); DROP TABLE scratch'],
  ])('%s', async (_, sql) => {
    await superuser.run(sql);
    expect(await findCatalogBreaks(database)).toEqual([]);
  });

  test('another database made and dropped', async () => {
    const other = await createTestDatabase();
    expect(await findCatalogBreaks(database)).toEqual([]);
    await other[Symbol.asyncDispose]();
    expect(await findCatalogBreaks(database)).toEqual([]);
  });

  test('a start of the service: roles, migrations and refusal layers looked at again', async () => {
    const { urls } = database;
    for (let start = 0; start < 2; start += 1) {
      await provisionRoles(urls.superuser, readPassword(urls.superuser)!, log);
      expect(await migrateUp({ url: urls.migrator, migrations: migrationsList, log })).toEqual([]);
      await installRefusalLayers(urls);
      expect(await startWithBaseline(database)).toBeNull();
      expect(await findCatalogBreaks(database)).toEqual([]);
    }
    expect(await superuser.value('SELECT count(*)::int FROM public.integrity_baselines')).toBe(1);
  });

  test('read by the superuser, the facts are those that the auditor reads', async () => {
    const [one, other] = await Promise.all(
      [urlOf('auditor'), urlOf('superuser')].map((url) => withSnapshot({ url }, readCatalogFacts)),
    );
    expect(one?.text).toBe(other?.text);
  });

  const urlOf = (role: 'auditor' | 'superuser') => database.urls[role];
});
