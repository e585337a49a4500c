import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, open, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { withConnection } from '../../src/db/admin-connection.js';
import { administratorUrl } from '../../src/db/embedded-postgres.js';
import { initialiseCluster } from '../../src/db/initialise-cluster.js';
import { openLauncher } from '../../src/db/postgres-account.js';
import { findPostgresBinaries } from '../../src/db/postgres-binaries.js';
import { postgresFolder, readLogTail } from '../../src/db/postgres-folder.js';
import { serverSettings } from '../../src/db/postgres-settings.js';
import { stopPostmaster } from '../../src/db/postmaster.js';
import { createDataFolder } from './data-folder.js';
import { findFreePort } from './test-server.js';
import { waitUntil } from './wait-until.js';

const LIBRARIES = ['x86_64-linux-gnu', 'aarch64-linux-gnu'].map(
  (platform) => `/usr/lib/${platform}/faketime/libfaketimeMT.so.1`,
);
const library = LIBRARIES.find((path) => existsSync(path));

/** An embedded PostgreSQL 18 of its own whose clock the test moves; the clocks of every other process stay. */
export interface FakedPostgres extends AsyncDisposable {
  /** Of the administrator, to the database `postgres`. */
  readonly adminUrl: string;
  /** From now on the server's clock shows `isoTime` (RFC 3339, UTC) and goes on ticking; it may also go back. */
  setClock(isoTime: string): Promise<void>;
}

export const hasFakedClock = library !== undefined;

if (!hasFakedClock) {
  // eslint-disable-next-line no-console -- a suite that is left out says so where nobody can miss it
  console.warn(
    'LEFT OUT: tests that move the clock of PostgreSQL, for libfaketime is missing (apt-get install faketime).',
  );
}

/** `startAt`: what the clock shows at first (RFC 3339, UTC); the machine's own time where it is left out. */
export async function startFakedPostgres(options: { startAt?: string } = {}): Promise<FakedPostgres> {
  if (library === undefined) throw new Error('libfaketime is missing');
  await using stack = new AsyncDisposableStack();
  const dataDir = stack.use(await createDataFolder()).path;
  const folder = postgresFolder(dataDir);
  await mkdir(folder.root, { recursive: true, mode: 0o711 });
  await mkdir(folder.log, { recursive: true, mode: 0o700 });
  const binaries = findPostgresBinaries();
  const launcher = await openLauncher(folder.data, [binaries.postgres, folder.root]);
  if (launcher.account !== null) await chown(folder.log, launcher.account.uid, launcher.account.gid);
  const log = pino({ level: 'silent' });
  const password = await initialiseCluster({ folder, initdb: binaries.initdb, launcher, log, signal: undefined });
  const port = await findFreePort();
  await writeFile(folder.settings, `${serverSettings(port)}${settingsOfTests}`);
  await chmod(folder.settings, 0o644);

  const clockFile = join(folder.root, 'clock');
  const setClock = async (isoTime: string) => {
    // Relative to the machine's clock: every process of the server then shows the same, whenever it was started.
    const seconds = (Date.parse(isoTime) - Date.now()) / 1_000;
    await writeFile(`${clockFile}.new`, `${seconds < 0 ? '-' : '+'}${Math.abs(seconds).toFixed(6)}\n`);
    await chmod(`${clockFile}.new`, 0o644);
    await rename(`${clockFile}.new`, clockFile);
  };
  await setClock(options.startAt ?? new Date().toISOString());
  // `env`, because the launcher gives programs an environment of its own.
  const environment = [
    `LD_PRELOAD=${library}`,
    `FAKETIME_TIMESTAMP_FILE=${clockFile}`,
    'FAKETIME_NO_CACHE=1',
    'FAKETIME_DONT_FAKE_MONOTONIC=1',
    'NO_FAKE_STAT=1',
  ];
  const output = await open(folder.startupLog, 'w', 0o600);
  const child = launcher.launch('env', [...environment, binaries.postgres, '-D', folder.data], {
    stdio: ['ignore', output.fd, output.fd],
    detached: false,
  });
  await output.close();
  let ended = false;
  const exited = new Promise<void>((resolve) => child.once('exit', resolve).once('error', () => resolve()));
  void exited.then(() => (ended = true));
  stack.defer(async () => {
    if (!ended) await stopPostmaster(child.pid!, folder.data);
    await exited;
  });
  const adminUrl = administratorUrl(port, password);
  await waitUntil('PostgreSQL accepts connections', async () => {
    if (ended) throw new Error(`PostgreSQL did not start:\n${await readLogTail(folder)}`);
    return withConnection(adminUrl, () => Promise.resolve(true)).catch(() => false);
  });
  const owned = stack.move();
  return { adminUrl, setClock, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Nothing here has to survive a power cut, and several servers share the machine. */
const settingsOfTests = `
fsync = off
shared_buffers = '64MB'
`;
