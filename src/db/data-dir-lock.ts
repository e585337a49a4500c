import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { DaybookError } from '../errors.js';

/** `serve` holds the folder for hours; `command` for the time of one command, and may stop the database at its end. */
export type LockPurpose = 'serve' | 'command';

/** Who holds a data folder. Written beside the lock, so for an instant it can name the previous holder. */
export interface LockHolder {
  readonly pid: number;
  readonly purpose: LockPurpose;
}

/** A held lock. Disposing frees it; so does the end of the process, whichever way it ends. */
export interface DataDirLock {
  [Symbol.dispose](): void;
}

const SQLITE_BUSY = 5;
const holderSchema = z.object({ pid: z.number().int(), purpose: z.enum(['serve', 'command']) });

/**
 * Takes the data folder for this process, creating it where it is missing, or returns null while another process holds
 * it. Node has no flock(); SQLite's exclusive transaction is one: the kernel holds it and frees it with the process, so
 * neither a kill -9 nor a reused process id leaves anything behind to clear up.
 * Throws CONFIG_INVALID when the folder cannot be written.
 */
export async function tryLockDataDir(dataDir: string, purpose: LockPurpose): Promise<DataDirLock | null> {
  let database: DatabaseSync | undefined;
  try {
    // Others may pass through, for PostgreSQL can run as another user, but not list; each secret inside is 0600.
    await mkdir(dataDir, { recursive: true, mode: 0o711 });
    const lockFile = join(dataDir, 'daybook.lock');
    database = new DatabaseSync(lockFile, { timeout: 0 });
    database.exec('BEGIN EXCLUSIVE');
    // Whoever may read the file may hold a shared lock on it and keep us out.
    await chmod(lockFile, 0o600);
    await writeFile(holderFile(dataDir), JSON.stringify({ pid: process.pid, purpose }));
  } catch (err) {
    database?.close();
    if ((err as { errcode?: number }).errcode === SQLITE_BUSY) {
      return null;
    }
    throw dataDirNotWritable(dataDir, err);
  }
  const held = database;
  return { [Symbol.dispose]: () => held.isOpen && held.close() };
}

/** Null while nobody has taken the folder yet. */
export async function readLockHolder(dataDir: string): Promise<LockHolder | null> {
  try {
    return holderSchema.parse(JSON.parse(await readFile(holderFile(dataDir), 'utf8')));
  } catch {
    // Absent, or caught between truncation and write: either way the caller looks again.
    return null;
  }
}

/** The error for a folder, or something in it, that this user may not use. */
export function dataDirNotWritable(dataDir: string, cause: unknown): DaybookError {
  return new DaybookError(
    'CONFIG_INVALID',
    `The data folder ${dataDir} cannot be written (${(cause as Error).message}). Give this user the right to write there or set DAYBOOK_DATA_DIR.`,
    { cause },
  );
}

/** The error for a folder that another process holds; names both. */
export async function dataDirInUse(dataDir: string): Promise<DaybookError> {
  const holder = await readLockHolder(dataDir);
  return new DaybookError(
    'DATA_DIR_IN_USE',
    `Process ${holder?.pid ?? 'unknown'} already runs Daybook on the data folder ${dataDir}. Stop it, or give this one a folder of its own with DAYBOOK_DATA_DIR.`,
    { details: { dataDir, pid: holder?.pid } },
  );
}

function holderFile(dataDir: string): string {
  return join(dataDir, 'daybook.pid');
}
