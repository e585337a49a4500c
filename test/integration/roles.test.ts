import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { pino } from 'pino';
import { canLogIn, readPassword, sqlState, withConnection, withCredentials } from '../../src/db/admin-connection.js';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/db/embedded-postgres.js';
import { postgresFolder } from '../../src/db/postgres-folder.js';
import { provisionRoles, type RoleLayout } from '../../src/db/roles.js';
import { createDataFolder, type DataFolder } from '../support/data-folder.js';
import { findFreePort } from '../support/test-server.js';

const log = pino({ level: 'silent' });

let folder: DataFolder;
let server: EmbeddedPostgres;

beforeAll(async () => {
  folder = await createDataFolder();
  server = await startEmbeddedPostgres({ dataDir: folder.path, port: await findFreePort(), log });
  await withConnection(server.url, (admin) => admin.query('CREATE DATABASE daybook'));
});

afterAll(async () => {
  await server.stop();
  await folder[Symbol.asyncDispose]();
});

function databaseUrl(name: string): string {
  return new URL(`/${name}`, server.url).href;
}

function provision(database = 'daybook'): Promise<RoleLayout> {
  return provisionRoles(databaseUrl(database), readPassword(server.url)!, log);
}

/** The SQLSTATE by which the server refuses the statement, or null when it does not. */
async function readRefusal(url: string, statement: string): Promise<string | null> {
  try {
    await withConnection(url, (client) => client.query(statement));
    return null;
  } catch (err) {
    return sqlState(err) ?? 'no SQLSTATE';
  }
}

/** Changes with any row of the catalogue that provisioning may touch. */
async function readCatalogueVersion(): Promise<unknown> {
  return withConnection(databaseUrl('daybook'), async (admin) => {
    const { rows } = await admin.query(`SELECT
      (SELECT array_agg(xmin::text ORDER BY oid) FROM pg_authid) AS roles,
      (SELECT array_agg(xmin::text ORDER BY oid) FROM pg_auth_members) AS members,
      (SELECT array_agg(xmin::text ORDER BY oid) FROM pg_database) AS databases,
      (SELECT array_agg(xmin::text ORDER BY oid) FROM pg_namespace WHERE nspname !~ '^pg_t') AS schemas,
      (SELECT array_agg(xmin::text ORDER BY oid) FROM pg_proc WHERE pronamespace = 'daybook'::regnamespace) AS functions`);
    return rows[0] as unknown;
  });
}

test('nodes that provision four databases of one server at once all succeed and lack no layer', async () => {
  const others = ['first', 'second', 'third'];
  await withConnection(server.url, async (admin) => {
    for (const name of others) {
      await admin.query(`CREATE DATABASE ${name}`);
    }
  });
  const layouts = await Promise.all(['daybook', 'daybook', ...others].map((name) => provision(name)));
  expect(layouts.map(({ missingLayers }) => missingLayers)).toEqual([[], [], [], [], []]);
});

test('each role logs in with a password of its own', async () => {
  const { urls } = await provision();
  for (const url of Object.values({ ...urls })) {
    expect(await canLogIn(url)).toBe(true);
  }
  expect(new Set(Object.values({ ...urls }).map(readPassword)).size).toBe(5);
});

test('a prepared server is only read', async () => {
  await provision();
  const before = await readCatalogueVersion();
  await provision();
  expect(await readCatalogueVersion()).toEqual(before);
});

test('only the migrator acts as the owner, and nobody but the administrator drops the database', async () => {
  const { urls } = await provision();
  expect(await readRefusal(urls.migrator, 'SET ROLE daybook_owner')).toBeNull();
  expect(await readRefusal(urls.application, 'SET ROLE daybook_owner')).toBe('42501');
  expect(await readRefusal(urls.auditor, 'SET ROLE daybook_owner')).toBe('42501');
  expect(await readRefusal(urls.attemptWriter, 'SET ROLE daybook_owner')).toBe('42501');
  expect(await readRefusal(urls.application, 'CREATE TABLE mine (value int)')).toBe('42501');
  expect(await readRefusal(urls.auditor, 'CREATE TEMP TABLE mine (value int)')).toBe('25006');
  const elsewhere = withCredentials(databaseUrl('first'), 'daybook_migrator', readPassword(urls.migrator)!);
  expect(await readRefusal(elsewhere, 'DROP DATABASE daybook')).toBe('42501');
});

