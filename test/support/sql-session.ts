import pg from 'pg';

/** A connection as any SQL client opens it: none of the service's settings, values as pg gives them. */
export interface SqlSession extends AsyncDisposable {
  readonly client: pg.Client;
  /** Runs one or several statements and returns the rows of the last. */
  run(sql: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
  /** The first column of the first row. */
  value(sql: string, values?: unknown[]): Promise<unknown>;
  /** The error that the statements end in; fails where they succeed. */
  failure(sql: string, values?: unknown[]): Promise<pg.DatabaseError>;
}

/** `before`: statements that set the session up, such as `SET ROLE daybook_owner`. */
export async function openSession(url: string, before = ''): Promise<SqlSession> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  if (before !== '') await client.query(before);
  const run = async (sql: string, values?: unknown[]) => {
    const results = (await client.query(sql, values)) as unknown;
    const last = (Array.isArray(results) ? results.at(-1) : results) as pg.QueryResult<Record<string, unknown>>;
    return last.rows;
  };
  return {
    client,
    run,
    value: async (sql, values) => Object.values((await run(sql, values))[0] ?? {})[0],
    failure: async (sql, values) => {
      try {
        await client.query(sql, values);
      } catch (error) {
        if (error instanceof pg.DatabaseError) return error;
        throw error;
      }
      throw new Error(`this was not refused: ${sql}`);
    },
    [Symbol.asyncDispose]: () => client.end().catch(() => undefined),
  };
}

/** A signal as SQL: the columns a client must give, with `count` rows. */
export function insertSignalsSql(count = 1, note = 'plain'): string {
  return `INSERT INTO public.signals (symbol, action, entry_price, confidence, rationale, producer)
    SELECT 'BTC-USD', 'BUY', 100.50, 0.75, 'The fast average crossed above the slow one: ${note} ' || number, 'desk'
    FROM generate_series(1, ${count}) AS number`;
}

/** An audit entry as SQL with `count` rows. */
export function insertEntriesSql(count = 1, note = 'plain'): string {
  return `INSERT INTO public.audit_entries (category, event, resource, details)
    SELECT 'ORDER', 'OrderAccepted', 'order ' || number, json_build_object('note', '${note}', 'number', number)
    FROM generate_series(1, ${count}) AS number`;
}
