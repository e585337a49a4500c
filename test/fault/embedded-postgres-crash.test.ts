import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { withConnection } from '../../src/db/admin-connection.js';
import { attachEmbeddedPostgres } from '../../src/db/attach-embedded-postgres.js';
import { startEmbeddedPostgres } from '../../src/db/embedded-postgres.js';
import { postgresFolder } from '../../src/db/postgres-folder.js';
import { listProcessesOn, readRunningPostmaster } from '../../src/db/postmaster.js';
import { createDataFolder } from '../support/data-folder.js';
import { findFreePort } from '../support/test-server.js';
import { waitUntil } from '../support/wait-until.js';

const log = pino({ level: 'silent' });
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) {
    child.kill('SIGKILL');
  }
});

/** A process that runs the embedded server, to be killed. */
function spawnService(dataDir: string, port: number): ChildProcess {
  const script = join(import.meta.dirname, '../support/embedded-postgres-process.ts');
  const hooks = join(import.meta.dirname, '../support/typescript-hooks.js');
  const child = spawn(process.execPath, ['--import', hooks, script, dataDir, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return child;
}

async function startService(dataDir: string, port: number): Promise<{ child: ChildProcess; url: string }> {
  const child = spawnService(dataDir, port);
  let output = '';
  child.stdout!.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await waitUntil('the service has printed its URL or ended', () => output.endsWith('\n') || child.exitCode !== null);
  expect(child.exitCode).toBeNull();
  return { child, url: output.trim() };
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

async function readKept(url: string): Promise<unknown> {
  return withConnection(url, async (client) => (await client.query('SELECT value FROM kept')).rows as unknown);
}

async function keep(url: string): Promise<void> {
  await withConnection(url, (client) => client.query('CREATE TABLE kept AS SELECT 7 AS value'));
}

test('a killed postmaster is started again by the service, without a row it acknowledged being lost', async () => {
  await using folder = await createDataFolder();
  await using server = await startEmbeddedPostgres({ dataDir: folder.path, port: await findFreePort(), log });
  const { data } = postgresFolder(folder.path);
  await keep(server.url);
  const first = (await readRunningPostmaster(data))!.pid;
  process.kill(first, 'SIGKILL');
  const again = await waitUntil('another server is ready', async () => {
    const running = await readRunningPostmaster(data);
    return running !== null && running.pid !== first && running.ready;
  });
  expect(again).toBe(true);
  expect(await readKept(server.url)).toEqual([{ value: 7 }]);
});

test('a service that is stopped while its server is down does not start it again', async () => {
  await using folder = await createDataFolder();
  const server = await startEmbeddedPostgres({ dataDir: folder.path, port: await findFreePort(), log });
  const { data } = postgresFolder(folder.path);
  process.kill((await readRunningPostmaster(data))!.pid, 'SIGKILL');
  await server.stop();
  await waitUntil('no process is left', async () => (await listProcessesOn(data)).length === 0);
});

test('a killed service leaves a server that a command uses and the next service takes over', async () => {
  await using folder = await createDataFolder();
  const port = await findFreePort();
  const { child, url } = await startService(folder.path, port);
  await keep(url);
  await kill(child);
  const orphan = await readRunningPostmaster(postgresFolder(folder.path).data);
  expect(orphan).toMatchObject({ port, ready: true });

  const command = await attachEmbeddedPostgres({ dataDir: folder.path, port: await findFreePort(), log });
  expect(command).toMatchObject({ adopted: true, port });
  expect(await readKept(command.url)).toEqual([{ value: 7 }]);
  await command.stop();

  await using server = await startEmbeddedPostgres({ dataDir: folder.path, port, log });
  expect(await readKept(server.url)).toEqual([{ value: 7 }]);
  const running = await readRunningPostmaster(postgresFolder(folder.path).data);
  expect(running!.pid).not.toBe(orphan!.pid);
});

test('service and postmaster killed at once, with a session still open, recover on the next start', async () => {
  await using folder = await createDataFolder();
  const port = await findFreePort();
  const { child, url } = await startService(folder.path, port);
  await keep(url);
  const busy = withConnection(url, (client) => client.query('SELECT pg_sleep(600)')).catch(() => 'cut off');
  await waitUntil('the session is busy', () =>
    withConnection(url, async (client) => {
      const { rows } = await client.query("SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'");
      return rows.length > 0;
    }),
  );
  process.kill((await readRunningPostmaster(postgresFolder(folder.path).data))!.pid, 'SIGKILL');
  await kill(child);
  await using server = await startEmbeddedPostgres({ dataDir: folder.path, port, log });
  expect(await readKept(server.url)).toEqual([{ value: 7 }]);
  expect(await busy).toBe('cut off');
});

test('a process killed in the middle of initdb leaves nothing that the next start trips over', async () => {
  await using folder = await createDataFolder();
  const port = await findFreePort();
  const child = spawnService(folder.path, port);
  const { root, data } = postgresFolder(folder.path);
  await waitUntil('initdb is at work', async () => {
    const names = await readdir(root).catch(() => []);
    const staging = names.find((name) => name.startsWith('data.unfinished-') && !name.endsWith('.verifier'));
    return staging !== undefined && (await readdir(join(root, staging))).includes('global');
  });
  await kill(child);
  expect(await readdir(root)).not.toContain('data');

  await using server = await startEmbeddedPostgres({ dataDir: folder.path, port, log });
  await keep(server.url);
  expect(await readRunningPostmaster(data)).toMatchObject({ ready: true });
});

test('a postmaster.pid whose number another program got since is not taken for a server', async () => {
  await using folder = await createDataFolder();
  const input = { dataDir: folder.path, port: await findFreePort(), log };
  await (await startEmbeddedPostgres(input)).stop();
  const { data } = postgresFolder(folder.path);
  const stale = [process.pid, data, 1, input.port, '', '127.0.0.1', '        1         1', 'ready   ', ''].join('\n');
  await writeFile(join(data, 'postmaster.pid'), stale);
  await using server = await startEmbeddedPostgres(input);
  await keep(server.url);
  expect(await readRunningPostmaster(data)).toMatchObject({ ready: true });
});

test('a damaged data folder fails with what the server wrote, and without waiting for the limit', async () => {
  await using folder = await createDataFolder();
  const input = { dataDir: folder.path, port: await findFreePort(), log };
  await (await startEmbeddedPostgres(input)).stop();
  const { data } = postgresFolder(folder.path);
  await rm(join(data, 'global', 'pg_control'));
  await mkdir(join(data, 'global', 'pg_control'));
  await expect(startEmbeddedPostgres(input)).rejects.toMatchObject({
    code: 'DATABASE_START_FAILED',
    message: expect.stringContaining('pg_control'),
  });
});
