import type pg from 'pg';
import { jobQueueSchema as schema } from '../db/job-queue.js';

/** A job whose last run failed, on whatever node; it may be tried again, or be given up. */
export interface FailingJob {
  readonly job: string;
  /** Of the last failure; up to 500 characters. */
  readonly message: string;
  readonly attempts: number;
}

interface Row {
  readonly job: string;
  readonly message: string | null;
  readonly attempts: number | null;
  readonly undecided: boolean;
}

/**
 * The jobs among `names` that fail, from the queue, which all nodes share. A run that cron replaced by a newer one has lost
 * its error; until the newer one has ended, its job is what it was in `before`.
 */
export async function readFailingJobs(
  database: pg.Pool,
  names: readonly string[],
  before: readonly FailingJob[],
): Promise<FailingJob[]> {
  const { rows } = await database.query<Row>(
    `SELECT identifier AS job,
       (array_agg(left(last_error, 500) ORDER BY jobs.id DESC) FILTER (WHERE last_error IS NOT NULL))[1] AS message,
       (array_agg(attempts ORDER BY jobs.id DESC) FILTER (WHERE last_error IS NOT NULL))[1] AS attempts,
       bool_or(locked_at IS NOT NULL OR (attempts < max_attempts AND run_at <= now())) AS undecided
     FROM ${schema}._private_jobs AS jobs JOIN ${schema}._private_tasks AS tasks ON tasks.id = jobs.task_id
     WHERE identifier = ANY ($1::text[])
     GROUP BY identifier ORDER BY identifier`,
    [names],
  );
  return rows.flatMap(({ job, message, attempts, undecided }) => {
    if (message !== null) return [{ job, message, attempts: attempts ?? 0 }];
    return before.filter((failing) => undecided && failing.job === job);
  });
}
