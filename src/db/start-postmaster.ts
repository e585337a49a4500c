import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, open, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { DaybookError } from '../errors.js';
import type { ProgramLauncher } from './postgres-account.js';
import { readLogTail, type PostgresFolder } from './postgres-folder.js';
import { serverSettings } from './postgres-settings.js';
import { isAlive, readPostmasterFile, readRunningPostmaster, stopLeftSessions, stopPostmaster } from './postmaster.js';

const POLL_MS = 5;
/** Recovery after a crash reads up to max_wal_size (2 GB) of write-ahead log. */
const READY_TIMEOUT_MS = 300_000;
/** How often a start is tried while a dead server's sessions still hold its shared memory. */
const ATTEMPTS_MAX = 5;

export interface StartInput {
  readonly folder: PostgresFolder;
  readonly postgres: string;
  readonly launcher: ProgramLauncher;
  readonly port: number;
  readonly log: Logger;
  readonly signal: AbortSignal | undefined;
}

/** A server that accepts connections. `exited` settles when its process ends, for whatever reason. */
export interface Postmaster {
  readonly pid: number;
  readonly exited: Promise<void>;
}

/**
 * Starts the server on an initialised folder that this process has locked, and waits until it accepts connections. A server
 * that an earlier process left running is stopped first: it may have other settings, another port or older programs, and
 * only a child tells when it ends.
 * Throws PORT_TAKEN or DATABASE_START_FAILED, whose message ends with the server's own last lines.
 */
export async function startPostmaster(input: StartInput): Promise<Postmaster> {
  await stopPrevious(input);
  await writeSettings(input.folder, input.port);
  for (let attempt = 1; ; attempt += 1) {
    const started = await launchOnce(input);
    if (started !== null) {
      return started;
    }
    const tail = await readLogTail(input.folder);
    if (await isPortTaken(input.port)) {
      throw new DaybookError(
        'PORT_TAKEN',
        `Another program listens on 127.0.0.1:${input.port}, where the embedded PostgreSQL would. Stop it or set DAYBOOK_POSTGRES_PORT.`,
        { details: { port: input.port, variable: 'DAYBOOK_POSTGRES_PORT' } },
      );
    }
    if (attempt === ATTEMPTS_MAX || !tail.includes('shared memory block')) {
      throw new DaybookError('DATABASE_START_FAILED', `The embedded PostgreSQL did not start. It wrote:\n${tail}`);
    }
    await stopLeftSessions(input.folder.data);
  }
}

async function stopPrevious({ folder, log }: StartInput): Promise<void> {
  const file = await readPostmasterFile(folder.data);
  if (file === null) {
    return;
  }
  const running = await readRunningPostmaster(folder.data);
  if (running !== null) {
    log.warn({ serverPid: running.pid }, 'stopping a database server that an earlier process left running');
    await stopPostmaster(running.pid, folder.data);
  }
  const clear = await stopLeftSessions(folder.data);
  // PostgreSQL takes any process of that id for a server, even a killed one that nobody has reaped yet, and would not start.
  if (clear && isAlive(file.pid) && (await readRunningPostmaster(folder.data)) === null) {
    await rm(join(folder.data, 'postmaster.pid'), { force: true });
  }
}

async function writeSettings(folder: PostgresFolder, port: number): Promise<void> {
  const temporary = `${folder.settings}.new`;
  await writeFile(temporary, serverSettings(port));
  await chmod(temporary, 0o644);
  await rename(temporary, folder.settings);
}

/** Null when the process ended before it was ready. */
async function launchOnce({ folder, postgres, launcher, log, signal }: StartInput): Promise<Postmaster | null> {
  signal?.throwIfAborted();
  const output = await open(folder.startupLog, 'w', 0o600);
  // A process group of its own: Ctrl-C in a terminal reaches this process only, which drains before it stops the server.
  const child = launcher.launch(postgres, ['-D', folder.data], {
    stdio: ['ignore', output.fd, output.fd],
    detached: true,
  });
  await output.close();
  let ended = false;
  const exited = Promise.race([once(child, 'exit'), once(child, 'error')]).then(
    () => void (ended = true),
    (err: unknown) => {
      ended = true;
      log.error({ err }, 'the embedded database cannot be run');
    },
  );
  const limit = AbortSignal.any([AbortSignal.timeout(READY_TIMEOUT_MS), ...(signal ? [signal] : [])]);
  while (!ended && !(await isReady(child, folder))) {
    if (limit.aborted) {
      await stopPostmaster(child.pid!, folder.data);
      signal?.throwIfAborted();
      throw new DaybookError(
        'DATABASE_START_FAILED',
        `The embedded PostgreSQL was not ready after ${READY_TIMEOUT_MS / 1000} s. It wrote:\n${await readLogTail(folder)}`,
      );
    }
    await pause(POLL_MS);
  }
  return ended ? null : { pid: child.pid!, exited };
}

async function isReady(child: ChildProcess, folder: PostgresFolder): Promise<boolean> {
  const file = await readPostmasterFile(folder.data);
  return file !== null && file.pid === child.pid && file.ready;
}

async function isPortTaken(port: number): Promise<boolean> {
  const probe = createServer();
  try {
    probe.listen(port, '127.0.0.1');
    await once(probe, 'listening');
    return false;
  } catch (err) {
    return (err as NodeJS.ErrnoException).code === 'EADDRINUSE';
  } finally {
    probe.close();
  }
}
