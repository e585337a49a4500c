import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { pino } from 'pino';
import { BreakList } from '../../src/core/log-breaks.js';
import { canLogIn, readPassword, withConnection, withCredentials } from '../../src/db/admin-connection.js';
import { endLogin, listSessions, prepareLogin, tryLogin } from '../../src/db/application-logins.js';
import { Login, openLogin } from '../../src/db/login.js';
import { missingLayer } from '../../src/db/missing-layer.js';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import { postgresFolder } from '../../src/db/postgres-folder.js';
import { roles, type RoleUrls } from '../../src/db/roles.js';
import { scramVerifier } from '../../src/db/scram.js';
import { ExportSessions } from '../../src/exports/export-sessions.js';
import { readCatalogFacts } from '../../src/integrity/catalog-facts.js';
import { compareFacts } from '../../src/integrity/compare-facts.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import {
  closeLogin,
  openNewLogin,
  otherThan,
  provision,
  provisionLedger,
  rotate,
  sessionsOf,
  startOwnServer,
  type OwnServer,
} from '../support/login-rotation.js';
import { sampleEntry } from '../support/sample-entries.js';
import { openSession } from '../support/sql-session.js';
import { waitUntil } from '../support/wait-until.js';

const log = pino({ level: 'silent' });
const first = roles.application;
const second = roles.otherApplication;

let server: OwnServer;
let urls: RoleUrls;
let login: Login;

