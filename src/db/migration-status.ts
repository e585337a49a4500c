import type pg from 'pg';
import { withConnection } from './admin-connection.js';
import { MIGRATIONS_TABLE } from './orm.js';

/** `origin`: fires unless session_replication_role is replica. `always`: fires whatever that says. */
type TriggerState = 'origin' | 'disabled' | 'replica' | 'always';

interface TriggerStatus {
  readonly name: string;
  readonly state: TriggerState;
}

interface TableStatus {
  /** With its schema, as in `public.signals`. */
  readonly name: string;
  /** Types as PostgreSQL spells them, as in `timestamp with time zone`. */
  readonly columns: readonly { readonly name: string; readonly type: string; readonly nullable: boolean }[];
  readonly triggers: readonly TriggerStatus[];
}

export interface MigrationStatus {
  /** Times are RFC 3339 in UTC. */
  readonly executed: readonly { readonly name: string; readonly executedAt: string }[];
  readonly pending: readonly string[];
  /** Executed by a newer version of Daybook: this one must not write here. */
  readonly unknown: readonly string[];
  readonly tables: readonly TableStatus[];
  readonly eventTriggers: readonly (TriggerStatus & { readonly event: string })[];
}

const STATE_SQL = (column: string) =>
  `CASE ${column} WHEN 'O' THEN 'origin' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END`;

/**
 * What the database holds, read from the catalogue and not from memory. `names`: every migration of this version in order.
 * Any role's URL will do.
 */
export async function readMigrationStatus(url: string, names: readonly string[]): Promise<MigrationStatus> {
  return withConnection(url, async (client) => {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const executed = await readExecuted(client);
    const done = new Set(executed.map(({ name }) => name));
    return {
      executed,
      pending: names.filter((name) => !done.has(name)),
      unknown: [...done].filter((name) => !names.includes(name)),
      tables: await readTables(client),
      eventTriggers: await readEventTriggers(client),
    };
  });
}

async function readExecuted(client: pg.Client): Promise<{ name: string; executedAt: string }[]> {
  const table = await client.query(`SELECT FROM pg_class WHERE oid = to_regclass('public.${MIGRATIONS_TABLE}')`);
  if (table.rows.length === 0) {
    return [];
  }
  const { rows } = await client.query<{ name: string; executedAt: string }>(`
    SELECT name, to_char(executed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "executedAt"
    FROM public.${MIGRATIONS_TABLE} ORDER BY id`);
  return rows;
}

async function readTables(client: pg.Client): Promise<TableStatus[]> {
  const { rows } = await client.query<TableStatus>(`
    SELECT format('%I.%I', nspname, relname) AS name,
      (SELECT coalesce(json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod),
                                                  'nullable', NOT attnotnull) ORDER BY attnum), '[]')
       FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped) AS columns,
      (SELECT coalesce(json_agg(json_build_object('name', tgname, 'state', ${STATE_SQL('tgenabled')}) ORDER BY tgname), '[]')
       FROM pg_trigger WHERE tgrelid = pg_class.oid AND NOT tgisinternal) AS triggers
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND nspname <> 'information_schema' AND nspname !~ '^pg_'
    ORDER BY nspname, relname`);
  return rows;
}

async function readEventTriggers(client: pg.Client): Promise<(TriggerStatus & { event: string })[]> {
  const { rows } = await client.query<TriggerStatus & { event: string }>(
    `SELECT evtname AS name, evtevent AS event, ${STATE_SQL('evtenabled')} AS state FROM pg_event_trigger ORDER BY evtname`,
  );
  return rows;
}
