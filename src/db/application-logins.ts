import type pg from 'pg';
import { DaybookError } from '../errors.js';
import { readUser, sqlState, withConnection } from './admin-connection.js';
import { closeRoleSql, endRoleSessions, listRoleSessions, openRoleSql, type LoginSession } from './login-roles.js';
import { isApplicationLogin, roles, type ApplicationLogin } from './role-names.js';

/** Comment on a role whose password is a rotation's. Provisioning leaves such a role as it is, whether it logs in or not. */
const rotatedMark = 'Daybook: the password is set by rotation';
const insufficientPrivilege = '42501';

/** Whether a login may take over; `reason`, without secrets, why not. */
export type LoginTrial = { readonly works: true } | { readonly works: false; readonly reason: string };

/**
 * Opens a login of the application with the password of `verifier` (scram.ts). Every log of the server sees the verifier at
 * most. In the caller's transaction, where there is one, so that the change and the record of it commit together; repeating
 * it changes nothing more. Never for the login in force.
 */
export async function prepareLogin(admin: pg.ClientBase, role: string, verifier: string): Promise<void> {
  const login = assertLogin(role);
  await admin.query(`COMMENT ON ROLE ${login} IS '${rotatedMark}'; ${openRoleSql(login, verifier)}`);
}

/**
 * Logs in afresh and appends an audit entry in a transaction that is rolled back: what works here works for the service.
 * Throws DATABASE_UNAVAILABLE where the server cannot answer that now, so that nothing is known.
 */
export async function tryLogin(url: string): Promise<LoginTrial> {
  try {
    return await withConnection(url, async (client) => {
      const fault = await readFault(client);
      if (fault !== null) return { works: false, reason: `${readUser(url)} ${fault}` };
      // As one message, so that the ledger lock is held for no round trip.
      await client.query(
        `BEGIN; SET LOCAL lock_timeout = '10s';
         SELECT FROM public.signals LIMIT 1;
         INSERT INTO public.audit_entries (category, event, resource, details)
           VALUES ('SECRET', 'LoginTried', 'database-login', '{}');
         ROLLBACK`,
      );
      return { works: true };
    });
  } catch (err) {
    const reason = ((err as Error).cause instanceof Error ? ((err as Error).cause as Error) : (err as Error)).message;
    // What withConnection calls a fault of the configuration is a refused login.
    if (err instanceof DaybookError && err.code === 'CONFIG_INVALID') return { works: false, reason };
    if (sqlState(err) === insufficientPrivilege) return { works: false, reason };
    if (err instanceof DaybookError) throw err;
    throw new DaybookError('DATABASE_UNAVAILABLE', `the login could not be tried (${reason}): retry`, { cause: err });
  }
}

/** What a login of the application lacks, or has and must not have; null where it is as it should be. */
async function readFault(client: pg.Client): Promise<string | null> {
  const { rows } = await client.query<{ isMember: boolean; isMoreThanApplication: boolean; isOwner: boolean }>(
    `SELECT pg_has_role(session_user, $1, 'USAGE') AS "isMember",
       rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS "isMoreThanApplication",
       pg_has_role(session_user, $2, 'MEMBER') OR pg_has_role(session_user, $3, 'MEMBER')
         OR has_table_privilege(session_user, 'public.audit_entries', 'TRIGGER') AS "isOwner"
     FROM pg_catalog.pg_roles WHERE rolname = session_user`,
    [roles.applicationGroup, roles.owner, roles.migrator],
  );
  if (rows[0]?.isMember !== true) return `is no member of ${roles.applicationGroup}`;
  if (rows[0].isMoreThanApplication) return 'has attributes of an administrator';
  return rows[0].isOwner ? 'may act as the owner of the ledger, or alter its triggers' : null;
}

/** Sessions of a login of the application on the whole server: of other nodes and other databases too. */
export async function listSessions(admin: pg.Client, role: string): Promise<LoginSession[]> {
  const login = assertLogin(role);
  return await listRoleSessions(admin, login);
}

/**
 * Closes a login of the application and ends its sessions. Returns how many it ended; repeating it ends what is left. To be
 * called outside of a transaction. Throws DATABASE_UNAVAILABLE where a session does not end within ten seconds.
 *
 * A crash in between leaves the login closed, and sessions that the next call ends.
 */
export async function endLogin(admin: pg.Client, role: string): Promise<number> {
  // Committed first: nobody comes in behind the sessions that are ended.
  await closeLogin(admin, role);
  return endClosedSessions(admin, role);
}

/** Closes a login of the application, in the caller's transaction where there is one. Sessions that it has go on. */
export async function closeLogin(admin: pg.ClientBase, role: string): Promise<void> {
  const login = assertLogin(role);
  await admin.query(`COMMENT ON ROLE ${login} IS '${rotatedMark}'; ${closeRoleSql(login)}`);
}

/**
 * Ends the sessions of a login that is closed, and of no other: where somebody has opened it again meanwhile, this does
 * nothing. Returns how many. Throws DATABASE_UNAVAILABLE where one does not end within ten seconds.
 */
export async function endClosedSessions(admin: pg.Client, role: string): Promise<number> {
  return endRoleSessions(admin, assertLogin(role));
}

/** Whether a rotation sets the password of this role. */
export async function isRotated(admin: pg.ClientBase, role: string): Promise<boolean> {
  const found = await admin.query(
    `SELECT FROM pg_catalog.pg_roles WHERE rolname = $1 AND shobj_description(oid, 'pg_authid') = $2`,
    [role, rotatedMark],
  );
  return found.rowCount === 1;
}

function assertLogin(role: string): ApplicationLogin {
  if (!isApplicationLogin(role)) throw new TypeError(`${role} is no login of the application`);
  return role;
}
