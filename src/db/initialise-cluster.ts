import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { chown, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Logger } from 'pino';
import { DaybookError } from '../errors.js';
import type { ProgramLauncher } from './postgres-account.js';
import { isInitialised, type PostgresFolder } from './postgres-folder.js';
import { readOrCreateSecretFile, readSecretFile } from './secret-file.js';
import { scramVerifier } from './scram.js';

const INITDB_TIMEOUT_MS = 120_000;
const UNFINISHED = 'data.unfinished-';

export interface ClusterInput {
  readonly folder: PostgresFolder;
  readonly initdb: string;
  readonly launcher: ProgramLauncher;
  readonly log: Logger;
  readonly signal: AbortSignal | undefined;
}

/**
 * Makes sure that a cluster and its administrator's password exist, and returns the password. initdb works in a folder of
 * its own that is renamed when it is complete, so a crash anywhere leaves no cluster, never half of one.
 * Throws DATABASE_START_FAILED.
 */
export async function initialiseCluster(input: ClusterInput): Promise<string> {
  const { folder } = input;
  if (await isInitialised(folder)) {
    const password = await readSecretFile(folder.passwordFile);
    if (password === null) {
      throw new DaybookError(
        'DATABASE_START_FAILED',
        `The database in ${folder.data} is there but ${folder.passwordFile} with its administrator's password is not. Put the file back from a backup of the data folder.`,
      );
    }
    return password;
  }
  // Crash after this: the next start finds the password and uses it.
  const password = await readOrCreateSecretFile(folder.passwordFile);
  await removeUnfinished(folder, input.log);
  const staging = join(folder.root, `${UNFINISHED}${randomUUID()}`);
  // Crash before the rename: an unfinished folder, which the next start removes.
  await runInitdb(input, staging, password);
  await appendInclude(staging);
  await rename(staging, folder.data);
  await syncFolder(folder.root);
  return password;
}

async function runInitdb(input: ClusterInput, staging: string, password: string): Promise<void> {
  const { folder, launcher, log, signal } = input;
  // The other user reads this file, so it holds the verifier; the server stores it as it is.
  const passwordFile = `${staging}.verifier`;
  const file = await open(passwordFile, 'wx', 0o600);
  await file.writeFile(scramVerifier(password));
  await file.close();
  await mkdir(staging, { mode: 0o700 });
  if (launcher.account !== null) {
    await chown(passwordFile, launcher.account.uid, launcher.account.gid);
    await chown(staging, launcher.account.uid, launcher.account.gid);
  }
  log.info({ folder: folder.data }, 'creating the embedded database');
  try {
    const encoding = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
    const access = ['--username=postgres', '--auth=scram-sha-256', `--pwfile=${passwordFile}`];
    const child = launcher.launch(
      input.initdb,
      ['--no-instructions', '--data-checksums', ...encoding, ...access, `--pgdata=${staging}`],
      { stdio: ['ignore', 'pipe', 'pipe'], detached: false },
    );
    const limit = AbortSignal.any([AbortSignal.timeout(INITDB_TIMEOUT_MS), ...(signal ? [signal] : [])]);
    const end = () => child.kill('SIGTERM');
    limit.addEventListener('abort', end);
    const exit = new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve));
    const [code, output, errors] = await Promise.all([exit, text(child.stdout!), text(child.stderr!)]);
    limit.removeEventListener('abort', end);
    signal?.throwIfAborted();
    if (code !== 0) {
      throw new DaybookError('DATABASE_START_FAILED', `initdb failed in ${folder.root}:\n${output}${errors}`.trim());
    }
  } finally {
    await rm(passwordFile);
  }
}

/** Relative, so that the data folder can be moved. No symbolic link is followed: the folder belongs to another user. */
async function appendInclude(staging: string): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW;
  const file = await open(join(staging, 'postgresql.conf'), flags);
  try {
    await file.writeFile("\ninclude = '../daybook.conf'\n");
    await file.sync();
  } finally {
    await file.close();
  }
}

async function removeUnfinished(folder: PostgresFolder, log: Logger): Promise<void> {
  const names = await readdir(folder.root);
  for (const name of names.filter((entry) => entry.startsWith(UNFINISHED))) {
    try {
      await rm(join(folder.root, name), { recursive: true, force: true });
    } catch (err) {
      // An initdb that outlived its killed parent still writes there; a later start removes the rest.
      log.warn({ err, name }, 'an unfinished database folder could not be removed');
    }
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
