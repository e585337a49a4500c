import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Migration } from '@mikro-orm/migrations';
import { pino } from 'pino';
import { migrationsList } from '../../migrations/index.js';
import { canLogIn, readPassword, withConnection } from '../../src/db/admin-connection.js';
import { startEmbeddedPostgres } from '../../src/db/embedded-postgres.js';
import { migrateDown, migrateUp, type LedgerMigration } from '../../src/db/migrate.js';
import { readMigrationStatus, type MigrationStatus } from '../../src/db/migration-status.js';
import { provisionRoles } from '../../src/db/roles.js';
import { createDataFolder, type DataFolder } from '../support/data-folder.js';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { findFreePort } from '../support/test-server.js';
import { runScript, type Outcome } from '../support/run-script.js';

const log = pino({ level: 'silent' });
const names = migrationsList.map(({ name }) => name);

let folder: DataFolder;
let port: number;

beforeAll(async () => {
  folder = await createDataFolder();
  port = await findFreePort();
});

afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

function daybook(...args: string[]): Promise<Outcome> {
  return runScript('test/support/database-commands.ts', args, {
    DAYBOOK_DATA_DIR: folder.path,
    DAYBOOK_POSTGRES_PORT: String(port),
    DAYBOOK_LOG_LEVEL: 'error',
  });
}

class Migration9001Notes extends Migration {
  override up(): void {
    this.addSql('CREATE TABLE public.notes (id int PRIMARY KEY, text text)');
    this.addSql(
      "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$",
    );
    this.addSql(
      'CREATE TRIGGER refuse_update BEFORE UPDATE ON public.notes FOR EACH ROW EXECUTE FUNCTION public.refuse()',
    );
    this.addSql('ALTER TABLE public.notes ENABLE ALWAYS TRIGGER refuse_update');
    this.addSql('GRANT SELECT, INSERT, UPDATE ON public.notes TO daybook_application');
  }

  override down(): void {
    this.addSql('DROP TABLE public.notes; DROP FUNCTION public.refuse()');
  }
}

class Migration9002Broken extends Migration {
  override up(): void {
    this.addSql('CREATE TABLE public.half_done (id int)');
    this.addSql('SELECT 1 / 0');
  }
}

const notes: LedgerMigration = { name: '9001-notes', class: Migration9001Notes, evidenceTables: ['public.notes'] };
const broken: LedgerMigration = { name: '9002-broken', class: Migration9002Broken };

async function createPreparedDatabase(): Promise<TestDatabase> {
  const database = await createEmptyDatabase();
  await provisionRoles(database.urls.superuser, readPassword(database.urls.superuser)!, log);
  return database;
}

test('before the first start there is no URL to print', async () => {
  expect(await daybook('db-url')).toMatchObject({ exitCode: 1, stdout: '', stderr: 'CONFIG_INVALID\n' });
});

test('migrate up starts the database for its own time, and again finds nothing to do', async () => {
  const first = await daybook('migrate', 'up', '--json');
  expect(first).toMatchObject({ exitCode: 0, stderr: '' });
  expect(JSON.parse(first.stdout)).toEqual({ executed: names });
  const second = await daybook('migrate', 'up', '--json');
  expect(JSON.parse(second.stdout)).toEqual({ executed: [] });
});

test('db-url prints one URL, which works while the service runs and comes with a hint while it does not', async () => {
  const idle = await daybook('db-url');
  expect(idle).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('npm start') });
  expect(idle.stdout).toMatch(/^postgresql:\/\/daybook_migrator:\S+\/daybook\n$/);

  await using server = await startEmbeddedPostgres({ dataDir: folder.path, port, log });
  expect(server.port).toBe(port);
  for (const role of ['application', 'auditor', 'migrator', 'superuser']) {
    const { stdout, stderr } = await daybook('db-url', '--role', role);
    expect(stderr).toBe('');
    expect(await canLogIn(stdout.trim())).toBe(true);
  }
});

test('migrate status lists what the catalogue holds, for people and for programs', async () => {
  const { stdout } = await daybook('migrate', 'status', '--json');
  const status = JSON.parse(stdout) as MigrationStatus;
  expect(status.executed.map(({ name }) => name)).toEqual(names);
  expect(status).toMatchObject({ pending: [], unknown: [] });
  const signals = status.tables.find(({ name }) => name === 'public.signals')!;
  expect(signals.columns).toContainEqual({
    name: 'server_timestamp',
    type: 'timestamp with time zone',
    nullable: false,
  });
  expect(signals.triggers.length).toBeGreaterThan(0);
  expect(new Set(signals.triggers.map(({ state }) => state))).toEqual(new Set(['always']));
  expect((await daybook('migrate', 'status')).stdout).toContain('Table public.signals');
});

