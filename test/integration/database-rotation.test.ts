import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { canLogIn, readPassword, withConnection, withCredentials } from '../../src/db/admin-connection.js';
import { tryLogin } from '../../src/db/application-logins.js';
import { Login } from '../../src/db/login.js';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import { roles } from '../../src/db/role-names.js';
import { deriveRoleUrls } from '../../src/db/roles.js';
import { readStoredLogin } from '../../src/open-ledger-database.js';
import { LoginFollower } from '../../src/secrets/application-login.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { sessionsOf, startOwnServer, type OwnServer } from '../support/login-rotation.js';
import { RotatedSecret } from '../support/rotation-calls.js';
import { runScript } from '../support/run-script.js';
import { openSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const log = pino({ level: 'silent' });
/** Of every node here, so that each can open what another one sealed. */
const DAYBOOK_MASTER_KEY = '5c'.repeat(32);
const environment = { DAYBOOK_JOBS: 'off', DAYBOOK_MASTER_KEY };

let server: OwnServer;
let database: TestDatabase;
let service: TestService;
let secret: RotatedSecret;

beforeAll(async () => {
  server = await startOwnServer();
  const urls = deriveRoleUrls(server.adminUrl, readPassword(server.adminUrl) ?? '');
  database = { name: 'daybook', urls, [Symbol.asyncDispose]: () => Promise.resolve() };
  service = await startTestService({ database, environment });
  secret = new RotatedSecret(service, 'DATABASE', 'application');
  await secret.setGrace(3_600);
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

afterEach(async () => {
  await expectLedgerIntact(database.urls.auditor);
});

const urlInForce = () => service.context.login.url;
const roleInForce = () => service.context.login.role;
const otherRole = () => (roleInForce() === roles.application ? roles.otherApplication : roles.application);
const asSuperuser = (sql: string) => withConnection(server.adminUrl, (admin) => admin.query(sql));

/** A rotation, and the end of its grace period. */
async function rotateToEnd(newValue?: string): Promise<void> {
  const { id, status } = await secret.rotate(newValue);
  expect(status).toBe('ROTATED');
  await secret.endGrace(id);
  await secret.untilStatus(id, 'REVOKED');
}

async function expectNothingChanged(before: string): Promise<void> {
  expect(urlInForce()).toBe(before);
  expect(await tryLogin(before)).toEqual({ works: true });
  await secret.runDue();
  await waitUntil('the other login is closed', async () => {
    const { rows } = await asSuperuser(`SELECT rolcanlogin FROM pg_roles WHERE rolname = '${otherRole()}'`);
    return rows[0]?.rolcanlogin === false;
  });
}

test('the login is registered with its password, and its rotation leaves the former one valid for its grace period', async () => {
  const first = urlInForce();
  expect(await secret.read()).toMatchObject({ value: readPassword(first), facts: { role: roles.application } });
  const rotation = await secret.rotate();
  expect(rotation.steps.map(({ status }) => status)).toEqual([
    'PLANNED',
    'STAGED',
    'APPLYING',
    'APPLIED',
    'VERIFIED',
    'ROTATED',
  ]);
  const second = urlInForce();
  expect(roleInForce()).toBe(roles.otherApplication);
  expect(await secret.read()).toMatchObject({ value: readPassword(second), facts: { role: roles.otherApplication } });
  expect(await Promise.all([canLogIn(first), canLogIn(second)])).toEqual([true, true]);
  await secret.endGrace(rotation.id);
  await secret.untilStatus(rotation.id, 'REVOKED');
  expect(await Promise.all([canLogIn(first), canLogIn(second)])).toEqual([false, true]);
  expect(await sessionsOf(server.adminUrl, roles.application)).toEqual([]);
});

test('a given password is taken, and a weak one is refused without a trace of it', async () => {
  const before = urlInForce();
  const weak = await secret.rotate('correct horse');
  expect(weak).toMatchObject({ status: 'FAILED' });
  expect(JSON.stringify(await secret.get(weak.id))).not.toContain('horse');
  await expectNothingChanged(before);
  const given = 'given-by-the-operator-0123456789';
  await rotateToEnd(given);
  expect(readPassword(urlInForce())).toBe(given);
});

describe('a rotation fails, and login and role in force are untouched,', () => {
  test.each([
    ['where the server takes the password and lets nobody in', "VALID UNTIL '2001-01-01'", "VALID UNTIL 'infinity'"],
    ['where the login may do more than the application', 'CREATEDB', 'NOCREATEDB'],
  ])('%s', async (_, lie, truth) => {
    const before = urlInForce();
    await asSuperuser(`ALTER ROLE ${otherRole()} ${lie}`);
    const { id } = await secret.rotate();
    expect(await secret.get(id)).toMatchObject({ status: 'FAILED' });
    await expectNothingChanged(before);
    await asSuperuser(`ALTER ROLE ${otherRole()} ${truth}`);
  });

  test('where the other login may not append, and the next rotation is not blocked by it', async () => {
    const before = urlInForce();
    await asSuperuser(`REVOKE ${roles.applicationGroup} FROM ${otherRole()}`);
    expect(await secret.rotate()).toMatchObject({ status: 'FAILED' });
    await expectNothingChanged(before);
    await asSuperuser(`GRANT ${roles.applicationGroup} TO ${otherRole()}`);
    await rotateToEnd();
  });

  test('where somebody is logged in with the other role, who is not cut', async () => {
    const before = urlInForce();
    await asSuperuser(`ALTER ROLE ${otherRole()} LOGIN PASSWORD 'opened-by-hand'`);
    const url = withCredentials(server.adminUrl, otherRole(), 'opened-by-hand');
    await using stranger = await openSession(url);
    expect(await secret.rotate()).toMatchObject({ status: 'FAILED' });
    await secret.runDue();
    expect(await stranger.value('SELECT 1')).toBe(1);
    expect(urlInForce()).toBe(before);
    await asSuperuser(`ALTER ROLE ${otherRole()} NOLOGIN PASSWORD NULL`);
  });
});

test('a rotation is held while somebody still uses the former login, and ends when nobody does', async () => {
  await using stranger = await openSession(urlInForce());
  const former = urlInForce();
  const { id } = await secret.rotate();
  await secret.endGrace(id);
  await secret.untilStatus(id, 'HELD');
  expect(await stranger.value('SELECT 1')).toBe(1);
  expect(await canLogIn(former)).toBe(true);
  await stranger[Symbol.asyncDispose]();
  await secret.untilStatus(id, 'REVOKED');
  expect(await canLogIn(former)).toBe(false);
});

test('another node follows by itself, forth and back, and the login that was rolled back is closed', async () => {
  await using other = await startTestService({ database, environment });
  const former = urlInForce();
  const { id } = await secret.rotate();
  const rotated = urlInForce();
  await waitUntil('the other node follows', () => other.context.login.url === rotated);
  expect(await secret.rollBack(id)).toMatchObject({ status: 'ROLLED_BACK' });
  await secret.runDue();
  expect(urlInForce()).toBe(former);
  await waitUntil('the other node goes back', () => other.context.login.url === former);
  await waitUntil('the login is closed', async () => {
    await secret.runDue();
    return !(await canLogIn(rotated));
  });
  expect((await other.call('{ viewer { name } }')).errors).toBeUndefined();
});

test('whoever was overtaken changes nothing: neither a version that is pending no more, nor the one in force', async () => {
  const { secrets, database: pool } = service.context.services;
  const rotator = secrets.rotators.get('DATABASE')!;
  const work = { current: null, keep: () => Promise.resolve() };
  const { rows } = await pool.query<{ id: string; generation: number; slot: string }>(
    `SELECT secret AS id, generation, slot FROM public.secret_versions JOIN public.secrets ON id = secret
     WHERE type = 'DATABASE' AND label = 'CURRENT'`,
  );
  const { id, generation, slot } = rows[0]!;
  const target = { id, name: 'application', settings: {}, credential: null };
  const late = {
    generation: generation - 1,
    slot: slot === 'a' ? 'b' : 'a',
    facts: { role: 'known' },
    value: Buffer.from('x'.repeat(32)),
  };
  const current = { ...late, generation, slot };
  const before = urlInForce();
  await expect(rotator.apply(target, late, work)).rejects.toMatchObject({ code: 'ROTATION_CONFLICT' });
  await expect(rotator.apply(target, { ...current, slot: late.slot }, work)).rejects.toMatchObject({
    code: 'ROTATION_CONFLICT',
  });
  await expect(rotator.revoke(target, current, null)).rejects.toMatchObject({ code: 'ROTATION_CONFLICT' });
  // Its place has a newer password, the one in force: there is nothing left of it to be closed.
  await rotator.revoke(target, { ...late, slot }, null);
  await expectNothingChanged(before);
});

test('a node that was away while its login was closed comes back, and asks the administrator', async () => {
  const away = new Login(urlInForce());
  await using stack = new AsyncDisposableStack();
  const pool = openPool({ ...ledgerConnection(away, 'test'), max: 1 }, () => undefined);
  stack.defer(() => pool.end());
  await rotateToEnd();
  await expect(pool.query('SELECT 1')).rejects.toMatchObject({ code: expect.stringMatching(/^28/) as unknown });
  const { config, services } = service.context;
  const readAsAdministrator = () => readStoredLogin(config, server.adminUrl, log);
  const parts = { database: pool, ring: services.secrets.ring, login: away, readAsAdministrator, log };
  await new LoginFollower(parts).follow();
  expect(away.url).toBe(urlInForce());
  expect((await pool.query('SELECT 1')).rowCount).toBe(1);
});

test('what starts after a rotation logs in with what is in force: a command, db-url, and the service itself', async () => {
  await rotateToEnd();
  const inForce = urlInForce();
  const { dataDir } = service.context.config;
  const variables = {
    DATABASE_URL: server.adminUrl,
    DAYBOOK_DATA_DIR: dataDir,
    DAYBOOK_MASTER_KEY,
    DAYBOOK_LOG_LEVEL: 'silent',
  };
  const command = (...args: string[]) => runScript('test/support/database-commands.ts', args, variables);
  expect(await command('db-url', '--role', 'application')).toEqual({ exitCode: 0, stdout: `${inForce}\n`, stderr: '' });
  expect(await command('migrate', 'status')).toMatchObject({ exitCode: 0, stderr: '' });
  await service[Symbol.asyncDispose]();
  service = await startTestService({ database, environment });
  secret = new RotatedSecret(service, 'DATABASE', 'application');
  expect(urlInForce()).toBe(inForce);
  expect((await service.call('{ viewer { name } }')).errors).toBeUndefined();
});

test('a node with another master key cannot start with a rotated login, and changes no role', async () => {
  const before = urlInForce();
  const foreign = { ...environment, DAYBOOK_MASTER_KEY: '6d'.repeat(32) };
  await expect(startTestService({ database, environment: foreign })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await expectNothingChanged(before);
});

describe('the login is not registered, and registering it says why,', () => {
  async function refusal(node: TestService): Promise<string> {
    const schedule = await node.call('{ rotationSchedule { secretType } }');
    expect(JSON.stringify(schedule)).not.toContain('DATABASE');
    const input = { secretType: 'DATABASE', secretName: 'application' };
    const { errors } = await node.call(
      'mutation ($input: RegisterSecretInput!) { registerSecret(input: $input) { schedule { status } } }',
      { input },
    );
    expect(errors?.[0]?.extensions.code).toBe('SECRET_REFUSED');
    return errors?.[0]?.message ?? '';
  }

  test('where other ledgers share the server', async () => {
    await using shared = await createTestDatabase();
    await using node = await startTestService({ database: shared, environment });
    expect(await refusal(node)).toContain('daybook_template');
    await expectLedgerIntact(shared.urls.auditor);
  });

  test('where the service has no roles of its own', async () => {
    await using own = await startOwnServer();
    await withConnection(own.adminUrl, (admin) =>
      admin.query("CREATE ROLE plain LOGIN PASSWORD 'plain'; ALTER DATABASE daybook OWNER TO plain"),
    );
    const url = withCredentials(own.adminUrl, 'plain', 'plain');
    const single = { application: url, auditor: url, migrator: url, attemptWriter: url, superuser: url };
    const plain = { ...database, urls: single };
    await using node = await startTestService({ database: plain, environment });
    expect(await refusal(node)).toContain('CREATEROLE');
    await expectLedgerIntact(url);
  });
});

test('where the master key is lost, an administrator lets the service set a login of its own again', async () => {
  if (roleInForce() === roles.application) await rotateToEnd();
  await service[Symbol.asyncDispose]();
  const lost = { ...environment, DAYBOOK_MASTER_KEY: '7e'.repeat(32) };
  await expect(startTestService({ database, environment: lost })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await asSuperuser(`COMMENT ON ROLE ${roles.application} IS NULL`);
  service = await startTestService({ database, environment: lost });
  expect(roleInForce()).toBe(roles.application);
  expect((await service.call('{ viewer { name } }')).errors).toBeUndefined();
});
