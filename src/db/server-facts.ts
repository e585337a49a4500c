import type pg from 'pg';
import { DaybookError } from '../errors.js';
import { describeServer } from './admin-connection.js';

const OLDEST_VERSION = 150_000;

/** What the administrator's own session says about server and database. */
export interface ServerFacts {
  /** As `server_version_num`: 180004 is 18.4. */
  readonly version: number;
  readonly encoding: string;
  readonly standby: boolean;
  readonly superuser: boolean;
  readonly mayCreateRoles: boolean;
}

/** Throws DATABASE_UNSUPPORTED for a server older than 15, a database not in UTF-8, or a standby. */
export async function readServerFacts(admin: pg.Client, adminUrl: string): Promise<ServerFacts> {
  const { rows } = await admin.query<ServerFacts>(`
    SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby,
           pg_encoding_to_char(encoding) AS encoding, rolsuper AS superuser, rolsuper OR rolcreaterole AS "mayCreateRoles"
    FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()`);
  const facts = rows[0]!;
  const server = `The PostgreSQL database ${describeServer(adminUrl)}`;
  if (facts.version < OLDEST_VERSION) {
    const major = Math.floor(facts.version / 10_000);
    throw new DaybookError('DATABASE_UNSUPPORTED', `${server} runs version ${major}. Daybook needs 15 or later.`);
  }
  if (facts.encoding !== 'UTF8') {
    throw new DaybookError(
      'DATABASE_UNSUPPORTED',
      `${server} has the encoding ${facts.encoding}. Create one with: CREATE DATABASE daybook TEMPLATE template0 ENCODING 'UTF8'.`,
    );
  }
  if (facts.standby) {
    throw new DaybookError(
      'DATABASE_UNSUPPORTED',
      `${server} is on a standby, which is read only. Name the primary in DATABASE_URL.`,
    );
  }
  return facts;
}
