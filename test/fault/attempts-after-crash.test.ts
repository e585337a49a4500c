import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { migrationsList } from '../../migrations/index.js';
import { readConfig } from '../../src/config.js';
import { migrateUp } from '../../src/db/migrate.js';
import { openDatabase, type OpenDatabase } from '../../src/db/open-database.js';
import { installRefusalLayers } from '../../src/db/refusal-layers.js';
import { createDataFolder, type DataFolder } from '../support/data-folder.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { expectRefusedOnce, reconcile } from '../support/refused-attempts.js';
import { insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { findFreePort } from '../support/test-server.js';
import { waitUntil } from '../support/wait-until.js';

const log = pino({ level: 'silent' });
/** Far above max_connections. */
const connectionsMax = 300;
const update = 'UPDATE public.signals SET entry_price = 1';

let folder: DataFolder;
let database: OpenDatabase;

beforeAll(async () => {
  folder = await createDataFolder();
  const config = readConfig({
    DAYBOOK_DATA_DIR: folder.path,
    DAYBOOK_POSTGRES_PORT: String(await findFreePort()),
  });
  database = await openDatabase(config, { log, mode: 'serve' });
  await migrateUp({ url: database.urls.migrator, migrations: migrationsList, log });
  expect(await installRefusalLayers(database.urls)).toEqual([]);
  await using application = await openSession(database.urls.application);
  await application.run(insertSignalsSql());
});

afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

test('with every connection used up an attempt still leaves its record', async () => {
  await using application = await openSession(database.urls.application);
  await using service = await openSession(database.urls.application);
  const taken: SqlSession[] = [];
  try {
    await expect(
      (async () => {
        while (taken.length < connectionsMax) taken.push(await openSession(database.urls.application));
      })(),
    ).rejects.toMatchObject({ code: '53300' });
    expect(await expectRefusedOnce(application, service, update)).toMatchObject({ details: { recorded: true } });
  } finally {
    await Promise.all(taken.map((session) => session[Symbol.asyncDispose]()));
  }
  await expectLedgerIntact(database.urls.auditor);
});

test('numbers that the crash of a backend skips are no attempts', async () => {
  const before = await openSession(database.urls.application);
  const pid = (await before.value('SELECT pg_backend_pid()')) as number;
  process.kill(pid, 'SIGKILL');
  await before.failure('SELECT 1').catch(() => undefined);
  const service = await waitUntil('the server has recovered', () =>
    openSession(database.urls.application).catch(() => null),
  );
  await using application = await openSession(database.urls.application);
  expect((await application.failure(update)).code).toBe('DB001');
  expect(await reconcile(service)).toMatchObject([{ details: { operation: 'UPDATE', recorded: true } }]);
  expect(
    await service.run(`SELECT details ->> 'numbers' AS numbers, details::text ~ ' : ' AS loose FROM public.audit_entries
      WHERE event = 'ModificationNumbersSkipped'`),
  ).toEqual([{ numbers: '32', loose: false }]);
  expect(await reconcile(service)).toEqual([]);
  await service[Symbol.asyncDispose]();
  await expectLedgerIntact(database.urls.auditor);
});
