import pg from 'pg';
import { ledgerConnection } from '../src/db/pool.js';
import type { BenchDatabase } from './bench-database.js';

const batchRows = 10_000;
/** Entries at the end of the log whose values occur nowhere before: a list that begins with the oldest has them all to pass. */
const lateRows = 100;

/**
 * Fills the audit log up to `entries` by INSERT … SELECT: calls, orders and fills of twenty desks, one call in fifty refused,
 * and at the very end what nobody did before. `report` is told the share that is stored.
 */
export async function storeAuditLog(
  database: BenchDatabase,
  entries: number,
  signal: AbortSignal,
  report: (share: number) => void,
): Promise<void> {
  const client = new pg.Client(ledgerConnection(database.urls.application, 'daybook bench'));
  await client.connect();
  try {
    for (let stored = 0; stored < entries; stored += batchRows) {
      signal.throwIfAborted();
      report(stored / entries);
      await client.query(insertText, [stored, Math.min(stored + batchRows, entries) - 1, entries - lateRows]);
    }
  } finally {
    await client.end();
  }
}

const insertText = `
  INSERT INTO public.audit_entries (category, event, action, actor, role, resource, outcome, ip_address, session_id,
    request_id, details)
  SELECT
    CASE WHEN late THEN 'SECRET' WHEN number % 10 < 7 THEN 'API' WHEN number % 10 < 9 THEN 'ORDER' ELSE 'FILL' END,
    CASE WHEN late THEN 'SecretRotated' WHEN number % 10 < 7 THEN 'ApiCall' WHEN number % 10 < 9 THEN 'OrderAccepted'
      ELSE 'Filled' END,
    CASE WHEN late THEN 'EXECUTE' WHEN number % 10 < 7 THEN 'READ' ELSE 'CREATE' END,
    CASE WHEN late THEN 'night-shift' ELSE 'desk-' || number % 20 END,
    CASE WHEN late THEN 'ADMIN' WHEN number % 10 < 7 THEN 'ANALYST' ELSE 'PRODUCER' END,
    CASE WHEN late THEN 'vault/keys/' || number WHEN number % 10 < 7 THEN 'signals' ELSE 'orders/' || number END,
    CASE WHEN late THEN 'KEY_REVOKED' WHEN number % 50 = 0 THEN 'RATE_LIMITED' ELSE 'OK' END,
    CASE WHEN late THEN '192.0.2.1' ELSE '10.0.' || number % 4 || '.' || number % 250 END,
    'session-' || number / 100, 'request-' || number / 2,
    ('{"keyId":"7b1c4cf2-6d9a-4c57-9b0a-1f2f5d4f9a55","method":"POST","note":"'
      || CASE WHEN late THEN 'Reason: quarterly exchange' ELSE 'usual' END || '","quantity":"' || number || '"}')::json
  FROM generate_series($1::int, $2::int) AS number, LATERAL (SELECT number >= $3::int AS late) AS place`;
