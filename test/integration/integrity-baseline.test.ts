import { describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { migrationsList } from '../../migrations/index.js';
import { encodeCanonicalJson } from '../../src/core/canonical-json.js';
import { readPassword } from '../../src/db/admin-connection.js';
import { migrateUp } from '../../src/db/migrate.js';
import { installRefusalLayers } from '../../src/db/refusal-layers.js';
import { provisionRoles } from '../../src/db/roles.js';
import { readCatalogFacts } from '../../src/integrity/catalog-facts.js';
import { compareBeforeMigrating } from '../../src/integrity/compare-before-migrating.js';
import { withSnapshot } from '../../src/ledger/verify-snapshot.js';
import { createDataFolder } from '../support/data-folder.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { asIntruder, findCatalogBreaks, setBaseline, startWithBaseline } from '../support/integrity-baseline.js';
import { runScript } from '../support/run-script.js';
import { openSession } from '../support/sql-session.js';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { startTestService } from '../support/test-service.js';

const log = pino({ level: 'silent' });
const names = migrationsList.map(({ name }) => name);

describe('a baseline', () => {
  test('is missing until one is taken', async () => {
    await using database = await createTestDatabase();
    expect(await findCatalogBreaks(database)).toMatchObject([{ code: 'BASELINE_MISSING' }]);
  });

  test('is taken by the first start, with its entry, and by no other', async () => {
    await using database = await createTestDatabase();
    await using auditor = await openSession(database.urls.auditor);
    expect(await startWithBaseline(database)).toBe('first start');
    expect(await startWithBaseline(database)).toBeNull();
    const rows = await auditor.run(
      `SELECT event, action, category, actor, details ->> 'reason' AS reason,
         details ->> 'factsHash' = (SELECT encode(facts_hash, 'hex') FROM public.integrity_baselines) AS named
       FROM public.audit_entries WHERE event LIKE 'Integrity%'`,
    );
    expect(rows).toEqual([
      {
        event: 'IntegrityBaselineSet',
        action: 'CREATE',
        category: 'INTEGRITY',
        actor: 'daybook',
        reason: 'first start',
        named: true,
      },
    ]);
    await expectLedgerIntact(database.urls.auditor);
  });

  test('is not taken by a start that finds tampering', async () => {
    await using database = await createTestDatabase();
    await startWithBaseline(database);
    await using superuser = await openSession(database.urls.superuser, asIntruder);
    await superuser.run(`ALTER TABLE public.signals DISABLE TRIGGER append_signal_trigger;
      INSERT INTO public.daybook_migrations (name) VALUES ('9999-forged'), ('0001-ledger')`);
    expect(await startWithBaseline(database)).toBeNull();
    expect(await superuser.value('SELECT count(*)::int FROM public.integrity_baselines')).toBe(1);
    expect(await findCatalogBreaks(database)).toMatchObject([{ code: 'TRIGGER_CHANGED' }]);
  });

  test('is taken anew, naming the changes, when migrations were executed', async () => {
    await using database = await createTestDatabase();
    await startWithBaseline(database);
    await using owner = await openSession(database.urls.migrator, 'SET ROLE daybook_owner');
    await owner.run('CREATE TABLE public.later (number integer)');
    expect(await startWithBaseline(database, ['0099-later'])).toBe('migration 0099-later executed');
    expect(await findCatalogBreaks(database)).toEqual([]);
    const details = await owner.value(
      `SELECT details FROM public.audit_entries WHERE event = 'IntegrityBaselineSet' ORDER BY chain_index DESC LIMIT 1`,
    );
    expect(details).toMatchObject({
      reason: 'migration 0099-later executed',
      changesInAll: '2',
      changes: [
        { code: 'TABLE_CHANGED', message: 'table public.later: was added' },
        { code: 'TABLE_CHANGED', message: 'column public.later.number: was added' },
      ],
    });
  });

  test('is taken by the next start where the one that migrated ended too early', async () => {
    await using database = await createTestDatabase();
    await using superuser = await openSession(database.urls.superuser);
    const name = migrationsList.at(-1)!.name;
    await superuser.run(`CREATE TEMP TABLE kept AS SELECT * FROM public.daybook_migrations WHERE name = '${name}';
      DELETE FROM public.daybook_migrations WHERE name = '${name}'`);
    await startWithBaseline(database);
    await superuser.run('INSERT INTO public.daybook_migrations SELECT * FROM kept');
    expect(await startWithBaseline(database)).toBe(`migration ${name} executed`);
    expect(await startWithBaseline(database)).toBeNull();
  });

  test('that was removed is not replaced by the next start', async () => {
    await using database = await createTestDatabase();
    await startWithBaseline(database);
    await using superuser = await openSession(database.urls.superuser, asIntruder);
    await superuser.run(
      `ALTER TABLE public.integrity_baselines DISABLE TRIGGER USER; DELETE FROM public.integrity_baselines`,
    );
    expect(await startWithBaseline(database)).toBeNull();
    expect(await findCatalogBreaks(database)).toMatchObject([{ code: 'BASELINE_MISSING' }]);
  });

  test('that was altered, or is not the one the audit log names, is found', async () => {
    await using database = await createTestDatabase();
    await setBaseline(database);
    await using superuser = await openSession(database.urls.superuser, asIntruder);
    await superuser.run(`SET session_replication_role = replica; BEGIN;
      ALTER TABLE public.integrity_baselines DISABLE TRIGGER USER;
      UPDATE public.integrity_baselines SET facts = replace(facts::text, '"enabled":"A"', '"enabled":"D"')::json;
      ROLLBACK`);
    expect(await findCatalogBreaks(database)).toEqual([]);
    await superuser.run(`ALTER TABLE public.integrity_baselines DISABLE TRIGGER USER;
      UPDATE public.integrity_baselines SET facts = replace(facts::text, '"enabled":"A"', '"enabled":"D"')::json`);
    expect(await findCatalogBreaks(database)).toContainEqual({
      code: 'BASELINE_MISMATCH',
      index: null,
      message: expect.stringContaining('its facts give the hash') as unknown,
    });
    await superuser.run(`UPDATE public.integrity_baselines SET facts_hash = sha256(convert_to(facts::text, 'UTF8'))`);
    expect(await findCatalogBreaks(database)).toContainEqual({
      code: 'BASELINE_MISMATCH',
      index: null,
      message: expect.stringContaining('names') as unknown,
    });
  });

  test('that is not an object is found', async () => {
    await using database = await createTestDatabase();
    await using application = await openSession(database.urls.application);
    await application.run(`INSERT INTO public.integrity_baselines (taken_by, reason, facts, facts_hash)
      VALUES ('nobody', 'none', '[]', sha256('[]'))`);
    expect(await findCatalogBreaks(database)).toMatchObject([
      { code: 'BASELINE_MISMATCH' },
      { code: 'BASELINE_MISMATCH' },
    ]);
    await setBaseline(database);
    expect(await findCatalogBreaks(database)).toEqual([]);
  });
});

describe('before migrations are executed', () => {
  const last = names.at(-1)!;
  const compare = (database: TestDatabase, knownMigrations: readonly string[] = [...names, '9999-later']) =>
    compareBeforeMigrating({ urls: database.urls, knownMigrations, log });
  const disable = 'ALTER TABLE public.signals DISABLE TRIGGER append_signal_trigger';

  /** A ledger with its baseline that an older version made, without the last migration. */
  async function createOlderDatabase(): Promise<TestDatabase> {
    const database = await createEmptyDatabase();
    const { urls } = database;
    await provisionRoles(urls.superuser, readPassword(urls.superuser)!, log);
    await migrateUp({ url: urls.migrator, migrations: migrationsList.slice(0, -1), log });
    await installRefusalLayers(urls);
    await setBaseline(database);
    return database;
  }

  test('a catalogue that is as it was is no matter, nor is one that nobody declared right yet', async () => {
    await using database = await createTestDatabase();
    expect((await compare(database)).count).toBe(0);
    await startWithBaseline(database);
    expect((await compare(database)).count).toBe(0);
    await using empty = await createEmptyDatabase();
    await provisionRoles(empty.urls.superuser, readPassword(empty.urls.superuser)!, log);
    expect((await compare(empty)).count).toBe(0);
  });

  test('one that differs is put on record, and no start declares it right until somebody does', async () => {
    await using database = await createTestDatabase();
    await startWithBaseline(database);
    await using superuser = await openSession(database.urls.superuser, asIntruder);
    await superuser.run(disable);
    expect((await compare(database, names)).count).toBe(0);
    const found = await compare(database);
    expect(found.first).toMatchObject([{ code: 'TRIGGER_CHANGED' }]);
    expect(await startWithBaseline(database, ['9999-later'])).toBeNull();
    expect(await startWithBaseline(database, ['9999-later'])).toBeNull();
    expect(await findCatalogBreaks(database)).toMatchObject([{ code: 'TRIGGER_CHANGED' }]);
    expect(
      await superuser.run(
        `SELECT kind, status, opened_by, details ->> 'beforeMigrations' AS pending FROM public.incidents`,
      ),
    ).toEqual([{ kind: 'INTEGRITY', status: 'OPEN', opened_by: 'daybook', pending: '["9999-later"]' }]);
    expect(
      await superuser.run(`SELECT outcome, details ->> 'changesInAll' AS changes, details -> 'changes' -> 0 ->> 'code' AS code
        FROM public.audit_entries WHERE event = 'IntegrityBaselineWithheld'`),
    ).toEqual([{ outcome: 'INTEGRITY_FAILED', changes: '1', code: 'TRIGGER_CHANGED' }]);
    await compare(database);
    expect(await superuser.run('SELECT occurrences FROM public.incidents')).toEqual([{ occurrences: '2' }]);
    await setBaseline(database);
    expect(await findCatalogBreaks(database)).toEqual([]);
    expect(await startWithBaseline(database, ['9999-later'])).toBe('migration 9999-later executed');
    await superuser.run('ALTER TABLE public.signals ENABLE ALWAYS TRIGGER append_signal_trigger');
    await expectLedgerIntact(database.urls.auditor);
  });

  test('a baseline that was removed is put on record as well', async () => {
    await using database = await createTestDatabase();
    await startWithBaseline(database);
    await using superuser = await openSession(database.urls.superuser, asIntruder);
    await superuser.run(
      `ALTER TABLE public.integrity_baselines DISABLE TRIGGER USER; DELETE FROM public.integrity_baselines`,
    );
    expect((await compare(database)).first).toMatchObject([{ code: 'BASELINE_MISSING' }]);
  });

  test('what an older version did not read, or read otherwise, does not differ', async () => {
    await using database = await createTestDatabase();
    const { facts } = await withSnapshot({ url: database.urls.auditor }, readCatalogFacts);
    const { extensions, foreignServers, foreignDataWrappers, userMappings, ...known } = facts;
    expect(Object.keys({ ...extensions, ...foreignServers, ...foreignDataWrappers, ...userMappings }).length).toBe(5);
    const constraints = Object.fromEntries(
      Object.entries(known.constraints).map(([name, { oid, ...others }]) => [
        name,
        oid === undefined ? others : { ...others, xmin: '700' },
      ]),
    );
    const text = encodeCanonicalJson({ ...known, constraints });
    await using application = await openSession(database.urls.application);
    await application.client.query(
      `INSERT INTO public.integrity_baselines (taken_by, reason, facts, facts_hash)
       VALUES ('test', 'test', $1::text::json, sha256(convert_to($1::text, 'UTF8')))`,
      [text],
    );
    await application.client.query(
      `INSERT INTO public.audit_entries (category, event, resource, details)
       VALUES ('INTEGRITY', 'IntegrityBaselineSet', 'x',
         json_build_object('factsHash', encode(sha256(convert_to($1::text, 'UTF8')), 'hex')))`,
      [text],
    );
    expect((await compare(database)).first).toEqual([]);
    expect((await findCatalogBreaks(database)).map(({ code }) => code)).toEqual(Array(5).fill('EXTENSION_CHANGED'));
  });

  const startService = async (database: TestDatabase) => {
    await using service = await startTestService({ database, environment: { DAYBOOK_JOBS: 'off' } });
    expect(service.url).toMatch(/^http/);
  };

  const runCommand = async (database: TestDatabase) => {
    await using folder = await createDataFolder();
    const outcome = await runScript('test/support/database-commands.ts', ['migrate', 'up', '--json'], {
      DAYBOOK_DATA_DIR: folder.path,
      DAYBOOK_LOG_LEVEL: 'silent',
      DATABASE_URL: database.urls.superuser,
    });
    expect(outcome).toEqual({ exitCode: 0, stdout: `${JSON.stringify({ executed: [last] })}\n`, stderr: '' });
  };

  test.each([
    ['a start of the service', 'unchanged', startService, '', 2],
    ['a start of the service', 'tampered with', startService, disable, 1],
    ['daybook migrate up', 'unchanged', runCommand, '', 2],
    ['daybook migrate up', 'tampered with', runCommand, disable, 1],
  ])('%s executes them on a catalogue that is %s', async (_by, _state, migrate, tampering, baselines) => {
    await using database = await createOlderDatabase();
    await using superuser = await openSession(database.urls.superuser, asIntruder);
    if (tampering !== '') await superuser.run(tampering);
    await migrate(database);
    expect(await superuser.value(`SELECT count(*)::int FROM public.integrity_baselines`)).toBe(baselines);
    expect(await superuser.value('SELECT name FROM public.daybook_migrations ORDER BY id DESC LIMIT 1')).toBe(last);
    const found = await findCatalogBreaks(database);
    // What the migration made stands before it in the list, which is cut off: the entry names what was changed before.
    const told = await superuser.value(
      `SELECT count(*)::int FROM public.audit_entries
       WHERE event = 'IntegrityBaselineWithheld' AND details::text LIKE '%append_signal_trigger%'`,
    );
    expect(told).toBe(tampering === '' ? 0 : 1);
    expect(found.length > 0).toBe(tampering !== '');
  });
});