beforeAll(async () => {
  server = await startOwnServer();
  ({ urls } = await provisionLedger(server.adminUrl));
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

beforeEach(async () => {
  // As on a server where nothing was ever rotated.
  const verifier = scramVerifier(readPassword(urls.application)!);
  await withConnection(server.adminUrl, (admin) =>
    admin.query(
      `ALTER ROLE ${first} LOGIN PASSWORD '${verifier}'; COMMENT ON ROLE ${first} IS NULL;
       ALTER ROLE ${second} NOLOGIN PASSWORD NULL; COMMENT ON ROLE ${second} IS NULL`,
    ),
  );
  login = new Login(urls.application);
});

afterEach(async () => {
  await expectLedgerIntact(urls.auditor);
});

function openTestPool(max: number): pg.Pool {
  return openPool({ ...ledgerConnection(login, 'test'), max }, () => undefined);
}

async function userOf(asked: Pick<pg.Pool, 'query'>): Promise<string | undefined> {
  return (await asked.query<{ name: string }>('SELECT session_user::text AS name')).rows[0]?.name;
}

describe('a pool', () => {
  test('exchanges what rests at once, and keeps its size', async () => {
    await using stack = new AsyncDisposableStack();
    const pool = openTestPool(3);
    stack.defer(() => pool.end());
    await Promise.all([1, 2, 3].map(() => pool.query('SELECT pg_sleep(0.05)')));
    expect(pool.totalCount).toBe(3);
    await login.change((await openNewLogin(server.adminUrl, second)).url);
    expect(await login.drained(5_000)).toEqual([]);
    expect(await Promise.all([1, 2, 3, 4, 5].map(() => userOf(pool)))).toEqual(Array(5).fill(second));
    expect(pool.totalCount).toBeLessThanOrEqual(3);
    await waitUntil('nobody is left', async () => (await sessionsOf(server.adminUrl, first)).length === 0);
  });

  test('leaves a borrower its transaction, and gives those who wait a connection of the new login', async () => {
    await using stack = new AsyncDisposableStack();
    const pool = openTestPool(1);
    stack.defer(() => pool.end());
    const borrowed = await pool.connect();
    await borrowed.query('BEGIN');
    const waiting = [userOf(pool), userOf(pool)];
    await login.change((await openNewLogin(server.adminUrl, second)).url);
    expect(await login.drained(50)).toEqual(['test']);
    expect(await userOf(borrowed)).toBe(first);
    await borrowed.query('COMMIT');
    borrowed.release();
    expect(await Promise.all(waiting)).toEqual([second, second]);
    expect(await login.drained(5_000)).toEqual([]);
  });

  test('serves callback style, as libraries use it, and tells whoever listens to listen anew', async () => {
    await using stack = new AsyncDisposableStack();
    const pool = openTestPool(2);
    stack.defer(() => pool.end());
    const heard: (string | undefined)[] = [];
    const users: (string | undefined)[] = [];
    let stopListening = () => {};
    const listen = () =>
      pool.connect((error, client, release) => {
        if (client === undefined) throw error ?? new Error('no connection');
        stopListening = () => {
          client.removeAllListeners('notification');
          release();
        };
        client.on('notification', ({ payload }) => heard.push(payload));
        client.once('error', () => {
          stopListening();
          listen();
        });
        void client.query('LISTEN test').then(async () => users.push(await userOf(client)));
      });
    listen();
    await waitUntil('it listens', () => users.length === 1);
    await login.change((await openNewLogin(server.adminUrl, second)).url);
    await waitUntil('it listens anew', () => users.length === 2);
    expect(users).toEqual([first, second]);
    expect(await login.drained(5_000)).toEqual([]);
    await pool.query("SELECT pg_notify('test', 'again')");
    await waitUntil('it hears', () => heard.includes('again'));
    stopListening();
  });

  test('of 200 queries under way through ten changes none fails', async () => {
    await using stack = new AsyncDisposableStack();
    const pool = openTestPool(4);
    stack.defer(() => pool.end());
    let isOver = false;
    let done = 0;
    const client = async () => {
      while (!isOver) {
        await pool.query('SELECT count(*) FROM public.signals');
        done += 1;
      }
    };
    const clients = Array.from({ length: 8 }, client);
    for (let turn = 0; turn < 10; turn += 1) {
      const before = done;
      expect(await rotate(login, server.adminUrl)).toMatchObject({ ended: 0 });
      await waitUntil('queries go on', () => done > before + 20);
    }
    isOver = true;
    await Promise.all(clients);
    expect(done).toBeGreaterThan(200);
  });
});

test('a writer moves over between two transactions, and at once where it rests', async () => {
  await using writer = new LedgerWriter({ url: login, queueRowsMax: 1_000, log });
  await writer.append({ entries: [sampleEntry('before')] });
  const appended: Promise<unknown>[] = [];
  const next = await openNewLogin(server.adminUrl, second);
  const changed = login.change(next.url);
  for (let place = 0; place < 50; place += 1) {
    appended.push(writer.append({ entries: [sampleEntry(`during-${place}`)] }));
    await pause(1);
  }
  await changed;
  await Promise.all(appended);
  expect(await login.drained(5_000)).toEqual([]);
  await rotate(login, server.adminUrl);
  await writer.append({ entries: [sampleEntry('after')] });
  expect(await sessionsOf(server.adminUrl, first)).toHaveLength(1);
});

test('what runs to its end with one connection is named meanwhile', async () => {
  const exports = new ExportSessions(login);
  const session = await exports.open();
  await login.change((await openNewLogin(server.adminUrl, second)).url);
  expect(await login.drained(50)).toEqual(['daybook export']);
  expect(await session.client.query('SELECT count(*) FROM public.signals')).toMatchObject({ rowCount: 1 });
  await session[Symbol.asyncDispose]();
  expect(await login.drained(5_000)).toEqual([]);
});

describe('a change is refused, and the former login stays in force,', () => {
  test.each([
    ['where the password is wrong', () => withCredentials(server.adminUrl, first, 'wrong'), 'CONFIG_INVALID'],
    ['where the login is closed', () => withCredentials(server.adminUrl, second, 'any'), 'CONFIG_INVALID'],
    ['where the role may not append', () => urls.auditor, 'CONFIG_INVALID'],
    ['where the role is the administrator', () => server.adminUrl, 'CONFIG_INVALID'],
    ['where it leads elsewhere', () => new URL('/postgres', urls.application).href, 'CONFIG_INVALID'],
  ])('%s', async (_, urlOf, code) => {
    const pool = openTestPool(1);
    await expect(login.change(urlOf())).rejects.toMatchObject({ code });
    expect(login.url).toBe(urls.application);
    expect(await userOf(pool)).toBe(first);
    await pool.end();
  });

  test('where the service has no roles of its own', async () => {
    const single = openLogin({ urls, missingLayers: [missingLayer('role-separation', 'test')] });
    const next = await openNewLogin(server.adminUrl, second);
    await expect(single.change(next.url)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('Let DATABASE_URL name a user with CREATEROLE') as unknown,
    });
    expect(single.url).toBe(urls.application);
  });
});

describe('the steps of a rotation', () => {
  test('can each be repeated, and a closed login has no sessions left and logs in no more', async () => {
    const next = await openNewLogin(server.adminUrl, second);
    expect(await tryLogin(next.url)).toEqual({ works: true });
    const sessions = [await openSession(next.url), await openSession(next.url)];
    expect(await sessionsOf(server.adminUrl, second)).toMatchObject([{ database: 'daybook' }, { database: 'daybook' }]);
    expect(await closeLogin(server.adminUrl, second)).toBe(2);
    expect(await closeLogin(server.adminUrl, second)).toBe(0);
    await Promise.all(sessions.map((session) => session[Symbol.asyncDispose]()));
    expect(await canLogIn(next.url)).toBe(false);
    expect(await tryLogin(next.url)).toMatchObject({ works: false });
  });

  test('leave nothing when their transaction is rolled back', async () => {
    await withConnection(server.adminUrl, async (admin) => {
      await admin.query('BEGIN');
      await prepareLogin(admin, second, scramVerifier('undone'));
      await admin.query('ROLLBACK');
    });
    expect(await canLogIn(withCredentials(server.adminUrl, second, 'undone'))).toBe(false);
  });

  test('take no role but the two, and no password in place of its verifier', async () => {
    await withConnection(server.adminUrl, async (admin) => {
      await expect(prepareLogin(admin, roles.auditor, scramVerifier('any'))).rejects.toThrow(TypeError);
      await expect(endLogin(admin, 'postgres')).rejects.toThrow(TypeError);
      await expect(listSessions(admin, 'postgres; --')).rejects.toThrow(TypeError);
      await expect(prepareLogin(admin, second, 'a password')).rejects.toThrow(TypeError);
    });
  });

  test('a trial leaves no entry, and says which right is missing', async () => {
    const count = () => withConnection(urls.auditor, (auditor) => auditor.query('SELECT FROM public.audit_entries'));
    const before = (await count()).rowCount;
    const next = await openNewLogin(server.adminUrl, second);
    expect(await tryLogin(next.url)).toEqual({ works: true });
    expect((await count()).rowCount).toBe(before);
    await withConnection(server.adminUrl, (admin) => admin.query(`REVOKE ${roles.applicationGroup} FROM ${second}`));
    expect(await tryLogin(next.url)).toMatchObject({ works: false, reason: expect.stringContaining('no member') });
    await provision(server.adminUrl);
    expect(await tryLogin(next.url)).toEqual({ works: true });
  });

  test('show no password in the log of a server that logs every statement', async () => {
    const setLog = (value: string) =>
      withConnection(server.adminUrl, (admin) => admin.query(`ALTER ROLE postgres SET log_statement = ${value}`));
    await setLog("'all'");
    const next = await openNewLogin(server.adminUrl, second);
    await login.change(next.url);
    await closeLogin(server.adminUrl, first);
    await setLog('DEFAULT');
    const folder = postgresFolder(server.dataDir).log;
    const texts = await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name), 'utf8')));
    expect(texts.join('\n')).toContain(`ALTER ROLE "${second}" LOGIN PASSWORD 'SCRAM-SHA-256$`);
    expect(texts.join('\n')).toContain(`ALTER ROLE "${first}" NOLOGIN`);
    expect(texts.join('\n')).not.toContain(next.password);
  });

  test('are for an administrator without superuser too, who is a member of the login at no time', async () => {
    await using other = await startOwnServer();
    await withConnection(other.adminUrl, (admin) =>
      admin.query(
        "CREATE ROLE operator LOGIN CREATEROLE PASSWORD 'operator'; ALTER DATABASE daybook OWNER TO operator",
      ),
    );
    const operatorUrl = withCredentials(other.adminUrl, 'operator', 'operator');
    await provisionLedger(operatorUrl);
    const members = () =>
      withConnection(operatorUrl, async (admin) => {
        const { rows } = await admin.query<{ text: string }>(
          'SELECT m::text AS text FROM pg_auth_members AS m ORDER BY 1',
        );
        return rows;
      });
    const before = await members();
    const next = await openNewLogin(operatorUrl, second);
    await using _session = await openSession(next.url);
    expect(await sessionsOf(operatorUrl, second)).toHaveLength(1);
    expect(await closeLogin(operatorUrl, second)).toBe(1);
    expect(await sessionsOf(operatorUrl, second)).toEqual([]);
    expect(await members()).toEqual(before);
  });
});

