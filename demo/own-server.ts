import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { readConfig } from '../src/config.js';
import { openContext } from '../src/context.js';
import { administratorUrl } from '../src/db/embedded-postgres.js';
import { EMBEDDED_DATABASE } from '../src/db/open-database.js';
import { postgresFolder } from '../src/db/postgres-folder.js';
import { deriveRoleUrls } from '../src/db/roles.js';
import { readSecretFile } from '../src/db/secret-file.js';
import { startServer } from '../src/server.js';

/** A Daybook that the demo may use. */
export interface DemoTarget {
  /** As in http://127.0.0.1:4000. */
  readonly url: string;
  readonly adminKey: string;
  /** For plain SQL and for verification; null where only the API can be reached. */
  readonly databaseUrl: string | null;
}

/**
 * Starts a service of its own with an embedded PostgreSQL, on free ports and in a temporary folder. It reads nothing of
 * the environment, so it never touches another ledger. Disposing stops both and removes the folder.
 */
export async function startOwnServer(signal: AbortSignal): Promise<DemoTarget & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'daybook-demo-'));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  // PostgreSQL may have to run as another user, who must be able to pass through.
  await chmod(folder, 0o711);
  const [port, postgresPort] = await findFreePorts();
  const adminKey = randomBytes(32).toString('base64url');
  const config = readConfig({
    DAYBOOK_PORT: String(port),
    DAYBOOK_POSTGRES_PORT: String(postgresPort),
    DAYBOOK_DATA_DIR: join(folder, 'var'),
    DAYBOOK_ADMIN_KEY: adminKey,
  });
  const log = pino({ level: 'error' }, pino.destination({ dest: 2, sync: true }));
  const context = stack.use(await openContext(config, log, signal));
  const server = stack.use(await startServer(context));
  const password = (await readSecretFile(postgresFolder(config.dataDir).passwordFile)) ?? '';
  const { migrator } = deriveRoleUrls(administratorUrl(postgresPort, password, EMBEDDED_DATABASE), password);
  const owned = stack.move();
  return { url: server.url, adminKey, databaseUrl: migrator, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Two ports on 127.0.0.1 that nothing listened on a moment ago; held together, so that they differ. */
async function findFreePorts(): Promise<[number, number]> {
  const probes = [createServer(), createServer()];
  const ports: number[] = [];
  for (const probe of probes) {
    probe.listen(0, '127.0.0.1');
    await once(probe, 'listening');
    ports.push((probe.address() as AddressInfo).port);
  }
  for (const probe of probes) {
    probe.close();
    await once(probe, 'close');
  }
  return ports as [number, number];
}
