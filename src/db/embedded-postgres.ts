import { chown, mkdir } from 'node:fs/promises';
import type { Logger } from 'pino';
import { dataDirInUse, dataDirNotWritable, tryLockDataDir, type DataDirLock } from './data-dir-lock.js';
import { initialiseCluster } from './initialise-cluster.js';
import { openLauncher } from './postgres-account.js';
import { findPostgresBinaries } from './postgres-binaries.js';
import { postgresFolder } from './postgres-folder.js';
import { stopPostmaster } from './postmaster.js';
import { startPostmaster, type Postmaster, type StartInput } from './start-postmaster.js';

/** A start that lasted at least this long was a good one; the next unexpected end begins counting anew. */
const STABLE_MS = 10_000;
/** Unexpected ends in a row after which the server is left down and the service reports it. */
const RESTARTS_MAX = 5;

export interface EmbeddedPostgresInput {
  /** Absolute. The server lives in `<dataDir>/postgres`. */
  readonly dataDir: string;
  /** TCP port on 127.0.0.1. */
  readonly port: number;
  readonly log: Logger;
  /** Ends a start that is under way; it does not stop a started server. */
  readonly signal?: AbortSignal;
}

/** A PostgreSQL 18 that accepts connections on 127.0.0.1. */
export interface EmbeddedPostgres extends AsyncDisposable {
  /** Of the administrator (a superuser), with password, to the database `postgres`. */
  readonly url: string;
  readonly port: number;
  /** True when it was running already; then `stop` leaves it running. */
  readonly adopted: boolean;
  /** Cuts sessions, writes a checkpoint, waits for the end (bounded) and frees the data folder. Any further call waits too. */
  stop(): Promise<void>;
}

/**
 * Takes the data folder and starts the server in it, creating both where they are missing. Should the server end
 * unexpectedly, it is started again. If this process dies, the server stays; the next start stops that one and takes over.
 * Throws DATA_DIR_IN_USE, CONFIG_INVALID (folder not writable), PORT_TAKEN or DATABASE_START_FAILED; then nothing is left
 * running.
 */
export async function startEmbeddedPostgres(input: EmbeddedPostgresInput): Promise<EmbeddedPostgres> {
  const lock = await tryLockDataDir(input.dataDir, 'serve');
  if (lock === null) {
    throw await dataDirInUse(input.dataDir);
  }
  return startOnLockedFolder(input, lock);
}

/** As startEmbeddedPostgres, on a folder the caller has locked; the lock passes to the result, or is freed on an error. */
export async function startOnLockedFolder(input: EmbeddedPostgresInput, lock: DataDirLock): Promise<EmbeddedPostgres> {
  try {
    const folder = postgresFolder(input.dataDir);
    const binaries = findPostgresBinaries();
    await mkdir(folder.root, { recursive: true, mode: 0o711 });
    const launcher = await openLauncher(folder.data, [binaries.postgres, folder.root]);
    await mkdir(folder.log, { recursive: true, mode: 0o700 });
    if (launcher.account !== null) {
      await chown(folder.log, launcher.account.uid, launcher.account.gid);
    }
    const { log, signal, port } = input;
    const password = await initialiseCluster({ folder, initdb: binaries.initdb, launcher, log, signal });
    const supervised = await supervise({ folder, postgres: binaries.postgres, launcher, port, log, signal });
    return embeddedPostgres({ port, password, adopted: false }, async () => {
      await supervised.stop();
      lock[Symbol.dispose]();
    });
  } catch (err) {
    lock[Symbol.dispose]();
    throw isRefusedByFileSystem(err) ? dataDirNotWritable(input.dataDir, err) : err;
  }
}

function isRefusedByFileSystem(err: unknown): boolean {
  return ['EACCES', 'EPERM', 'EROFS', 'ENOSPC'].includes((err as NodeJS.ErrnoException).code ?? '');
}

/** The handle on a server at `port`; `release` runs once, at the first stop. */
export function embeddedPostgres(
  facts: { port: number; password: string; adopted: boolean },
  release: () => Promise<void>,
): EmbeddedPostgres {
  let stopping: Promise<void> | undefined;
  const stop = () => (stopping ??= release());
  return {
    url: administratorUrl(facts.port, facts.password),
    port: facts.port,
    adopted: facts.adopted,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

export function administratorUrl(port: number, password: string, database = 'postgres'): string {
  return `postgresql://postgres:${password}@127.0.0.1:${port}/${database}`;
}

/** Starts the server and starts it again whenever it ends on its own, until stopped or out of restarts. */
async function supervise(input: StartInput): Promise<{ stop(): Promise<void> }> {
  const ending = new AbortController();
  let current: Postmaster | undefined = await startPostmaster(input);
  const watching = (async () => {
    for (let restarts = 0; current !== undefined;) {
      const startedMs = performance.now();
      await current.exited;
      current = undefined;
      restarts = performance.now() - startedMs >= STABLE_MS ? 0 : restarts + 1;
      if (ending.signal.aborted || restarts > RESTARTS_MAX) {
        return;
      }
      input.log.error({ restarts }, 'the embedded database ended unexpectedly: starting it again');
      current = await startPostmaster({ ...input, signal: ending.signal });
      if (ending.signal.aborted) {
        // It became ready just as stop() found nothing to stop.
        await stopPostmaster(current.pid, input.folder.data);
      }
    }
  })().catch((err: unknown) => {
    if (!ending.signal.aborted) {
      input.log.fatal({ err }, 'the embedded database cannot be started again');
    }
  });
  return {
    async stop() {
      ending.abort();
      if (current !== undefined) {
        await stopPostmaster(current.pid, input.folder.data);
      }
      await watching;
    },
  };
}