test('nobody but the owner calls dblink, and nobody logs in without a password through it', async () => {
  const { urls } = await provision();
  const call = "SELECT daybook.dblink_exec('nowhere', 'SELECT 1')";
  expect(await readRefusal(urls.application, call)).toBe('42501');
  expect(await readRefusal(urls.auditor, call)).toBe('42501');
  // 08001: it may, but there is no such server.
  expect(await readRefusal(urls.migrator, call)).not.toBe('42501');
  expect(await readRefusal(urls.superuser, "SELECT daybook.dblink_connect_u('nowhere')")).toBe('42883');
});

test('a changed password is set back, and no password ever reaches the server log', async () => {
  const { urls } = await provision();
  await withConnection(urls.superuser, (admin) => admin.query("ALTER ROLE daybook_auditor PASSWORD 'changed'"));
  expect(await canLogIn(urls.auditor)).toBe(false);
  await provision();
  expect(await canLogIn(urls.auditor)).toBe(true);

  const { log: logFolder } = postgresFolder(folder.path);
  const texts = await Promise.all((await readdir(logFolder)).map((name) => readFile(join(logFolder, name), 'utf8')));
  const text = texts.join('\n');
  expect(text).toContain('ALTER ROLE daybook_auditor');
  for (const url of Object.values({ ...urls })) {
    expect(text).not.toContain(readPassword(url));
  }
});

test('the record of a refused modification finds a connection when all others are used', async () => {
  const { urls } = await provision();
  const used: pg.Client[] = [];
  try {
    for (;;) {
      const client = new pg.Client(urls.application);
      client.on('error', () => undefined);
      await client.connect();
      used.push(client);
    }
  } catch (err) {
    expect(sqlState(err)).toBe('53300');
  }
  try {
    expect(await canLogIn(urls.attemptWriter)).toBe(true);
  } finally {
    await Promise.all(used.map((client) => client.end()));
  }
});

describe('with an administrator that may create roles but is no superuser', () => {
  test('roles of its own are made, and the layers that need a superuser are named', async () => {
    await using other = await createDataFolder();
    await using fresh = await startEmbeddedPostgres({ dataDir: other.path, port: await findFreePort(), log });
    await withConnection(fresh.url, async (admin) => {
      await admin.query("CREATE ROLE operator LOGIN CREATEROLE PASSWORD 'operator'");
      await admin.query('CREATE DATABASE theirs OWNER operator');
    });
    const url = withCredentials(new URL('/theirs', fresh.url).href, 'operator', 'operator');
    const { urls, missingLayers } = await provisionRoles(url, 'operator', log);
    expect(missingLayers.map(({ name }) => name)).toEqual(['dblink', 'event-trigger', 'reserved-connections']);
    expect(await readRefusal(urls.migrator, 'SET ROLE daybook_owner; CREATE TABLE made (value int)')).toBeNull();
    expect(await readRefusal(urls.application, 'SET ROLE daybook_owner')).toBe('42501');
    expect(await readRefusal(urls.superuser, 'SET ROLE daybook_owner')).toBeNull();
  });

  test('roles that somebody else administers are not taken over', async () => {
    await provision();
    await withConnection(server.url, async (admin) => {
      await admin.query("CREATE ROLE operator LOGIN CREATEROLE PASSWORD 'operator'");
      await admin.query('CREATE DATABASE theirs OWNER operator');
    });
    const url = withCredentials(databaseUrl('theirs'), 'operator', 'operator');
    const { urls, missingLayers } = await provisionRoles(url, 'operator', log);
    expect(missingLayers[0]!.name).toBe('role-separation');
    expect(urls).toMatchObject({ application: url, migrator: url, superuser: url });
  });
});