describe('a start after a rotation', () => {
  test('uses what the secrets say is in force, and touches neither login', async () => {
    const { role, password } = await openNewLogin(server.adminUrl, second);
    await closeLogin(server.adminUrl, first);
    const readRoles = () =>
      withConnection(server.adminUrl, async (admin) => {
        const { rows } = await admin.query<{ xmin: string }>('SELECT xmin::text FROM pg_authid ORDER BY oid');
        return rows;
      });
    const before = await readRoles();
    const layout = await provision(server.adminUrl, { role, password });
    expect(await readRoles()).toEqual(before);
    expect(layout.urls.application).toBe(withCredentials(server.adminUrl, second, password));
    expect(await tryLogin(layout.urls.application)).toEqual({ works: true });
    expect(await canLogIn(urls.application)).toBe(false);
  });

  test.each([
    ['does not know of it', () => null],
    ['knows an older password', () => ({ role: first, password: 'older' })],
  ])('ends where this node %s, and opens nothing again', async (_, stored) => {
    await rotate(login, server.adminUrl);
    await expect(provision(server.adminUrl, stored())).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(await canLogIn(urls.application)).toBe(false);
    await withConnection(server.adminUrl, (admin) => admin.query(`COMMENT ON ROLE ${first} IS NULL`));
    const layout = await provision(server.adminUrl, stored());
    expect(await tryLogin(layout.urls.application)).toEqual({ works: true });
  });

  test('still sets a derived password back that no rotation changed', async () => {
    await withConnection(server.adminUrl, (admin) => admin.query(`ALTER ROLE ${first} PASSWORD 'changed'`));
    expect(await canLogIn(urls.application)).toBe(false);
    await provision(server.adminUrl);
    expect(await canLogIn(urls.application)).toBe(true);
  });

  test('makes the login that is in force on a server that has no roles yet', async () => {
    await using other = await startOwnServer();
    const layout = await provision(other.adminUrl, { role: second, password: 'kept' });
    expect(await canLogIn(layout.urls.application)).toBe(true);
    const found = await withConnection(other.adminUrl, (admin) =>
      admin.query('SELECT rolname::text AS name, rolcanlogin AS open FROM pg_roles WHERE rolname ~ $1 ORDER BY 1', [
        '^daybook_application_',
      ]),
    );
    expect(found.rows).toEqual([
      { name: first, open: false },
      { name: second, open: true },
    ]);
  });
});

test('a rotation is no change of the catalogue; a new membership or attribute of either login is one', async () => {
  await using superuser = await openSession(server.adminUrl);
  const read = async () => {
    await superuser.run('BEGIN; SET LOCAL search_path = pg_catalog');
    const { facts } = await readCatalogFacts(superuser.client);
    await superuser.run('COMMIT');
    return facts;
  };
  const before = await read();
  await rotate(login, server.adminUrl);
  const breaks = new BreakList();
  compareFacts(before, await read(), breaks);
  expect(breaks.first).toEqual([]);
  await superuser.run(`ALTER ROLE ${otherThan(first)} CREATEROLE; GRANT daybook_owner TO ${first}`);
  compareFacts(before, await read(), breaks);
  await superuser.run(`ALTER ROLE ${otherThan(first)} NOCREATEROLE; REVOKE daybook_owner FROM ${first}`);
  expect(breaks.first).toEqual([
    { code: 'ROLE_CHANGED', index: null, message: `role ${second}: createRole was false, is true` },
    { code: 'ROLE_CHANGED', index: null, message: expect.stringContaining(`membership ${first} in daybook_owner`) },
  ]);
});
