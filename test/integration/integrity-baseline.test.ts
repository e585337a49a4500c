import { describe, expect, test } from '@jest/globals';
import { migrationsList } from '../../migrations/index.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { asIntruder, findCatalogBreaks, setBaseline, startWithBaseline } from '../support/integrity-baseline.js';
import { openSession } from '../support/sql-session.js';
import { createTestDatabase } from '../support/test-database.js';

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
