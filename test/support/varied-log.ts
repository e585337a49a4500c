import { openSession } from './sql-session.js';

/**
 * Appends entries of seven actors, one in eleven without one, some refused, and few that one finds only by looking for long:
 * actor `rare` and outcome `RARE_REFUSAL` every 9,000 entries, never in the same one, and the word needle in the details of every
 * 13,000th.
 */
export async function storeVariedLog(applicationUrl: string, entries: number): Promise<void> {
  await using session = await openSession(applicationUrl);
  for (let from = 0; from < entries; from += 10_000) {
    await session.run(
      `INSERT INTO public.audit_entries (category, event, action, actor, role, resource, outcome, ip_address, session_id, request_id,
         details)
       SELECT CASE number % 3 WHEN 0 THEN 'API' WHEN 1 THEN 'ORDER' ELSE 'FILL' END,
         CASE number % 3 WHEN 0 THEN 'ApiCall' WHEN 1 THEN 'OrderAccepted' ELSE 'Filled' END,
         CASE number % 3 WHEN 0 THEN 'READ' WHEN 1 THEN 'CREATE' END,
         CASE WHEN number % 9000 = 4000 THEN 'rare' WHEN number % 11 <> 0 THEN 'desk ' || number % 7 END,
         CASE number % 2 WHEN 0 THEN 'PRODUCER' ELSE 'ANALYST' END,
         CASE number % 3 WHEN 0 THEN 'signals' WHEN 1 THEN 'order ' || number % 1999 END,
         CASE WHEN number % 9000 = 8000 THEN 'RARE_REFUSAL' WHEN number % 50 = 0 THEN 'RATE_LIMITED' ELSE 'OK' END,
         '10.0.0.' || number % 40, 'session ' || number / 500, 'request ' || number / 2,
         json_build_object('note', CASE WHEN number % 13000 = 12000 THEN 'a needle' ELSE 'hay' END, 'number', number)
       FROM generate_series($1::int, $2::int) AS number`,
      [from, Math.min(from + 10_000, entries) - 1],
    );
  }
}
