import pg from 'pg';
import { followLogin, LoginChanged } from './follow-login.js';
import { connectionOf, type LoginConnection, type LoginSource } from './login.js';

/** Type OIDs of PostgreSQL that pg would turn into lossy JavaScript values. */
const oids = { bytea: 17, json: 114, timestamptz: 1184, numeric: 1700, int8: 20, xid8: 5069 } as const;

/** `2026-11-20 10:00:00.12+00`, the text of a session in UTC, becomes `2026-11-20T10:00:00.120000Z`. */
function timestampFromText(text: string): string {
  // Anything else, such as infinity or a year BC, stays as it is: only tampering brings it into the ledger.
  if (!text.endsWith('+00') || text.length < 22) return text;
  const fraction = text.slice(20, -3);
  return `${text.slice(0, 10)}T${text.slice(11, 19)}.${fraction.padEnd(6, '0')}Z`;
}

/** Without trailing zeros behind the point, as `trim_scale` prints it. */
function decimalFromText(text: string): string {
  if (!text.endsWith('0') || !text.includes('.')) return text;
  return text.replace(/\.?0+$/, '');
}

const parsers = new Map<number, (text: string) => unknown>([
  [oids.bytea, (text) => text.slice(2)],
  [oids.json, (text) => text],
  [oids.timestamptz, timestampFromText],
  [oids.numeric, decimalFromText],
  [oids.int8, (text) => text],
  [oids.xid8, (text) => text],
]);

/** Text in, text out: bigint, numeric, times, hashes (hex) and json all arrive as strings and lose nothing. */
const ledgerTypes: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary'): unknown =>
    (format !== 'binary' && parsers.get(oid)) ||
    pg.types.getTypeParser(oid, format)) as pg.CustomTypesConfig['getTypeParser'],
};

/**
 * Settings of every connection that touches the ledger: UTC, so that times print in UTC; ISO dates; hex bytes; and
 * `daybook.canonical`, by which the triggers know that details arrive in RFC 8785 form.
 */
export function ledgerConnection(login: LoginSource, applicationName: string): LoginConnection {
  return {
    ...connectionOf(login, applicationName),
    types: ledgerTypes,
    options: '-c TimeZone=UTC -c DateStyle=ISO -c bytea_output=hex -c daybook.canonical=on',
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
  };
}

/**
 * A pool whose connections may break at any time, as when the server restarts. Without these listeners the whole process would
 * end by it. `noteError` hears of each that breaks while no query runs on it; a query under way fails with the reason. With
 * settings of a login, its connections are exchanged when that changes.
 */
export function openPool(settings: pg.PoolConfig & LoginConnection, noteError: (error: Error) => void): pg.Pool {
  const pool = new pg.Pool(settings);
  const note = (error: Error) => (error instanceof LoginChanged ? undefined : noteError(error));
  pool.on('connect', (client) => client.on('error', note));
  // Of a connection that rests or closes, the pool tells once more.
  pool.on('error', () => undefined);
  if (settings.login !== undefined) followLogin(pool, settings.login);
  return pool;
}
