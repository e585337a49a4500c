import pg from 'pg';

/** How PostgreSQL refused a statement. */
export interface Refusal {
  readonly sqlState: string;
  readonly message: string;
}

/**
 * Tries to double a recorded signal's entry price with plain SQL, past the API. Throws when PostgreSQL lets it pass: then
 * the ledger does not hold what it promises.
 */
export async function attemptUpdate(databaseUrl: string, signalId: string): Promise<Refusal> {
  const client = new pg.Client({ connectionString: databaseUrl, application_name: 'daybook demo' });
  // A connection that breaks is reported by the query under way.
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query('UPDATE public.signals SET entry_price = entry_price * 2 WHERE signal_id = $1', [signalId]);
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.code === undefined) throw error;
    return { sqlState: error.code, message: error.message };
  } finally {
    await client.end();
  }
  throw new Error(`PostgreSQL accepted an UPDATE of signal ${signalId}: it must refuse every one`);
}
