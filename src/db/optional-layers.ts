import type pg from 'pg';
import { sqlState } from './admin-connection.js';
import { missingLayer, type MissingLayer } from './missing-layer.js';
import { roles } from './role-names.js';
import type { ServerFacts } from './server-facts.js';

const INSUFFICIENT_PRIVILEGE = '42501';
const RESERVED_CONNECTIONS_VERSION = 160_000;

/**
 * Puts in place what a superuser can: the extension dblink in the schema `daybook`, for the owner alone, and the right to
 * reserved connections. Looks whether event triggers can be had. Returns what is missing; a prepared server is only read.
 */
export async function prepareOptionalLayers(
  admin: pg.Client,
  facts: ServerFacts,
  separated: boolean,
): Promise<MissingLayer[]> {
  const layers = [
    await prepareDblink(admin, separated ? roles.owner : null),
    await probeEventTrigger(admin, facts),
    separated ? await prepareReservedConnections(admin, facts) : null,
  ];
  return layers.filter((layer) => layer !== null);
}

/** `owner` null: the administrator itself owns the ledger. */
async function prepareDblink(admin: pg.Client, owner: string | null): Promise<MissingLayer | null> {
  if (await isDblinkReady(admin, owner)) {
    return null;
  }
  try {
    await admin.query('BEGIN');
    await admin.query(`CREATE SCHEMA IF NOT EXISTS daybook AUTHORIZATION ${owner ?? 'CURRENT_USER'}`);
    await admin.query('CREATE EXTENSION IF NOT EXISTS dblink SCHEMA daybook');
    await admin.query('ALTER EXTENSION dblink SET SCHEMA daybook');
    // Whoever may call dblink can reach any server this one can: nobody but the owner.
    for (const { signature } of await listDblinkFunctions(admin)) {
      if (signature.includes('dblink_connect_u')) {
        // Logs in as a superuser wherever pg_hba.conf trusts the server's own user; nothing here needs it.
        await admin.query(`ALTER EXTENSION dblink DROP FUNCTION ${signature}; DROP FUNCTION ${signature}`);
        continue;
      }
      await admin.query(`REVOKE EXECUTE ON FUNCTION ${signature} FROM PUBLIC`);
      await admin.query(`GRANT EXECUTE ON FUNCTION ${signature} TO ${owner ?? 'CURRENT_USER'}`);
    }
    await admin.query(`GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO ${owner ?? 'CURRENT_USER'}`);
    await admin.query('COMMIT');
  } catch (err) {
    await admin.query('ROLLBACK');
    if (sqlState(err) === undefined) {
      throw err;
    }
    return missingLayer('dblink', (err as Error).message);
  }
  return (await isDblinkReady(admin, owner))
    ? null
    : missingLayer('dblink', 'this user may not pass on the rights to the extension');
}

async function listDblinkFunctions(admin: pg.Client): Promise<{ signature: string }[]> {
  const { rows } = await admin.query<{ signature: string }>(
    `SELECT objid::regprocedure::text AS signature FROM pg_depend
     WHERE classid = 'pg_proc'::regclass AND deptype = 'e'
       AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'dblink')`,
  );
  return rows;
}

async function isDblinkReady(admin: pg.Client, owner: string | null): Promise<boolean> {
  // Two statements, for the second is an error where the first finds nothing.
  const found = await admin.query<{ function: string | null }>(
    `SELECT to_regprocedure('daybook.dblink_exec(text, text)')::text AS function
     FROM pg_foreign_data_wrapper WHERE fdwname = 'dblink_fdw'`,
  );
  if (!found.rows[0]?.function) {
    return false;
  }
  const { rows } = await admin.query<{ ready: boolean }>(
    `SELECT has_function_privilege(role, 'daybook.dblink_exec(text, text)', 'EXECUTE')
        AND has_foreign_data_wrapper_privilege(role, 'dblink_fdw', 'USAGE')
        AND NOT has_function_privilege('public', 'daybook.dblink_exec(text, text)', 'EXECUTE') AS ready
     FROM coalesce($1, current_user) AS role`,
    [owner],
  );
  return rows[0]!.ready;
}

async function probeEventTrigger(admin: pg.Client, facts: ServerFacts): Promise<MissingLayer | null> {
  const { rows } = await admin.query("SELECT FROM pg_event_trigger WHERE evtname LIKE 'daybook%'");
  if (facts.superuser || rows.length > 0) {
    return null;
  }
  // Some managed servers let users other than superusers make them: trying is the only way to know.
  try {
    await admin.query('BEGIN');
    await admin.query("CREATE FUNCTION pg_temp.probe() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'");
    await admin.query('CREATE EVENT TRIGGER daybook_probe ON ddl_command_start EXECUTE FUNCTION pg_temp.probe()');
    return null;
  } catch (err) {
    if (sqlState(err) !== INSUFFICIENT_PRIVILEGE) {
      throw err;
    }
    return missingLayer('event-trigger', (err as Error).message);
  } finally {
    await admin.query('ROLLBACK');
  }
}

async function prepareReservedConnections(admin: pg.Client, facts: ServerFacts): Promise<MissingLayer | null> {
  if (facts.version < RESERVED_CONNECTIONS_VERSION) {
    return missingLayer('reserved-connections', 'this version of PostgreSQL reserves connections for superusers only');
  }
  const { rows } = await admin.query<{ member: boolean; reserved: number }>(
    `SELECT pg_has_role($1, 'pg_use_reserved_connections', 'USAGE') AS member,
            current_setting('reserved_connections')::int AS reserved`,
    [roles.attemptWriter],
  );
  const { member, reserved } = rows[0]!;
  if (reserved === 0) {
    return missingLayer('reserved-connections', 'the setting reserved_connections is 0');
  }
  if (member) {
    return null;
  }
  try {
    await admin.query(`GRANT pg_use_reserved_connections TO ${roles.attemptWriter}`);
    return null;
  } catch (err) {
    if (sqlState(err) !== INSUFFICIENT_PRIVILEGE) {
      throw err;
    }
    return missingLayer('reserved-connections', (err as Error).message);
  }
}
