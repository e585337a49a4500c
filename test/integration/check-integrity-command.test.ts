import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createDataFolder, type DataFolder } from '../support/data-folder.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { asIntruder } from '../support/integrity-baseline.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { findFreePort } from '../support/test-server.js';
import { runScript, type Outcome } from '../support/run-script.js';

let folder: DataFolder;
let database: TestDatabase;

beforeAll(async () => {
  folder = await createDataFolder();
  database = await createTestDatabase();
  await using application = await openSession(database.urls.application);
  await application.run(insertSignalsSql(3));
});

afterAll(async () => {
  await expectLedgerIntact(database.urls.auditor);
  await database[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function checkIntegrity(databaseUrl: string, ...args: string[]): Promise<Outcome> {
  const environment = { DAYBOOK_DATA_DIR: folder.path, DATABASE_URL: databaseUrl };
  return runScript('src/main.ts', ['check-integrity', ...args], environment);
}

async function entriesOf(target: TestDatabase, event: string): Promise<Record<string, unknown>[]> {
  await using auditor = await openSession(target.urls.auditor);
  return await auditor.run(
    `SELECT actor, outcome, details ->> 'reason' AS reason, details ->> 'kind' AS kind
     FROM public.audit_entries WHERE event = $1 ORDER BY chain_index`,
    [event],
  );
}

describe('check-integrity', () => {
  test('init sets the baseline on the record and says what it covers', async () => {
    const { exitCode, stdout } = await checkIntegrity(database.urls.superuser, 'init', '--reason', 'reviewed by two');
    expect(exitCode).toBe(0);
    expect(stdout).toContain('  public.signals.append_signal_trigger\n');
    expect(stdout).toContain('  daybook_refuse_ddl\n');
    expect(await entriesOf(database, 'IntegrityBaselineSet')).toMatchObject([
      { actor: 'command line', reason: 'reviewed by two' },
    ]);
  });

  test.each(['full', 'recent', '1000'])('%s of an intact ledger ends with code 0 and one JSON value', async (what) => {
    const { exitCode, stdout, stderr } = await checkIntegrity(database.urls.superuser, what, '--json');
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
    expect(JSON.parse(stdout)).toMatchObject({ check: { result: 'OK', breaks: [], requestedBy: 'command line' } });
    const entries = await entriesOf(database, 'IntegrityChecked');
    expect(entries.at(-1)).toMatchObject({ actor: 'command line', outcome: 'OK' });
  });

  test('of an altered ledger ends with code 1 and names the breaks', async () => {
    await using altered = await createTestDatabase();
    await using superuser = await openSession(altered.urls.superuser, asIntruder);
    await superuser.run(`${insertSignalsSql(3)}; ALTER TABLE public.signals DISABLE TRIGGER USER;
      UPDATE public.signals SET entry_price = 1 WHERE chain_index = 1`);
    const { exitCode, stdout } = await checkIntegrity(altered.urls.superuser, 'full');
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^FULL: FAILED, /);
    expect(stdout).toContain('  signals: COLUMN_MISMATCH at index 1: ');
    expect(stdout).toContain('  catalogue: BASELINE_MISSING: ');
  });
});

describe('check-integrity that cannot run ends with code 2', () => {
  test('where no server answers', async () => {
    const url = `postgres://nobody@127.0.0.1:${await findFreePort()}/nothing`;
    const { exitCode, stdout } = await checkIntegrity(url, 'full', '--json');
    expect(exitCode).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'DATABASE_UNAVAILABLE' } });
  });

  test.each(['full', 'init'])('where nothing was migrated: %s', async (what) => {
    await using empty = await createEmptyDatabase();
    const { exitCode, stderr } = await checkIntegrity(empty.urls.superuser, what);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('migrate up');
  });

  test.each([[[]], [['0']], [['all']], [['-5']], [['full', '--fast']], [['full', '--reason', 'x']], [['100001']]])(
    'for arguments it does not know: %j',
    async (args) => {
      expect((await checkIntegrity(database.urls.superuser, ...args)).exitCode).toBe(2);
    },
  );
});
