import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { migrationsList } from '../../migrations/index.js';
import { readPassword, withConnection } from '../../src/db/admin-connection.js';
import { migrateUp } from '../../src/db/migrate.js';
import { installRefusalLayers } from '../../src/db/refusal-layers.js';
import { deriveRoleUrls, provisionRoles, roles, type RoleUrls } from '../../src/db/roles.js';
import { getTestServer } from './test-server.js';

const TEMPLATE = 'daybook_template';
const TEMPLATE_LOCK = 1;
const log = pino({ level: 'silent' });

/** A migrated database of its own, dropped at disposal together with whatever is still connected. */
export interface TestDatabase extends AsyncDisposable {
  readonly name: string;
  readonly urls: RoleUrls;
}

/** Clones the template that the first caller of the test run makes. Takes about as long as a few queries. */
export async function createTestDatabase(): Promise<TestDatabase> {
  await ensureTemplate();
  const database = await createDatabase(TEMPLATE);
  await refreshAfterClone(database.urls);
  return database;
}

/** A copy of a database that nobody is connected to, catalogue rows with their xmin included. */
export async function copyTestDatabase(source: TestDatabase): Promise<TestDatabase> {
  const database = await createDatabase(source.name);
  await refreshAfterClone(database.urls);
  return database;
}

/** A database without anything in it, nor rights of the roles on it. */
export async function createEmptyDatabase(): Promise<TestDatabase> {
  return createDatabase('template0');
}

/** Puts right what a clone takes over from its template: the loop-back server still names the template. */
async function refreshAfterClone(urls: RoleUrls): Promise<void> {
  const [missing] = await installRefusalLayers(urls);
  if (missing !== undefined) {
    throw new Error(`the test database lacks ${missing.name}: ${missing.cause}`);
  }
}

async function createDatabase(template: string): Promise<TestDatabase> {
  const { adminUrl } = getTestServer();
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await withConnection(adminUrl, async (admin) => {
    await admin.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
    if (template !== 'template0') {
      // Rights on a database are not part of what is cloned.
      await admin.query(`GRANT CREATE, TEMPORARY ON DATABASE ${name} TO ${roles.owner}`);
    }
  });
  return {
    name,
    urls: urlsOf(name),
    [Symbol.asyncDispose]: () =>
      withConnection(adminUrl, async (admin) => {
        await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      }),
  };
}

async function ensureTemplate(): Promise<void> {
  await withConnection(getTestServer().adminUrl, async (admin) => {
    await admin.query('SELECT pg_advisory_lock($1)', [TEMPLATE_LOCK]);
    const { rows } = await admin.query('SELECT FROM pg_database WHERE datname = $1', [TEMPLATE]);
    if (rows.length > 0) {
      return;
    }
    const unfinished = `${TEMPLATE}_unfinished`;
    await admin.query(`DROP DATABASE IF EXISTS ${unfinished}`);
    await admin.query(`CREATE DATABASE ${unfinished} TEMPLATE template0`);
    const { superuser, migrator } = urlsOf(unfinished);
    await provisionRoles(superuser, readPassword(superuser)!, log);
    await migrateUp({ url: migrator, migrations: migrationsList, log });
    await refreshAfterClone(urlsOf(unfinished));
    await admin.query(`ALTER DATABASE ${unfinished} RENAME TO ${TEMPLATE}`);
  });
}

function urlsOf(database: string): RoleUrls {
  const adminUrl = new URL(`/${database}`, getTestServer().adminUrl).href;
  return deriveRoleUrls(adminUrl, readPassword(adminUrl)!);
}
