import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { DaybookError } from '../errors.js';

/** What scramVerifier makes, and nothing that would have to be quoted. */
const verifierForm = /^SCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+$/;
/** How long sessions that were told to end may take, in milliseconds. */
const endWaitMs = 10_000;
const endLookMs = 50;
/** A login that was let in before it was closed shows among the sessions so long afterwards at most, in milliseconds. */
const settleMs = 250;

/** A session of a role, in whatever database of the server. What its own settings say is null where it is not to be seen. */
export interface LoginSession {
  readonly pid: number;
  readonly database: string | null;
  readonly applicationName: string | null;
  readonly clientAddress: string | null;
}

/** The statement that opens a role with the password of a verifier (scram.ts): no log of the server sees more of it. */
export function openRoleSql(role: string, verifier: string): string {
  if (!verifierForm.test(verifier)) throw new TypeError('a SCRAM-SHA-256 verifier is wanted, and no password');
  return `ALTER ROLE ${pg.escapeIdentifier(role)} LOGIN PASSWORD '${verifier}'`;
}

/** The statement that closes a role. Sessions that it has go on. */
export function closeRoleSql(role: string): string {
  return `ALTER ROLE ${pg.escapeIdentifier(role)} NOLOGIN PASSWORD NULL`;
}

/** Sessions of a role on the whole server. */
export function listRoleSessions(admin: pg.Client, role: string): Promise<LoginSession[]> {
  return withSightOf(admin, role, () => readSessions(admin, role));
}

/**
 * Ends the sessions of a role that is closed, and of no other: where somebody has opened it again meanwhile, this does nothing.
 * Returns how many. Throws DATABASE_UNAVAILABLE where one does not end within ten seconds.
 */
export function endRoleSessions(admin: pg.Client, role: string): Promise<number> {
  return withSightOf(admin, role, async () => {
    const ended = await endSessions(admin, role);
    await delay(settleMs);
    return ended + (await endSessions(admin, role));
  });
}

async function endSessions(admin: pg.Client, role: string): Promise<number> {
  const ended = new Set<number>();
  for (let waitedMs = 0; ; waitedMs += endLookMs) {
    const sessions = await readSessions(admin, role);
    if (sessions.length === 0) return ended.size;
    if (waitedMs >= endWaitMs) {
      throw new DaybookError('DATABASE_UNAVAILABLE', `${sessions.length} sessions of ${role} do not end: retry`);
    }
    const pids = sessions.map(({ pid }) => pid).filter((pid) => !ended.has(pid));
    const told = await admin.query<{ pid: number }>(
      `SELECT pid, pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid
       WHERE EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $2 AND NOT rolcanlogin)`,
      [pids, role],
    );
    if (told.rowCount !== pids.length) return ended.size;
    for (const pid of pids) ended.add(pid);
    await delay(endLookMs);
  }
}

async function readSessions(admin: pg.Client, role: string): Promise<LoginSession[]> {
  // In a transaction the list would stay what it was at the first look.
  await admin.query('SELECT pg_stat_clear_snapshot()');
  const { rows } = await admin.query<LoginSession>(
    `SELECT pid, datname::text AS database, application_name AS "applicationName", host(client_addr) AS "clientAddress"
     FROM pg_catalog.pg_stat_activity WHERE usename = $1 ORDER BY pid`,
    [role],
  );
  return rows;
}

/**
 * An administrator that is no superuser sees and ends the sessions of roles it is a member of. It becomes one for the time of
 * `work`, in a transaction that is rolled back, so that no membership ever stands in the catalogue.
 */
async function withSightOf<T>(admin: pg.Client, role: string, work: () => Promise<T>): Promise<T> {
  const { rows } = await admin.query<{ sees: boolean }>(`SELECT pg_has_role($1, 'USAGE') AS sees`, [role]);
  if (rows[0]?.sees === true) return work();
  await admin.query('BEGIN');
  try {
    await admin.query(`GRANT ${pg.escapeIdentifier(role)} TO CURRENT_USER`);
    return await work();
  } finally {
    await admin.query('ROLLBACK');
  }
}
