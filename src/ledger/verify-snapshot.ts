import pg from 'pg';
import { ledgerConnection } from '../db/pool.js';

/**
 * Begins a read-only transaction that shows the database as it stood at one moment, or as `snapshot`, exported by another
 * such transaction, shows it. Every name is to be qualified, and a row security policy raises an error: neither a
 * temporary table nor a policy hides rows.
 */
export async function beginSnapshot(client: pg.ClientBase, snapshot?: string): Promise<void> {
  // As SQL text, because SET takes no parameter.
  const shared = snapshot === undefined ? '' : `SET TRANSACTION SNAPSHOT ${pg.escapeLiteral(snapshot)};`;
  await client.query(
    `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ${shared}
     SET LOCAL row_security = off; SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = 0;
     SET LOCAL idle_in_transaction_session_timeout = 0;
     SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL bytea_output = 'hex'`,
  );
}

/** Ends what beginSnapshot began. Nothing was written; on a broken connection the server has rolled back itself. */
export async function endSnapshot(client: pg.ClientBase): Promise<void> {
  await client.query('ROLLBACK').catch(() => undefined);
}

/** Makes the open transaction's view of the database available to others, as long as it lasts. */
export async function exportSnapshot(client: pg.ClientBase): Promise<string> {
  const exported = await client.query<{ snapshot: string }>('SELECT pg_export_snapshot() AS snapshot');
  const [row] = exported.rows;
  if (row === undefined) throw new Error('the server exported no snapshot');
  return row.snapshot;
}

/** An open connection for verification; a connection that breaks is reported by the query under way. */
export async function connectForVerification(url: string): Promise<pg.Client> {
  const client = new pg.Client(ledgerConnection(url, 'daybook verify'));
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/**
 * Runs `work` in a snapshot of the given connection, or of one of its own, which is closed afterwards; in the one that was
 * exported as `snapshot` where that is given.
 */
export async function withSnapshot<Result>(
  source: { readonly url: string } | { readonly client: pg.Client },
  work: (client: pg.Client) => Promise<Result>,
  snapshot?: string,
): Promise<Result> {
  const client = 'client' in source ? source.client : await connectForVerification(source.url);
  try {
    await beginSnapshot(client, snapshot);
    try {
      return await work(client);
    } finally {
      await endSnapshot(client);
    }
  } finally {
    if (!('client' in source)) await client.end();
  }
}
