import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { migrationsList } from '../../migrations/index.js';
import { readPassword, withConnection, withCredentials } from '../../src/db/admin-connection.js';
import { endLogin, listSessions, prepareLogin } from '../../src/db/application-logins.js';
import { startEmbeddedPostgres } from '../../src/db/embedded-postgres.js';
import type { Login } from '../../src/db/login.js';
import type { LoginSession } from '../../src/db/login-roles.js';
import { migrateUp } from '../../src/db/migrate.js';
import { applicationLogins } from '../../src/db/role-names.js';
import { provisionRoles, type RoleLayout, type StoredLogin } from '../../src/db/roles.js';
import { scramVerifier } from '../../src/db/scram.js';
import { createDataFolder } from './data-folder.js';
import { findFreePort } from './test-server.js';
import { waitUntil } from './wait-until.js';

const log = pino({ level: 'silent' });

/** A server of its own: logins belong to the whole server, and those of the shared one are in use by other tests. */
export interface OwnServer extends AsyncDisposable {
  /** Of the superuser, to an empty database of the ledger. */
  readonly adminUrl: string;
  readonly dataDir: string;
}

export async function startOwnServer(): Promise<OwnServer> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await createDataFolder());
  const server = await startEmbeddedPostgres({ dataDir: folder.path, port: await findFreePort(), log });
  stack.defer(() => server.stop());
  await withConnection(server.url, (admin) => admin.query('CREATE DATABASE daybook'));
  const owned = stack.move();
  return {
    adminUrl: new URL('/daybook', server.url).href,
    dataDir: folder.path,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** What each start does with the roles; `stored`: what the secrets say is in force. */
export function provision(adminUrl: string, stored: StoredLogin | null = null): Promise<RoleLayout> {
  return provisionRoles(adminUrl, readPassword(adminUrl) ?? '', log, () => Promise.resolve(stored));
}

/** The roles and an empty ledger. */
export async function provisionLedger(adminUrl: string): Promise<RoleLayout> {
  const layout = await provision(adminUrl);
  await migrateUp({ url: layout.urls.migrator, migrations: migrationsList, log });
  return layout;
}

export interface PreparedLogin extends StoredLogin {
  readonly url: string;
}

/** Opens a login with a password of its own. */
export async function openNewLogin(adminUrl: string, role: string): Promise<PreparedLogin> {
  const password = randomBytes(32).toString('base64url');
  await withConnection(adminUrl, (admin) => prepareLogin(admin, role, scramVerifier(password)));
  return { role, password, url: withCredentials(adminUrl, role, password) };
}

export function otherThan(role: string): string {
  return applicationLogins.find((name) => name !== role)!;
}

export function sessionsOf(adminUrl: string, role: string): Promise<LoginSession[]> {
  return withConnection(adminUrl, (admin) => listSessions(admin, role));
}

export function closeLogin(adminUrl: string, role: string): Promise<number> {
  return withConnection(adminUrl, (admin) => endLogin(admin, role));
}

/** One rotation: the other login is opened and put in force; once nobody uses the former one, it is closed. */
export async function rotate(
  login: Login,
  adminUrl: string,
): Promise<{ readonly former: string; readonly ended: number }> {
  const former = login.role;
  const next = await openNewLogin(adminUrl, otherThan(former));
  await login.change(next.url);
  const left = await login.drained(20_000);
  if (left.length > 0) throw new Error(`these kept the former login: ${left.join(', ')}`);
  await waitUntil('the server has seen them go', async () => (await sessionsOf(adminUrl, former)).length === 0);
  return { former, ended: await closeLogin(adminUrl, former) };
}
