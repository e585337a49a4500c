import type pg from 'pg';
import { breaksKeptMax, type BreakList } from '../core/log-breaks.js';

/** What an attempt and the entry that reconciliation made of it must agree in. */
const sameAttempt = `entry.details ->> 'attempt' = attempt.attempt_number::text
  AND entry.actor = attempt.session_user_name AND entry.resource = attempt.table_name
  AND entry.details ->> 'operation' = attempt.operation
  AND entry.details ->> 'statement' IS NOT DISTINCT FROM attempt.statement
  AND entry.old_data::text IS NOT DISTINCT FROM attempt.old_data::text
  AND entry.new_data::text IS NOT DISTINCT FROM attempt.new_data::text`;

const attemptsWithoutEntry = `
  SELECT attempt.attempt_number::text AS number, attempt.audit_index::text AS index, count(*) OVER () AS total
  FROM public.modification_attempts AS attempt
    LEFT JOIN public.audit_entries AS entry ON entry.chain_index = attempt.audit_index
      AND entry.event = 'ModificationRefused' AND ${sameAttempt}
  WHERE attempt.audit_index IS NOT NULL AND entry.chain_index IS NULL
    AND attempt.audit_index >= coalesce((SELECT max(first_kept_index) FROM public.ledger_purges), 0)
  ORDER BY attempt.attempt_number LIMIT ${breaksKeptMax}`;

/**
 * An entry that says it was recorded needs its attempt. One of a number without a record may have been made once, and only
 * of a number that the sequence gave.
 */
const entriesWithoutAttempt = `
  SELECT entry.chain_index::text AS index, entry.details ->> 'attempt' AS number, count(*) OVER () AS total
  FROM (SELECT refused.*, row_number() OVER (PARTITION BY refused.details ->> 'attempt', refused.details ->> 'recorded'
                                             ORDER BY refused.chain_index) AS turn
        FROM public.audit_entries AS refused WHERE refused.event = 'ModificationRefused') AS entry
    LEFT JOIN public.modification_attempts AS attempt ON attempt.audit_index = entry.chain_index
  WHERE CASE entry.details ->> 'recorded'
    WHEN 'true' THEN attempt.attempt_number IS NULL OR attempt.attempt_number::text IS DISTINCT FROM entry.details ->> 'attempt'
    WHEN 'false' THEN entry.turn > 1 OR CASE WHEN entry.details ->> 'attempt' ~ '^[1-9][0-9]{0,17}$'
      THEN (entry.details ->> 'attempt')::bigint > (SELECT CASE WHEN is_called THEN last_value ELSE 0 END
                                                    FROM public.modification_attempt_number)
      ELSE true END
    ELSE true END
  ORDER BY entry.chain_index LIMIT ${breaksKeptMax}`;

/**
 * Checks that refused modifications and their entries belong together, both ways, in the snapshot that `client` is in: the
 * application may append entries by plain SQL, and could invent or repeat a `ModificationRefused` among them.
 */
export async function verifyAttempts(client: pg.ClientBase, breaks: BreakList): Promise<void> {
  const attempts = await client.query<{ number: string; index: string; total: string }>(attemptsWithoutEntry);
  for (const { number, index } of attempts.rows) {
    breaks.add('ATTEMPT_UNEXPLAINED', Number(index), `entry ${index} is not what attempt ${number} says it is`);
  }
  breaks.countFurther(Number(attempts.rows[0]?.total ?? 0) - attempts.rows.length);
  const entries = await client.query<{ index: string; number: string | null; total: string }>(entriesWithoutAttempt);
  for (const { number, index } of entries.rows) {
    breaks.add('ATTEMPT_UNEXPLAINED', Number(index), `no refused modification ${number ?? ''} led to this entry`);
  }
  breaks.countFurther(Number(entries.rows[0]?.total ?? 0) - entries.rows.length);
}
