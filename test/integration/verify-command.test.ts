import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { encodeVerifierKey } from '../../src/core/verifier-key.js';
import { createDataFolder, type DataFolder } from '../support/data-folder.js';
import { createNoteSigner } from '../support/note-signer.js';
import { openSignedTree } from '../support/signed-tree.js';
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
  await database[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function verify(databaseUrl: string, ...args: string[]): Promise<Outcome> {
  const environment = { DAYBOOK_DATA_DIR: folder.path, DATABASE_URL: databaseUrl };
  return runScript('src/main.ts', ['verify', ...args], environment);
}

describe('verify of an intact ledger', () => {
  test('ends with code 0 and a table of both logs', async () => {
    const { exitCode, stdout } = await verify(database.urls.superuser);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('signals: intact\n');
    expect(stdout).toContain('audit: intact\n');
  });

  test('of one log prints one JSON value on stdout', async () => {
    const { exitCode, stdout } = await verify(database.urls.superuser, '--log', 'audit', '--json');
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      intact: true,
      logs: [{ log: 'audit', entries: 3, breakCount: 0, firstBreak: null, breaks: [] }],
    });
  });
});

test('verify of an altered ledger ends with code 1 and names the first break', async () => {
  await using altered = await createTestDatabase();
  await using superuser = await openSession(altered.urls.superuser);
  await superuser.run(`${insertSignalsSql(3)}; SET event_triggers = off;
    ALTER TABLE public.signals DISABLE TRIGGER USER;
    UPDATE public.signals SET entry_price = 1 WHERE chain_index = 1`);
  const table = await verify(altered.urls.superuser);
  expect(table.exitCode).toBe(1);
  expect(table.stdout).toContain('signals: first break COLUMN_MISMATCH at index 1\n');
  const json = await verify(altered.urls.superuser, '--json');
  expect(json.exitCode).toBe(1);
  expect(JSON.parse(json.stdout)).toMatchObject({
    intact: false,
    logs: [
      { log: 'signals', firstBreak: { code: 'COLUMN_MISMATCH', index: 1 } },
      { log: 'audit', firstBreak: null },
    ],
  });
});

describe('verify with pinned keys', () => {
  test('trusts checkpoints by those keys alone, and says whose signatures it took', async () => {
    await using signed = await createTestDatabase();
    await using application = await openSession(signed.urls.application);
    await application.run(insertSignalsSql(3));
    await using signals = await openSignedTree(signed.urls.application, 'signals', 1);
    await using audit = await openSignedTree(signed.urls.application, 'audit', 2);
    await signals.sign(2);
    await audit.sign(3);
    const keys = [signals, audit].flatMap(({ signer }) => ['--key', encodeVerifierKey(signer.key)]);
    const unpinned = await verify(signed.urls.superuser);
    expect(unpinned.exitCode).toBe(0);
    expect(unpinned.stdout).toContain('signer: unknown (keys taken from the database, not pinned');
    expect(unpinned.stdout).toContain('3 entries are covered by no root kept outside the database');
    const pinned = await verify(signed.urls.superuser, ...keys, '--json');
    expect(pinned.exitCode).toBe(0);
    expect(JSON.parse(pinned.stdout)).toMatchObject({
      intact: true,
      logs: [
        { log: 'signals', signer: 'pinned', unanchoredEntries: 3, tree: { size: 3, newestCheckpoint: { size: 2 } } },
        { log: 'audit', signer: 'pinned', tree: { size: 3, checkpoints: 1 } },
      ],
    });
    const stranger = encodeVerifierKey(createNoteSigner('test.example/signals', 9).key);
    const refused = await verify(signed.urls.superuser, '--log', 'signals', '--key', stranger);
    expect(refused.exitCode).toBe(1);
    expect(refused.stdout).toContain('signals: first break UNKNOWN_KEY at index 1\n');
  });
});

describe('verify that cannot run ends with code 2', () => {
  test('where no server answers', async () => {
    const url = `postgres://nobody@127.0.0.1:${await findFreePort()}/nothing`;
    const { exitCode, stdout } = await verify(url, '--json');
    expect(exitCode).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'DATABASE_UNAVAILABLE' } });
  });

  test('where nothing was migrated', async () => {
    await using empty = await createEmptyDatabase();
    const { exitCode, stderr } = await verify(empty.urls.superuser);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('migrate up');
  });

  test.each([[['--log', 'orders']], [['--fast']], [['surplus']], [['--key', 'name+00000000+AAAA']]])(
    'for arguments it does not know: %j',
    async (args) => {
      expect((await verify(database.urls.superuser, ...args)).exitCode).toBe(2);
    },
  );

  test('for an environment it cannot use', async () => {
    expect((await verify('mysql://localhost/daybook')).exitCode).toBe(2);
  });
});
