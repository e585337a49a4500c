import type pg from 'pg';
import { readPassword, sqlState, withConnection } from './admin-connection.js';
import { missingLayer, type MissingLayer } from './missing-layer.js';
import { roles, type RoleUrls } from './roles.js';

const installLock = '7219460237150043';
const attemptServer = 'daybook_attempts';
const cascadingTags = ['DROP SCHEMA', 'DROP FUNCTION', 'DROP ROUTINE', 'DROP OWNED', 'DROP EXTENSION', 'DROP LANGUAGE']
  .map((tag) => `'${tag}'`)
  .join(', ');
/** Name of each event trigger and the event it fires on; both run daybook.refuse_ddl(). */
const eventTriggers = [
  ['daybook_refuse_ddl', 'ddl_command_end'],
  ['daybook_refuse_drop', 'sql_drop'],
  // A drop that takes the function, its schema or its language along would take the other two triggers along as well.
  ['daybook_refuse_cascade', `ddl_command_start WHEN TAG IN (${cascadingTags})`],
] as const;

/**
 * Installs what a migration cannot: the loop-back server by which a refused modification leaves a record that survives its
 * rollback, and the event triggers that refuse changes to the schema. Run after the migrations and on each start, for port,
 * database name and password may have changed. Returns the layers this server cannot give. Repeating it changes nothing.
 */
export async function installRefusalLayers(urls: RoleUrls): Promise<readonly MissingLayer[]> {
  if (urls.migrator === urls.superuser) {
    const reason = 'the ledger needs roles of its own for it';
    return [missingLayer('dblink', reason), missingLayer('event-trigger', reason)];
  }
  const dblink = await asMigrator(urls, (migrator) => installAttemptServer(migrator, urls.attemptWriter));
  const eventTrigger = await withConnection(urls.superuser, installEventTriggers);
  return [dblink, eventTrigger].filter((layer) => layer !== null);
}

/**
 * Runs `work` as the migrator. Where the administrator is a superuser it becomes the migrator after it has switched the
 * server's statement log off for its session, for `work` sends a password that has to be stored in plain text.
 */
async function asMigrator<T>(urls: RoleUrls, work: (migrator: pg.Client) => Promise<T>): Promise<T> {
  return withConnection(urls.superuser, async (admin) => {
    const { rows } = await admin.query<{ superuser: boolean }>(
      'SELECT rolsuper AS superuser FROM pg_roles WHERE rolname = current_user',
    );
    if (rows[0]?.superuser !== true) return withConnection(urls.migrator, work);
    await admin.query(
      'SET log_statement = none; SET log_min_duration_statement = -1; SET log_min_error_statement = panic',
    );
    await admin.query(`SET SESSION AUTHORIZATION ${roles.migrator}`);
    return work(admin);
  });
}

async function installAttemptServer(migrator: pg.Client, attemptWriterUrl: string): Promise<MissingLayer | null> {
  const extension = await migrator.query("SELECT FROM pg_extension WHERE extname = 'dblink'");
  if (extension.rowCount === 0) return missingLayer('dblink', 'the extension dblink is not installed');
  try {
    await migrator.query('BEGIN');
    // Nodes that start together change the same catalogue rows.
    await migrator.query(`SELECT pg_advisory_xact_lock(${installLock})`);
    await migrator.query(`SET LOCAL ROLE ${roles.owner}`);
    await migrator.query(attemptServerStatements);
    await migrator.query(`SELECT set_config('daybook.attempt_password', $1, true)`, [
      readPassword(attemptWriterUrl) ?? '',
    ]);
    await migrator.query(userMappingStatements);
    await migrator.query(`SELECT daybook.dblink_exec('${attemptServer}', 'SET statement_timeout = 1000')`);
    await migrator.query('COMMIT');
    return null;
  } catch (err) {
    await migrator.query('ROLLBACK');
    if (sqlState(err) === undefined) throw err;
    return missingLayer('dblink', (err as Error).message);
  }
}

/** The server's own address as it sees itself. */
const attemptServerStatements = `DO $$
DECLARE
  address text := CASE WHEN current_setting('listen_addresses') = ''
    THEN split_part(current_setting('unix_socket_directories'), ',', 1) ELSE '127.0.0.1' END;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_foreign_server WHERE srvname = '${attemptServer}') THEN
    EXECUTE format('CREATE SERVER ${attemptServer} FOREIGN DATA WRAPPER dblink_fdw
      OPTIONS (host %L, port %L, dbname %L, connect_timeout ''2'')', address, current_setting('port'), current_database());
  ELSE
    EXECUTE format('ALTER SERVER ${attemptServer} OPTIONS (SET host %L, SET port %L, SET dbname %L)',
      address, current_setting('port'), current_database());
  END IF;
END $$`;

const userMappingStatements = `DO $$
BEGIN
  EXECUTE format('DROP USER MAPPING IF EXISTS FOR ${roles.owner} SERVER ${attemptServer}');
  EXECUTE format('CREATE USER MAPPING FOR ${roles.owner} SERVER ${attemptServer} OPTIONS (user %L, password %L)',
    '${roles.attemptWriter}', current_setting('daybook.attempt_password'));
END $$`;

async function installEventTriggers(admin: pg.Client): Promise<MissingLayer | null> {
  try {
    for (const [name, event] of eventTriggers) {
      const existing = await admin.query('SELECT FROM pg_event_trigger WHERE evtname = $1', [name]);
      if (existing.rowCount !== 0) continue;
      await admin.query(`CREATE EVENT TRIGGER ${name} ON ${event} EXECUTE FUNCTION daybook.refuse_ddl()`);
      await admin.query(`ALTER EVENT TRIGGER ${name} ENABLE ALWAYS`);
    }
    return null;
  } catch (err) {
    if (sqlState(err) !== '42501') throw err;
    return missingLayer('event-trigger', (err as Error).message);
  }
}
