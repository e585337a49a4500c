import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { migrationsList } from '../migrations/index.js';
import { readConfig, type Config } from '../src/config.js';
import { migrateUp } from '../src/db/migrate.js';
import { openDatabase } from '../src/db/open-database.js';
import { installRefusalLayers } from '../src/db/refusal-layers.js';
import type { RoleUrls } from '../src/db/roles.js';
import { findFreePort } from './free-port.js';

/** A key that only the servers of a bench know, which are gone after it. */
export const benchKey = 'daybook_bench_key_of_a_server_that_is_gone_after_the_run';

const silent = pino({ level: 'silent' });

/** Settings of a node whose data folder is removed at disposal. */
export interface BenchFolder extends AsyncDisposable {
  readonly config: Config;
}

/** An empty, migrated ledger on an embedded server of its own. */
export interface BenchDatabase extends AsyncDisposable {
  readonly urls: RoleUrls;
}

/** Makes a temporary data folder and picks free ports. */
export async function createBenchFolder(): Promise<BenchFolder> {
  const dataDir = await mkdtemp(join(tmpdir(), 'daybook-bench-'));
  // The database server may run under an account of its own, which has to reach its part of the folder.
  await chmod(dataDir, 0o711);
  const config = readConfig({
    DAYBOOK_DATA_DIR: dataDir,
    DAYBOOK_PORT: String(await findFreePort()),
    DAYBOOK_POSTGRES_PORT: String(await findFreePort()),
    DAYBOOK_ADMIN_KEY: benchKey,
    DAYBOOK_LOG_LEVEL: 'silent',
  });
  return {
    config,
    [Symbol.asyncDispose]: () => rm(dataDir, { recursive: true, force: true, maxRetries: 5 }),
  };
}

/** Starts an embedded server with the settings that `npm start` gives it, and migrates. Disposing stops and removes it. */
export async function startBenchDatabase(): Promise<BenchDatabase> {
  await using stack = new AsyncDisposableStack();
  const { config } = stack.use(await createBenchFolder());
  const database = stack.use(await openDatabase(config, { log: silent, mode: 'serve' }));
  await migrateUp({ url: database.urls.migrator, migrations: migrationsList, log: silent });
  await installRefusalLayers(database.urls);
  const owned = stack.move();
  return { urls: database.urls, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
