import { mkdir, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import { canLogIn, withConnection, withCredentials } from '../../src/db/admin-connection.js';
import { attachEmbeddedPostgres } from '../../src/db/attach-embedded-postgres.js';
import { startEmbeddedPostgres } from '../../src/db/embedded-postgres.js';
import { createDataFolder } from '../support/data-folder.js';
import { findFreePort, getTestServer } from '../support/test-server.js';

const log = pino({ level: 'silent' });

async function readSettings(url: string, names: readonly string[]): Promise<Record<string, string>> {
  return withConnection(url, async (client) => {
    const { rows } = await client.query<{ name: string; setting: string }>(
      'SELECT name, current_setting(name) AS setting FROM unnest($1::text[]) AS name',
      [names],
    );
    return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
  });
}

test('the server flushes what it acknowledges, keeps its times in UTC and listens on loopback only', async () => {
  const { adminUrl } = getTestServer();
  const expected = {
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    data_checksums: 'on',
    server_encoding: 'UTF8',
    TimeZone: 'UTC',
    log_timezone: 'UTC',
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    password_encryption: 'scram-sha-256',
    reserved_connections: '3',
    shared_buffers: '256MB',
  };
  expect(await readSettings(adminUrl, Object.keys(expected))).toEqual(expected);
});

test('nobody gets in without the right password', async () => {
  const { adminUrl } = getTestServer();
  expect(await canLogIn(adminUrl)).toBe(true);
  expect(await canLogIn(withCredentials(adminUrl, 'postgres', 'wrong'))).toBe(false);
  expect(await canLogIn(withCredentials(adminUrl, 'nobody', 'wrong'))).toBe(false);
});

test('data and password are readable by their owners only', async () => {
  const root = join(getTestServer().dataDir, 'postgres');
  const modes = await Promise.all(
    ['data', 'log', 'superuser-password', 'startup.log'].map(
      async (name) => (await stat(join(root, name))).mode & 0o077,
    ),
  );
  expect(modes).toEqual([0, 0, 0, 0]);
});

test('a stopped server keeps its rows and password, and starts again on another port', async () => {
  await using folder = await createDataFolder();
  const first = await startEmbeddedPostgres({ dataDir: folder.path, port: await findFreePort(), log });
  await withConnection(first.url, (client) => client.query('CREATE TABLE kept AS SELECT 7 AS value'));
  await Promise.all([first.stop(), first.stop()]);

  await using second = await startEmbeddedPostgres({ dataDir: folder.path, port: await findFreePort(), log });
  const { rows } = await withConnection(second.url, (client) => client.query('SELECT value FROM kept'));
  expect(rows).toEqual([{ value: 7 }]);
  expect(second.adopted).toBe(false);
  expect(new URL(second.url).password).toBe(new URL(first.url).password);
});

test('a second service on the data folder is told which process has it', async () => {
  const { dataDir, port } = getTestServer();
  await expect(startEmbeddedPostgres({ dataDir, port, log })).rejects.toMatchObject({
    code: 'DATA_DIR_IN_USE',
    details: { dataDir, pid: expect.any(Number) },
  });
});

test('a command uses the server of a running service and leaves it running', async () => {
  const { dataDir, adminUrl, port } = getTestServer();
  const attached = await attachEmbeddedPostgres({ dataDir, port: await findFreePort(), log });
  expect(attached).toMatchObject({ adopted: true, port, url: adminUrl });
  await attached.stop();
  expect(await canLogIn(adminUrl)).toBe(true);
});

test('two commands without a service each get a server, one after the other', async () => {
  await using folder = await createDataFolder();
  const port = await findFreePort();
  const command = async () => {
    await using server = await attachEmbeddedPostgres({ dataDir: folder.path, port, log });
    expect(server.adopted).toBe(false);
    return await canLogIn(server.url);
  };
  expect(await Promise.all([command(), command()])).toEqual([true, true]);
});

test('a taken port is named together with the variable that changes it, and frees the data folder', async () => {
  await using folder = await createDataFolder();
  const occupant = createServer().listen(0, '127.0.0.1');
  await once(occupant, 'listening');
  const { port } = occupant.address() as { port: number };
  const start = () => startEmbeddedPostgres({ dataDir: folder.path, port, log });
  await expect(start()).rejects.toMatchObject({
    code: 'PORT_TAKEN',
    details: { port, variable: 'DAYBOOK_POSTGRES_PORT' },
  });
  occupant.close();
  await once(occupant, 'close');
  await using server = await start();
  expect(await canLogIn(server.url)).toBe(true);
});

test('a data folder that cannot be made is refused with the variable that names it', async () => {
  await using folder = await createDataFolder();
  await writeFile(folder.path, 'a file, not a folder');
  const start = startEmbeddedPostgres({ dataDir: join(folder.path, 'below'), port: await findFreePort(), log });
  await expect(start).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

test('a server below a folder that its user may not enter starts and loads its libraries', async () => {
  await using folder = await createDataFolder({ closed: true });
  await using server = await startEmbeddedPostgres({ dataDir: folder.path, port: await findFreePort(), log });
  const { rows } = await withConnection(server.url, async (client) => {
    await client.query('CREATE EXTENSION dblink; CREATE EXTENSION pgcrypto');
    return client.query("SELECT encode(digest('', 'sha256'), 'hex') AS hash");
  });
  expect(rows).toEqual([{ hash: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' }]);
});

test('what a broken first start left behind is removed by the next one', async () => {
  await using folder = await createDataFolder();
  const leftover = join(folder.path, 'postgres', 'data.unfinished-by-a-crash');
  await mkdir(join(leftover, 'global'), { recursive: true });
  await using server = await startEmbeddedPostgres({ dataDir: folder.path, port: await findFreePort(), log });
  expect(await canLogIn(server.url)).toBe(true);
  expect((await readdir(join(folder.path, 'postgres'))).filter((name) => name.includes('unfinished'))).toEqual([]);
});

test('an aborted start leaves neither a server nor a locked folder', async () => {
  await using folder = await createDataFolder();
  const port = await findFreePort();
  const aborted = startEmbeddedPostgres({ dataDir: folder.path, port, log, signal: AbortSignal.timeout(50) });
  await expect(aborted).rejects.toMatchObject({ name: 'TimeoutError' });
  await using server = await startEmbeddedPostgres({ dataDir: folder.path, port, log });
  expect(await canLogIn(server.url)).toBe(true);
});

test('a database without its password file is not opened, and says which file is missing', async () => {
  await using folder = await createDataFolder();
  const input = { dataDir: folder.path, port: await findFreePort(), log };
  await (await startEmbeddedPostgres(input)).stop();
  const file = join(folder.path, 'postgres', 'superuser-password');
  await rename(file, `${file}.away`);
  await expect(startEmbeddedPostgres(input)).rejects.toMatchObject({ code: 'DATABASE_START_FAILED' });
});
