import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { withConnection } from '../../src/db/admin-connection.js';
import { findFreePort } from './test-server.js';
import { waitUntil } from './wait-until.js';

const run = promisify(execFile);
const PROGRAMS = '/usr/lib/postgresql/15/bin';

/** A PostgreSQL 15 that is not ours, as an operator would have one. */
export interface DebianPostgres extends AsyncDisposable {
  /** Of its superuser, to the database `postgres`. */
  readonly url: string;
  /** Replaces pg_hba.conf and has the server read it. */
  setAccessRules(text: string): Promise<void>;
}

export const hasDebianPostgres = existsSync(PROGRAMS);

if (!hasDebianPostgres) {
  // eslint-disable-next-line no-console -- a suite that is left out says so where nobody can miss it
  console.warn(
    `LEFT OUT: tests of an external PostgreSQL 15, for ${PROGRAMS} is missing (apt-get install postgresql-15).`,
  );
}

export async function startDebianPostgres(): Promise<DebianPostgres> {
  const folder = await mkdtemp(join(tmpdir(), 'daybook-debian-'));
  const account = process.getuid?.() === 0 ? await readAccount() : undefined;
  if (account !== undefined) {
    await chown(folder, account.uid, account.gid);
  }
  const data = join(folder, 'data');
  const passwordFile = join(folder, 'password');
  await writeFile(passwordFile, 'of-the-operator');
  await chmod(passwordFile, 0o644);
  const options = ['--no-sync', '-E', 'UTF8', '--locale=C', '-U', 'operator', '-A', 'scram-sha-256'];
  await run(join(PROGRAMS, 'initdb'), [...options, `--pwfile=${passwordFile}`, data], { ...account, cwd: folder });
  const port = await findFreePort();
  const settings = ['fsync=off', 'unix_socket_directories=', 'listen_addresses=127.0.0.1', `port=${port}`];
  const child = spawn(join(PROGRAMS, 'postgres'), ['-D', data, ...settings.flatMap((setting) => ['-c', setting])], {
    ...account,
    cwd: folder,
    stdio: 'ignore',
  });
  const url = `postgresql://operator:of-the-operator@127.0.0.1:${port}/postgres`;
  await waitUntil('PostgreSQL 15 accepts connections', () =>
    withConnection(url, () => Promise.resolve(true)).catch(() => false),
  );
  return {
    url,
    setAccessRules: async (text) => {
      await writeFile(join(data, 'pg_hba.conf'), text);
      await withConnection(url, (client) => client.query('SELECT pg_reload_conf()'));
    },
    [Symbol.asyncDispose]: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGINT');
      await exited;
      await rm(folder, { recursive: true, maxRetries: 5 });
    },
  };
}

async function readAccount(): Promise<{ uid: number; gid: number }> {
  const uid = await run('id', ['-u', 'postgres']);
  const gid = await run('id', ['-g', 'postgres']);
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}