test('an empty ledger is undone, and made again', async () => {
  const down = await daybook('migrate', 'down', '--json');
  expect(down).toMatchObject({ exitCode: 0, stdout: `${JSON.stringify({ undone: names.at(-1) })}\n` });
  const up = await daybook('migrate', 'up', '--json');
  expect(JSON.parse(up.stdout)).toEqual({ executed: names.slice(-1) });
});

test('nodes that migrate one database at once run each migration once', async () => {
  await using database = await createPreparedDatabase();
  const input = { url: database.urls.migrator, migrations: [notes], log };
  const executed = await Promise.all([migrateUp(input), migrateUp(input), migrateUp(input)]);
  expect(executed.flat()).toEqual(['9001-notes']);
});

test('a migration that fails leaves none of its batch behind', async () => {
  await using database = await createPreparedDatabase();
  const url = database.urls.migrator;
  await expect(migrateUp({ url, migrations: [notes, broken], log })).rejects.toThrow();
  const { executed, pending, tables } = await readMigrationStatus(url, ['9001-notes', '9002-broken']);
  expect({ executed, pending }).toEqual({ executed: [], pending: ['9001-notes', '9002-broken'] });
  expect(tables.filter(({ name }) => !name.includes('migrations'))).toEqual([]);
});

test('what a migration makes belongs to the owner, who cannot log in', async () => {
  await using database = await createPreparedDatabase();
  await migrateUp({ url: database.urls.migrator, migrations: [notes], log });
  const owners = await withConnection(database.urls.superuser, async (admin) => {
    const { rows } = await admin.query("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'");
    return rows as unknown;
  });
  expect(owners).toEqual([{ tableowner: 'daybook_owner' }]);
});

test('undoing is refused while a table of evidence has rows, and leaves them', async () => {
  await using database = await createPreparedDatabase();
  const { migrator, application } = database.urls;
  const input = { url: migrator, migrations: [notes], log };
  await migrateUp(input);
  await withConnection(application, (client) => client.query("INSERT INTO notes VALUES (1, 'kept')"));
  await expect(migrateDown(input)).rejects.toMatchObject({ code: 'MIGRATION_REFUSED' });
  const { rows } = await withConnection(application, (client) => client.query('SELECT text FROM notes'));
  expect(rows).toEqual([{ text: 'kept' }]);
});

test('undoing a ledger with one entry is refused by the database itself', async () => {
  await using database = await createTestDatabase();
  await withConnection(database.urls.application, (client) =>
    client.query(
      `INSERT INTO audit_entries (category, event, actor, resource) VALUES ('ADMIN', 'Tested', 'test', 'ledger')`,
    ),
  );
  const input = { url: database.urls.migrator, migrations: migrationsList, log };
  for (const name of names.slice(1).reverse()) expect(await migrateDown(input)).toBe(name);
  await expect(migrateDown(input)).rejects.toMatchObject({ code: 'MIGRATION_REFUSED' });
  const status = await readMigrationStatus(database.urls.auditor, names);
  expect(status.executed.map(({ name }) => name)).toEqual(['0001-ledger']);
});

test('a database that a newer version migrated says so, and its last migration is not undone', async () => {
  await using database = await createPreparedDatabase();
  const url = database.urls.migrator;
  await migrateUp({ url, migrations: [notes], log });
  expect(await readMigrationStatus(url, ['0000-older'])).toMatchObject({
    unknown: ['9001-notes'],
    pending: ['0000-older'],
  });
  await expect(migrateDown({ url, migrations: [], log })).rejects.toMatchObject({ code: 'MIGRATION_REFUSED' });
});

test('a disabled trigger shows as disabled', async () => {
  await using database = await createPreparedDatabase();
  const url = database.urls.migrator;
  await migrateUp({ url, migrations: [notes], log });
  const readTriggers = async () =>
    (await readMigrationStatus(url, [])).tables.find(({ name }) => name === 'public.notes')!.triggers;
  expect(await readTriggers()).toEqual([{ name: 'refuse_update', state: 'always' }]);
  await withConnection(database.urls.superuser, (admin) =>
    admin.query('ALTER TABLE notes DISABLE TRIGGER refuse_update'),
  );
  expect(await readTriggers()).toEqual([{ name: 'refuse_update', state: 'disabled' }]);
});
