import type pg from 'pg';
import { DaybookError } from '../errors.js';
import { logs, type LogName } from '../ledger/rows.js';

/** Days looked at under one hold of the ledger lock: a year and a month that nobody sealed. */
const daysPerLookMax = 400;

/** A finished day in UTC and how many entries the log had when it ended. */
export interface DayEnd {
  readonly date: string;
  readonly treeSize: number;
}

/**
 * The days after `lastSealed`, from the ledger's first on, that have ended by the database's clock, at most 400, and not
 * later than `until`. Takes the ledger lock for the look: an entry with an earlier time that was not committed yet would be
 * missed otherwise. Throws DAY_NOT_OVER where `until` has not ended.
 */
export async function readDayEnds(
  pool: Pick<pg.Pool, 'connect'>,
  log: LogName,
  lastSealed: string | null,
  until: string | null,
): Promise<DayEnd[]> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN; SELECT daybook.lock_ledger()');
    const found = await client.query<{ today: string; date: string | null; size: string | null }>(dayEndsQuery(log), [
      lastSealed,
      until,
    ]);
    await client.query('COMMIT');
    const today = found.rows[0]?.today ?? '';
    if (until !== null && until >= today) {
      throw new DaybookError('DAY_NOT_OVER', `${until} has not ended in UTC: by the database's clock it is ${today}`);
    }
    return found.rows.flatMap(({ date, size }) => (date === null ? [] : [{ date, treeSize: Number(size) }]));
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

function dayEndsQuery(log: LogName): string {
  const { table, recordedColumn } = logs[log];
  return `
    WITH clock AS (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today),
    first AS (SELECT least(
      (SELECT server_timestamp FROM public.signals ORDER BY chain_index LIMIT 1),
      (SELECT recorded_at FROM public.audit_entries ORDER BY chain_index LIMIT 1)) AT TIME ZONE 'UTC' AS entry),
    days AS (
      SELECT day::date AS date FROM clock, first, generate_series(
        coalesce($1::date + 1, first.entry::date)::timestamp,
        least(clock.today - 1, $2::date, coalesce($1::date + 1, first.entry::date) + ${daysPerLookMax - 1})::timestamp,
        interval '1 day') AS day)
    SELECT clock.today::text AS today, days.date::text AS date, coalesce(
      (SELECT chain_index FROM public.${table}
       WHERE ${recordedColumn} >= (days.date + 1)::timestamp AT TIME ZONE 'UTC'
       ORDER BY ${recordedColumn}, chain_index LIMIT 1),
      (SELECT max(chain_index) + 1 FROM public.${table}), 0) AS size
    FROM clock LEFT JOIN days ON true ORDER BY days.date`;
}
