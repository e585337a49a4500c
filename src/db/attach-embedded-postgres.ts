import { setTimeout as pause } from 'node:timers/promises';
import { DaybookError } from '../errors.js';
import { dataDirInUse, readLockHolder, tryLockDataDir } from './data-dir-lock.js';
import {
  embeddedPostgres,
  startOnLockedFolder,
  type EmbeddedPostgres,
  type EmbeddedPostgresInput,
} from './embedded-postgres.js';
import { postgresFolder } from './postgres-folder.js';
import { readRunningPostmaster } from './postmaster.js';
import { readSecretFile } from './secret-file.js';

const POLL_MS = 50;
/** For a service that is just starting, and for another command to end. */
const WAIT_MS = 30_000;

/**
 * The server for one command. One that runs already is used and left running, whether a service holds the folder or a
 * killed one left it behind; otherwise one is started and stopped at the end. While another command holds the folder this
 * one waits, for that command will stop the server it uses.
 * Throws as startEmbeddedPostgres; DATA_DIR_IN_USE after 30 s of waiting.
 */
export async function attachEmbeddedPostgres(input: EmbeddedPostgresInput): Promise<EmbeddedPostgres> {
  const folder = postgresFolder(input.dataDir);
  for (let waitedMs = 0; waitedMs < WAIT_MS; waitedMs += POLL_MS) {
    input.signal?.throwIfAborted();
    const lock = await tryLockDataDir(input.dataDir, 'command');
    if (lock === null && (await readLockHolder(input.dataDir))?.purpose !== 'serve') {
      await pause(POLL_MS);
      continue;
    }
    const running = await readRunningPostmaster(folder.data);
    if (running?.ready) {
      const password = await readSecretFile(folder.passwordFile);
      if (password === null) {
        lock?.[Symbol.dispose]();
        throw new DaybookError(
          'DATABASE_START_FAILED',
          `${folder.passwordFile} is missing: put it back from a backup.`,
        );
      }
      return embeddedPostgres({ port: running.port, password, adopted: true }, () => {
        lock?.[Symbol.dispose]();
        return Promise.resolve();
      });
    }
    if (lock !== null) {
      return startOnLockedFolder(input, lock);
    }
    await pause(POLL_MS);
  }
  throw await dataDirInUse(input.dataDir);
}
