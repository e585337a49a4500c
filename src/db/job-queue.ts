import { createRequire } from 'node:module';
import type { Logger } from 'pino';
import { readUser, withConnection } from './admin-connection.js';
import { openPool } from './pool.js';
import { roles } from './role-names.js';

/** Where the job queue keeps its tables and functions. */
export const jobQueueSchema = 'graphile_worker';

type GraphileWorker = typeof import('graphile-worker');

let library: GraphileWorker | undefined;

/**
 * The library of the job queue; import it by this function only. When it is first loaded it searches the working directory
 * and the folders above it for configuration files, and runs those it finds. Here the search begins at this file instead,
 * as Node's own search for packages does. Nothing else runs in between, for `require` does not wait.
 */
export function loadGraphileWorker(): GraphileWorker {
  if (library !== undefined) return library;
  const workingDirectory = Object.getOwnPropertyDescriptor(process, 'cwd')!;
  Object.defineProperty(process, 'cwd', { ...workingDirectory, value: () => import.meta.dirname });
  try {
    library = createRequire(import.meta.url)('graphile-worker') as GraphileWorker;
    return library;
  } finally {
    Object.defineProperty(process, 'cwd', workingDirectory);
  }
}

/**
 * Translates the library's log lines. Of what it attaches only the error is taken over: the rest holds payloads of jobs.
 * Lines about single jobs are for debugging, because the runner writes its own.
 */
export function createWorkerLogger(log: Logger): InstanceType<GraphileWorker['Logger']> {
  const { Logger } = loadGraphileWorker();
  return new Logger(() => (level, message, meta) => {
    const aboutOneJob = meta?.['failure'] === true || meta?.['success'] === true;
    const bindings = meta?.['error'] === undefined ? {} : { err: meta['error'] };
    if (aboutOneJob || level === 'debug' || level === 'info') log.debug(bindings, message);
    else log.warn(bindings, message);
  });
}

/**
 * Installs or upgrades the job queue's schema and lets the application use it. For the migrator, under the migration lock,
 * on each start. Each migration of the library is a transaction of its own: a crash in between leaves the first ones done,
 * and the next start goes on from there. On a database that has everything this only reads.
 */
export async function installJobQueue(migratorUrl: string, log: Logger): Promise<void> {
  const { runMigrations } = loadGraphileWorker();
  const settings = {
    connectionString: migratorUrl,
    application_name: 'daybook job queue',
    max: 1,
    connectionTimeoutMillis: 10_000,
    // What it makes belongs to the owner, who cannot log in.
    ...(readUser(migratorUrl) === roles.migrator ? { options: `-c role=${roles.owner}` } : {}),
  };
  const pool = openPool(settings, (err) => log.warn({ err }, 'the connection that installs the job queue broke'));
  try {
    await runMigrations({
      pgPool: pool,
      schema: jobQueueSchema,
      logger: createWorkerLogger(log),
      noHandleSignals: true,
      parsedCronItems: [],
    });
  } finally {
    await pool.end();
  }
  await grantAccess(migratorUrl);
}

async function grantAccess(migratorUrl: string): Promise<void> {
  // On a server without separate roles the application owns the queue.
  if (readUser(migratorUrl) !== roles.migrator) return;
  await withConnection(migratorUrl, async (migrator) => {
    const { rows } = await migrator.query<{ statement: string }>(missingAccess, [
      jobQueueSchema,
      roles.applicationGroup,
    ]);
    if (rows.length === 0) return;
    await migrator.query('BEGIN');
    await migrator.query(`SET LOCAL ROLE ${roles.owner}`);
    for (const { statement } of rows) {
      await migrator.query(statement);
    }
    await migrator.query('COMMIT');
  });
}

/**
 * The statements that are still to be run for the application ($2) to use the schema ($1). Its tables have row level
 * security, which without a policy hides every row from whoever is not the owner. The list of the library's migrations can
 * be read only: whoever wrote to it could have the migrator run one again.
 */
const missingAccess = `
  WITH relation AS (
    SELECT pg_class.oid, relkind, relrowsecurity,
      format('%I.%I', nspname, relname) AS name,
      CASE WHEN relkind = 'S' THEN ARRAY['USAGE']
           WHEN relname = 'migrations' OR relkind = 'v' THEN ARRAY['SELECT']
           ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END AS rights
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = $1::text AND relkind IN ('r', 'p', 'v', 'S')
  )
  SELECT format('GRANT USAGE ON SCHEMA %I TO %I', $1::text, $2::name) AS statement
  WHERE NOT has_schema_privilege($2::name, $1::text, 'USAGE')
  UNION ALL
  SELECT format('GRANT %s ON %s %s TO %I', array_to_string(rights, ', '),
    CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, name, $2::name)
  FROM relation
  WHERE EXISTS (SELECT FROM unnest(rights) AS wanted (privilege) WHERE NOT CASE relkind
    WHEN 'S' THEN has_sequence_privilege($2::name, oid, privilege) ELSE has_table_privilege($2::name, oid, privilege) END)
  UNION ALL
  SELECT format('CREATE POLICY %I ON %s FOR ALL TO %1$I USING (true) WITH CHECK (true)', $2::name, name)
  FROM relation
  WHERE relrowsecurity AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = relation.oid AND polname = $2::name)
  UNION ALL
  SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC; GRANT EXECUTE ON FUNCTION %1$s TO %I', oid::regprocedure, $2::name)
  FROM pg_proc
  WHERE pronamespace = to_regnamespace($1::text) AND prokind = 'f'
    AND (proacl IS NULL OR EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0)
         OR NOT has_function_privilege($2::name, oid, 'EXECUTE'))`;
