import type pg from 'pg';
import { applicationLogins, roles } from './role-names.js';
import { scramVerifier } from './scram.js';

/** Every role that logs in, now or after a rotation. */
const logins = [...applicationLogins, roles.auditor, roles.migrator, roles.attemptWriter];

/**
 * Creates the roles that are missing, their memberships and their rights on the current database. Each step looks first, so
 * a prepared server is only read. `passwords`: of the roles that log in; a role that is not among them is made without a login.
 * To be run in a transaction. PostgreSQL's own error (42501) says what the administrator may not do.
 */
export async function ensureRoles(admin: pg.Client, passwords: ReadonlyMap<string, string>): Promise<void> {
  const { rows } = await admin.query<{ rolname: string }>(
    'SELECT rolname FROM pg_roles WHERE rolname = ANY ($1::text[])',
    [Object.values(roles)],
  );
  const present = new Set(rows.map((row) => row.rolname));
  for (const role of Object.values(roles).filter((name) => !present.has(name))) {
    const password = passwords.get(role);
    await admin.query(
      `CREATE ROLE ${role} ${password === undefined ? 'NOLOGIN' : `LOGIN PASSWORD '${scramVerifier(password)}'`}`,
    );
    if (role === roles.auditor) {
      // The grants are what holds; this makes a mistake fail early, with a clear message.
      await admin.query(`ALTER ROLE ${role} SET default_transaction_read_only = on`);
    }
  }
  for (const login of applicationLogins) {
    await ensureMembership(admin, roles.applicationGroup, login);
  }
  await ensureMembership(admin, roles.owner, roles.migrator);
  // An administrator without superuser must act as the owner to give it rights and to look at the ledger.
  await ensureMembership(admin, roles.owner, null);
  await ensureDatabaseRights(admin);
}

/** Makes `member`, null for the administrator, inherit the rights of `group` and able to SET ROLE to it. */
async function ensureMembership(admin: pg.Client, group: string, member: string | null): Promise<void> {
  // From 16 on the creator of a role is its administrator without being its member in these two senses.
  const { rows } = await admin.query<{ member: boolean }>(
    `SELECT pg_has_role(coalesce($1, current_user), $2, 'USAGE') AND pg_has_role(coalesce($1, current_user), $2,
       CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) AS member`,
    [member, group],
  );
  if (!rows[0]!.member) {
    await admin.query(`GRANT ${group} TO ${member ?? 'CURRENT_USER'}`);
  }
}

/**
 * The owner makes schemas and tables in the database but does not own it: the migrator acts as the owner, and must not be
 * able to drop the database.
 */
async function ensureDatabaseRights(admin: pg.Client): Promise<void> {
  const { rows } = await admin.query<{ grant: string }>(
    `WITH login (role) AS (SELECT unnest($2::text[])), database (name) AS (SELECT current_database())
     SELECT format('GRANT CREATE, TEMPORARY ON DATABASE %I TO %I', name, $1::text) AS grant FROM database
       WHERE NOT has_database_privilege($1, name, 'CREATE')
     UNION ALL
     SELECT format('GRANT CONNECT ON DATABASE %I TO %I', name, role) FROM database, login
       WHERE NOT has_database_privilege(role, name, 'CONNECT')
     UNION ALL
     SELECT format('GRANT USAGE, CREATE ON SCHEMA public TO %I WITH GRANT OPTION', $1::text) FROM pg_namespace
       WHERE nspname = 'public' AND NOT (has_schema_privilege($1, oid, 'CREATE WITH GRANT OPTION')
                                         AND has_schema_privilege($1, oid, 'USAGE WITH GRANT OPTION'))`,
    [roles.owner, logins],
  );
  for (const row of rows) {
    await admin.query(row.grant);
  }
}

/** What the owner and the logins lack on the current database after ensureRoles; null when nothing. */
export async function readLackingRight(admin: pg.Client): Promise<string | null> {
  // A GRANT by somebody who may not pass the right on is only a warning.
  const { rows } = await admin.query<{ owner: boolean; connect: boolean }>(
    `SELECT has_database_privilege($1, current_database(), 'CREATE') AS owner,
            bool_and(has_database_privilege(role, current_database(), 'CONNECT')) AS connect
     FROM unnest($2::text[]) AS role`,
    [roles.owner, logins],
  );
  const { owner, connect } = rows[0]!;
  return owner && connect ? null : 'this user does not own the database and cannot pass rights on it to the roles';
}
