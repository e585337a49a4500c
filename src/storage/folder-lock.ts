import { chmod } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';

/** A write holds the lock for a few milliseconds. */
const POLL_MS = 5;
/** Longer than any write takes; then its holder hangs, or has been stopped. */
const WAIT_MS = 30_000;
const SQLITE_BUSY = 5;

/**
 * Waits until this call alone holds `file`, among all of this process and all others; creates the file where it is missing.
 * SQLite's exclusive transaction is the lock, for Node has no flock(): the kernel frees it with the process, so that nothing
 * is left to clear up after a kill -9. Null after 30 s in which others had it. Works where the file system has POSIX locks.
 */
export async function lockFolder(file: string): Promise<Disposable | null> {
  // Opened anew each time: a handle that is kept would go on locking a file that somebody has removed meanwhile.
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    for (let waitedMs = 0; waitedMs < WAIT_MS; waitedMs += POLL_MS) {
      if (tryBegin(database)) {
        // Whoever may read the file may hold a shared lock on it and keep us out.
        await chmod(file, 0o600);
        return { [Symbol.dispose]: () => database.close() };
      }
      await pause(POLL_MS);
    }
  } catch (err) {
    database.close();
    throw err;
  }
  database.close();
  return null;
}

function tryBegin(database: DatabaseSync): boolean {
  try {
    database.exec('BEGIN EXCLUSIVE');
    return true;
  } catch (err) {
    if ((err as { errcode?: number }).errcode === SQLITE_BUSY) return false;
    throw err;
  }
}
