import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { readConfig } from '../../src/config.js';
import { canLogIn, readPassword, withConnection, withCredentials } from '../../src/db/admin-connection.js';
import { openDatabase, type OpenDatabase } from '../../src/db/open-database.js';
import { roles } from '../../src/db/role-names.js';
import { createDataFolder } from '../support/data-folder.js';
import { hasDebianPostgres, startDebianPostgres, type DebianPostgres } from '../support/debian-postgres.js';
import { closeLogin, openNewLogin } from '../support/login-rotation.js';
import { openSession } from '../support/sql-session.js';
import { findFreePort } from '../support/test-server.js';

const log = pino({ level: 'silent' });

function open(url: string, dataDir: string): Promise<OpenDatabase> {
  return openDatabase(readConfig({ DATABASE_URL: url, DAYBOOK_DATA_DIR: dataDir }), { log, mode: 'attach' });
}

test('a server that does not answer is a passing condition, and its password stays out of the message', async () => {
  await using folder = await createDataFolder();
  const url = `postgresql://somebody:hidden@127.0.0.1:${await findFreePort()}/daybook`;
  await expect(open(url, folder.path)).rejects.toMatchObject({
    code: 'DATABASE_UNAVAILABLE',
    message: expect.not.stringContaining('hidden'),
  });
});

(hasDebianPostgres ? describe : describe.skip)('with an external PostgreSQL 15', () => {
  let server: DebianPostgres;

  beforeAll(async () => {
    server = await startDebianPostgres();
  });

  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  async function createDatabase(name: string, options: string): Promise<string> {
    await withConnection(server.url, (admin) => admin.query(`CREATE DATABASE ${name} ${options}`));
    return new URL(`/${name}`, server.url).href;
  }

  async function dropRoles(): Promise<void> {
    await withConnection(server.url, async (admin) => {
      const { rows } = await admin.query<{ datname: string }>(
        "SELECT datname FROM pg_database WHERE datname NOT IN ('template0', 'template1', 'postgres')",
      );
      for (const { datname } of rows) {
        await admin.query(`DROP DATABASE ${datname} WITH (FORCE)`);
      }
      await admin.query(`DROP ROLE IF EXISTS daybook_application_a, daybook_application_b, daybook_application,
        daybook_auditor, daybook_migrator, daybook_owner, daybook_attempt_writer, creator, plain`);
    });
  }

  test('a superuser gives every layer that version 15 has', async () => {
    await using folder = await createDataFolder();
    await using database = await open(
      await createDatabase('complete', "TEMPLATE template0 ENCODING 'UTF8'"),
      folder.path,
    );
    expect(database.kind).toBe('external');
    expect(database.missingLayers.map(({ name }) => name)).toEqual(['reserved-connections']);
    for (const url of Object.values({ ...database.urls })) {
      expect(await canLogIn(url)).toBe(true);
    }
    await dropRoles();
  });

  test('a user with CREATEROLE that owns the database separates the roles', async () => {
    await using folder = await createDataFolder();
    await withConnection(server.url, (admin) => admin.query("CREATE ROLE creator LOGIN CREATEROLE PASSWORD 'creator'"));
    const admin = await createDatabase('separate', 'OWNER creator');
    await using database = await open(withCredentials(admin, 'creator', 'creator'), folder.path);
    const names = database.missingLayers.map(({ name }) => name);
    expect(names).toEqual(['dblink', 'event-trigger', 'reserved-connections']);
    await withConnection(database.urls.migrator, (client) =>
      client.query('SET ROLE daybook_owner; CREATE TABLE made (value int)'),
    );
    // It rotates the application's login too.
    const next = await openNewLogin(database.urls.superuser, roles.otherApplication);
    await using _session = await openSession(next.url);
    expect(await closeLogin(database.urls.superuser, roles.otherApplication)).toBe(1);
    expect(await canLogIn(next.url)).toBe(false);
    await dropRoles();
  });

  test('a user that owns the database and nothing more runs everything itself', async () => {
    await using folder = await createDataFolder();
    await withConnection(server.url, (admin) => admin.query("CREATE ROLE plain LOGIN PASSWORD 'plain'"));
    const url = withCredentials(await createDatabase('single', 'OWNER plain'), 'plain', 'plain');
    await using database = await open(url, folder.path);
    expect(database.missingLayers.map(({ name }) => name)).toEqual(['role-separation', 'dblink', 'event-trigger']);
    expect(new Set(Object.values({ ...database.urls }))).toEqual(new Set([url]));
    await dropRoles();
  });

  test('a server whose access rules admit the administrator alone runs everything as the administrator', async () => {
    await using folder = await createDataFolder();
    const url = await createDatabase('barred', '');
    const rule = 'host all operator 127.0.0.1/32 scram-sha-256\n';
    await server.setAccessRules(rule);
    {
      await using database = await open(url, folder.path);
      expect(database.missingLayers[0]!.name).toBe('role-separation');
      expect(database.urls.application).toBe(url);
    }
    await server.setAccessRules(rule.replace('operator', 'all'));
    await using database = await open(url, folder.path);
    expect(database.missingLayers.map(({ name }) => name)).toEqual(['reserved-connections']);
    await dropRoles();
  });

  test('a server that asks for no password keeps the derived secret in the data folder', async () => {
    await using folder = await createDataFolder();
    const url = await createDatabase('trusted', '');
    await server.setAccessRules('host all all 127.0.0.1/32 trust\n');
    const without = new URL(url);
    without.password = '';
    const first = await open(without.href, folder.path);
    const second = await open(without.href, folder.path);
    expect(readPassword(first.urls.application)).toBe(readPassword(second.urls.application));
    await server.setAccessRules('host all all 127.0.0.1/32 scram-sha-256\n');
    expect(await canLogIn(second.urls.application)).toBe(true);
    await dropRoles();
  });

  test('a database in another encoding is refused', async () => {
    await using folder = await createDataFolder();
    const url = await createDatabase('latin', "TEMPLATE template0 ENCODING 'LATIN1'");
    await expect(open(url, folder.path)).rejects.toMatchObject({ code: 'DATABASE_UNSUPPORTED' });
    await dropRoles();
  });

  test('a wrong password or database name is an error of the configuration', async () => {
    await using folder = await createDataFolder();
    const wrongPassword = withCredentials(server.url, 'operator', 'wrong');
    await expect(open(wrongPassword, folder.path)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    const wrongName = new URL('/absent', server.url).href;
    await expect(open(wrongName, folder.path)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
