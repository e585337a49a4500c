import { randomUUID } from 'node:crypto';
import { connect, createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { canLogIn, withConnection, withCredentials } from '../../src/db/admin-connection.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { RotatedSecret } from '../support/rotation-calls.js';
import { RotationBed } from '../support/rotation-bed.js';
import { openSession } from '../support/sql-session.js';
import { findFreePort, getTestServer } from '../support/test-server.js';
import { startTestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const owned = new AsyncDisposableStack();
let bed: RotationBed;

beforeAll(async () => {
  bed = new RotationBed(owned.use(await startTestService({ environment: { DAYBOOK_JOBS: 'off' } })));
});

afterAll(async () => {
  await expectLedgerIntact(bed.service.database.urls.auditor);
  await owned.disposeAsync();
});

const asSuperuser = (sql: string) => withConnection(getTestServer().adminUrl, (admin) => admin.query(sql));

/** Roles of another program at the test server, and an administrator of theirs who is no superuser. */
class Elsewhere implements AsyncDisposable {
  readonly id = `shop_${randomUUID().slice(0, 8)}`;
  readonly first = `first-password-of-${this.id}`;
  readonly credential = `administers-${this.id}`;
  readonly group = `${this.id}_group`;
  readonly roles = [`${this.id}_a`, `${this.id}_b`] as const;
  readonly administrator = `${this.id}_admin`;
  readonly secret = new RotatedSecret(bed.service, 'DATABASE', this.id);
  readonly #port = getTestServer().port;

  static async create(): Promise<Elsewhere> {
    const made = new Elsewhere();
    const [a, b] = made.roles;
    await asSuperuser(
      `CREATE ROLE ${made.administrator} LOGIN CREATEROLE PASSWORD '${made.credential}'; SET ROLE ${made.administrator};
       CREATE ROLE ${made.group}; CREATE ROLE ${a} LOGIN PASSWORD '${made.first}' IN ROLE ${made.group};
       CREATE ROLE ${b} NOLOGIN IN ROLE ${made.group}`,
    );
    return owned.use(made);
  }

  async register(
    changes: Record<string, string> = {},
    given: Record<string, unknown> = {},
  ): Promise<string | undefined> {
    const settings = {
      host: '127.0.0.1',
      port: String(this.#port),
      database: 'postgres',
      roles: this.roles.join(','),
      administrator: this.administrator,
      sslmode: 'disable',
      ...changes,
    };
    return bed.register({
      secretType: 'DATABASE',
      secretName: this.id,
      settings: Object.entries(settings).map(([name, value]) => ({ name, value })),
      value: this.first,
      credential: this.credential,
      ...given,
    });
  }

  urlOf(slot: 0 | 1, password: string): string {
    return withCredentials(getTestServer().adminUrl, this.roles[slot], password);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await asSuperuser(`DROP ROLE ${[...this.roles, this.group, this.administrator].join(', ')}`);
  }
}

test('two roles take turns: both work in the grace period, then the former lets nobody in, and names of roles come with values', async () => {
  const shop = await Elsewhere.create();
  expect(await shop.register()).toBeUndefined();
  const rotated = await shop.secret.rotate();
  expect(rotated.status).toBe('ROTATED');
  const second = await shop.secret.read();
  expect(second).toMatchObject({ generation: 2, facts: { role: shop.roles[1] } });
  expect(await canLogIn(shop.urlOf(0, shop.first))).toBe(true);
  expect(await canLogIn(shop.urlOf(1, second.value))).toBe(true);
  await bed.becomes(rotated.id, 'REVOKED');
  expect(await canLogIn(shop.urlOf(0, shop.first))).toBe(false);
  const { id } = await shop.secret.rotate('given-by-the-operator-0123');
  expect(await shop.secret.read()).toMatchObject({ facts: { role: shop.roles[0] } });
  expect(await canLogIn(shop.urlOf(0, 'given-by-the-operator-0123'))).toBe(true);
  expect((await shop.secret.rollBack(id)).status).toBe('ROLLED_BACK');
  await bed.runDue();
  expect(await canLogIn(shop.urlOf(0, 'given-by-the-operator-0123'))).toBe(false);
  expect(await canLogIn(shop.urlOf(1, second.value))).toBe(true);
});

test('a role that somebody uses is not closed, and one that is closed has no sessions', async () => {
  const shop = await Elsewhere.create();
  expect(await shop.register()).toBeUndefined();
  const program = await openSession(shop.urlOf(0, shop.first));
  const { id } = await shop.secret.rotate();
  await bed.becomes(id, 'HELD');
  expect(await program.value('SELECT 1')).toBe(1);
  await program[Symbol.asyncDispose]();
  await bed.becomes(id, 'REVOKED');
  const { value } = await shop.secret.read();
  await using user = await openSession(shop.urlOf(1, value));
  // The free role has to be free.
  await asSuperuser(`ALTER ROLE ${shop.roles[0]} LOGIN PASSWORD 'opened-by-hand'`);
  await using stranger = await openSession(shop.urlOf(0, 'opened-by-hand'));
  expect((await shop.secret.rotate()).status).toBe('FAILED');
  expect([await user.value('SELECT 1'), await stranger.value('SELECT 1')]).toEqual([1, 1]);
});

describe('a rotation fails, the value in force works, and the next one is not blocked,', () => {
  test.each([
    [
      'where the roles may do different things',
      ({ administrator, group, roles }: Elsewhere) => `SET ROLE ${administrator}; REVOKE ${group} FROM ${roles[1]}`,
    ],
    ['where the server lets nobody in', ({ roles }: Elsewhere) => `ALTER ROLE ${roles[1]} VALID UNTIL '2001-01-01'`],
    ['where the administrator may not', ({ administrator }: Elsewhere) => `ALTER ROLE ${administrator} NOCREATEROLE`],
    ['where a role is gone', ({ roles }: Elsewhere) => `ALTER ROLE ${roles[1]} RENAME TO ${roles[1]}_gone`],
  ])('%s', async (what, spoil) => {
    const shop = await Elsewhere.create();
    expect(await shop.register()).toBeUndefined();
    await asSuperuser(spoil(shop));
    expect(await shop.secret.rotate()).toMatchObject({ status: 'FAILED' });
    expect(await shop.secret.read()).toMatchObject({ generation: 1, value: shop.first });
    expect(await canLogIn(shop.urlOf(0, shop.first))).toBe(true);
    if (what.endsWith('gone')) await asSuperuser(`ALTER ROLE ${shop.roles[1]}_gone RENAME TO ${shop.roles[1]}`);
    await asSuperuser(
      `ALTER ROLE ${shop.administrator} CREATEROLE; ALTER ROLE ${shop.roles[1]} VALID UNTIL 'infinity';
       GRANT ${shop.group} TO ${shop.roles[1]}`,
    );
    expect(await shop.secret.rotate()).toMatchObject({ status: 'ROTATED' });
  });
});

/** A way to the test server that can be closed. */
async function startRelay(port: number): Promise<Server> {
  const server = createServer((client) => {
    const upstream = connect(getTestServer().port, '127.0.0.1');
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.pipe(upstream).pipe(client);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

test('a server that is away leaves the outcome open: it is asked when it is back, and the password is applied once', async () => {
  const port = await findFreePort();
  const first = await startRelay(port);
  const shop = await Elsewhere.create();
  expect(await shop.register({ port: String(port) })).toBeUndefined();
  first.close();
  await once(first, 'close');
  const { id, status } = await shop.secret.rotate();
  expect(status).toBe('UNKNOWN');
  expect(await canLogIn(shop.urlOf(0, shop.first))).toBe(true);
  const second = await startRelay(port);
  await waitUntil('it is rotated', async () => {
    await bed.runDue();
    return (await shop.secret.get(id)).status === 'ROTATED';
  });
  const { value } = await shop.secret.read();
  expect(await canLogIn(shop.urlOf(1, value))).toBe(true);
  second.close();
});

test.each([
  ['an administrator it does not let in', {}, { credential: 'not-the-credential' }, 'SECRET_REFUSED'],
  ['a value that is in force for neither role', {}, { value: 'not-the-value' }, 'SECRET_REFUSED'],
  ['no credential', {}, { credential: undefined }, 'BAD_USER_INPUT'],
  ['a setting that is not known', { user: 'x' }, {}, 'BAD_USER_INPUT'],
  ['one role', { roles: 'one' }, {}, 'BAD_USER_INPUT'],
  ['a role that would have to be quoted', { roles: 'one,"two' }, {}, 'BAD_USER_INPUT'],
  ['a role that is not there', { roles: 'one,two' }, {}, 'SECRET_REFUSED'],
  ['a server that does not answer', { port: '1' }, {}, 'SECRET_UNAVAILABLE'],
] as const)('registering is refused with %s', async (_, changes, given, code) => {
  const shop = await Elsewhere.create();
  expect(await shop.register(changes, given)).toBe(code);
  const { data } = await bed.service.call('{ rotationSchedule { secretName } }');
  expect(JSON.stringify(data)).not.toContain(shop.id);
});
