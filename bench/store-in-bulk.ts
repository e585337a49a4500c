import pg from 'pg';
import { ledgerConnection } from '../src/db/pool.js';
import type { BenchDatabase } from './bench-database.js';

const batchRows = 10_000;

/** Fills the audit log by INSERT … SELECT, which is faster than the writer and leaves the same rows. */
export async function storeEntriesInBulk(database: BenchDatabase, entries: number, signal: AbortSignal): Promise<void> {
  const client = new pg.Client(ledgerConnection(database.urls.application, 'daybook bench'));
  await client.connect();
  try {
    for (let stored = 0; stored < entries; stored += batchRows) {
      signal.throwIfAborted();
      await client.query(
        `INSERT INTO public.audit_entries (category, event, actor, resource, session_id, request_id, details)
         SELECT 'ORDER', 'OrderAccepted', 'desk', 'order-' || number, 'session-7', 'request-' || number,
           ('{"price":"101.25","quantity":"' || number || '","side":"BUY","symbol":"AAPL"}')::json
         FROM generate_series($1::int, $2::int) AS number`,
        [stored + 1, Math.min(stored + batchRows, entries)],
      );
    }
  } finally {
    await client.end();
  }
}
