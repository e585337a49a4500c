import { execFile } from 'node:child_process';
import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

const POLL_MS = 10;
/** Fast shutdown writes a checkpoint: seconds on a slow disk under load. */
const FAST_SHUTDOWN_MS = 30_000;
const IMMEDIATE_SHUTDOWN_MS = 5_000;
const KILL_MS = 5_000;

/** What postmaster.pid says about the server of a data folder. */
export interface PostmasterFile {
  readonly pid: number;
  readonly port: number;
  /** True once it accepts connections. */
  readonly ready: boolean;
}

/** Reads postmaster.pid; null where there is none or it is being written. It can outlive its process. */
export async function readPostmasterFile(dataFolder: string): Promise<PostmasterFile | null> {
  const text = await readFile(join(dataFolder, 'postmaster.pid'), 'utf8').catch(() => '');
  // Lines: pid, data folder, start time, port, socket folder, listen address, shared memory, status.
  const lines = text.split('\n');
  const pid = Number(lines[0]);
  return Number.isInteger(pid) && pid > 0
    ? { pid, port: Number(lines[3] ?? 0), ready: lines[7]?.trim() === 'ready' }
    : null;
}

/** The server that really runs on the data folder: the pid of postmaster.pid is one of its processes, not a reused one. */
export async function readRunningPostmaster(dataFolder: string): Promise<PostmasterFile | null> {
  const file = await readPostmasterFile(dataFolder);
  return file !== null && (await runsOn(file.pid, dataFolder)) ? file : null;
}

/** Whether the process is a server process on this data folder. Each of them has it as its working directory. */
async function runsOn(pid: number, dataFolder: string): Promise<boolean> {
  if (process.platform === 'linux') {
    const directory = await readlink(`/proc/${pid}/cwd`).catch(() => null);
    return directory !== null && directory === (await realpath(dataFolder).catch(() => null));
  }
  const command = await run('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => null);
  return command?.stdout.includes(dataFolder) ?? false;
}

/** Every process on the data folder, sessions whose postmaster died included. Empty where /proc is missing. */
export async function listProcessesOn(dataFolder: string): Promise<number[]> {
  const names = await readdir('/proc').catch(() => []);
  const pids = names.map(Number).filter((pid) => Number.isInteger(pid));
  const found = await Promise.all(pids.map((pid) => runsOn(pid, dataFolder)));
  return pids.filter((_, index) => found[index]);
}

/**
 * Ends a postmaster: SIGINT (fast: sessions are cut, a checkpoint is written), then SIGQUIT and SIGKILL, after which the
 * next start recovers from the write-ahead log. Returns when the process is gone; bounded by the sum of the waits.
 */
export async function stopPostmaster(pid: number, dataFolder: string): Promise<void> {
  const steps = [
    ['SIGINT', FAST_SHUTDOWN_MS],
    ['SIGQUIT', IMMEDIATE_SHUTDOWN_MS],
    ['SIGKILL', KILL_MS],
  ] as const;
  for (const [signal, waitMs] of steps) {
    sendSignal(pid, signal);
    if (await untilNone(async () => ((await runsOn(pid, dataFolder)) ? [pid] : []), waitMs)) {
      return;
    }
  }
}

/**
 * Ends what a dead postmaster left: sessions hold its shared memory, and a new server must not start beside them.
 * Returns whether they are gone.
 */
export async function stopLeftSessions(dataFolder: string): Promise<boolean> {
  for (const [signal, waitMs] of [['SIGQUIT', IMMEDIATE_SHUTDOWN_MS] as const, ['SIGKILL', KILL_MS] as const]) {
    for (const pid of await listProcessesOn(dataFolder)) {
      sendSignal(pid, signal);
    }
    if (await untilNone(() => listProcessesOn(dataFolder), waitMs)) {
      return true;
    }
  }
  return false;
}

/** Whether any process has this id, whoever it belongs to. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (err) {
    return (err as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (err) {
    // Gone in the meantime is what the signal was for.
    if ((err as NodeJS.ErrnoException).code !== 'ESRCH') {
      throw err;
    }
  }
}

async function untilNone(list: () => Promise<readonly number[]>, waitMs: number): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < waitMs; waitedMs += POLL_MS) {
    if ((await list()).length === 0) {
      return true;
    }
    await pause(POLL_MS);
  }
  return false;
}
