import pg from 'pg';
import { DaybookError } from '../errors.js';

const CONNECT_TIMEOUT_MS = 10_000;
/** Administrative statements are short; what takes longer waits for a lock that somebody forgot. */
const STATEMENT_TIMEOUT_MS = 60_000;

/** SQLSTATEs of refused logins: wrong password, and no such user or no way in by pg_hba.conf. */
const LOGIN_REFUSED = ['28P01', '28000'];

/**
 * Runs `work` on one connection of its own and closes it. Throws DATABASE_UNAVAILABLE when the server cannot be reached and
 * CONFIG_INVALID when it refuses the login or has no such database; errors of `work` pass through.
 */
export async function withConnection<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'daybook-admin',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
  });
  // A connection that breaks while idle is reported here; the next query reports it to its caller.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (err) {
    await client.end().catch(() => undefined);
    throw connectError(url, err);
  }
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Whether the server lets the user of this URL in. Throws as withConnection for every other reason. */
export async function canLogIn(url: string): Promise<boolean> {
  try {
    await withConnection(url, () => Promise.resolve());
    return true;
  } catch (err) {
    if (isLoginRefused(err)) {
      return false;
    }
    throw err;
  }
}

/** The SQLSTATE of a PostgreSQL error or of the one behind it; undefined for anything else. */
export function sqlState(err: unknown): string | undefined {
  if (!(err instanceof Error)) {
    return undefined;
  }
  // By form, for MikroORM has error classes and a copy of pg of its own. Error codes of Node have no digits.
  const { code } = err as { code?: unknown };
  return typeof code === 'string' && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : sqlState(err.cause);
}

/** The same server and database with other credentials; every other part of the URL stays. */
export function withCredentials(url: string, user: string, password: string): string {
  const changed = new URL(url);
  // A URL for a socket (?host=/run/postgresql) has no host part, and without one no place for credentials in front of it.
  if (changed.hostname === '' || changed.searchParams.has('user')) {
    changed.searchParams.set('user', user);
    changed.searchParams.set('password', password);
  } else {
    changed.searchParams.delete('password');
    changed.username = user;
    changed.password = encodeURIComponent(password);
  }
  return changed.href;
}

/** The password a URL carries, decoded, or null. */
export function readPassword(url: string): string | null {
  const { password, searchParams } = new URL(url);
  return searchParams.get('password') ?? (password === '' ? null : decodeURIComponent(password));
}

/** The user a URL names, decoded; empty where it names none. */
export function readUser(url: string): string {
  const { username, searchParams } = new URL(url);
  return searchParams.get('user') ?? decodeURIComponent(username);
}

/** Names the server without its credentials. */
export function describeServer(url: string): string {
  const { host, pathname, searchParams } = new URL(url);
  return `${host || (searchParams.get('host') ?? 'localhost')}${pathname}`;
}

/** Whether the server refused a login: wrong password, no such user, closed, or no way in. */
export function isLoginRefused(err: unknown): boolean {
  return LOGIN_REFUSED.includes(sqlState(err) ?? '');
}

function connectError(url: string, cause: unknown): DaybookError {
  const reason = (cause as Error).message || (cause as NodeJS.ErrnoException).code;
  if (isLoginRefused(cause) || sqlState(cause) === '3D000') {
    return new DaybookError(
      'CONFIG_INVALID',
      `PostgreSQL at ${describeServer(url)} refuses the connection (${reason}). Correct user, password or database in DATABASE_URL, or pg_hba.conf on the server.`,
      { cause },
    );
  }
  return new DaybookError(
    'DATABASE_UNAVAILABLE',
    `PostgreSQL at ${describeServer(url)} cannot be reached (${reason}).`,
    { cause },
  );
}
