import { jobQueueSchema } from '../db/job-queue.js';

/** Work that one node at a time does in the background. It may run more than once for one request: see `run`. */
export interface Job {
  /** kebab-case; also the name of its queue, in which one run waits for the other. */
  readonly name: string;
  /** Five fields, in UTC: minute, hour, day of month, month, day of week. Null: only on demand. */
  readonly cron: string | null;
  /** Runs until it is given up; a run that a crash cut short counts. */
  readonly attemptsMax: number;
  /**
   * Must be safe to run again, for a crash can come between the work and its record, and must not block the event loop.
   * When `signal` aborts, the node stops or another one takes over: end soon and reject. By cron the payload is
   * `{ _cron: { ts, backfilled } }` with the time the run was due.
   */
  readonly run: (payload: unknown, signal: AbortSignal) => Promise<void>;
}

export interface EnqueueOptions {
  /** A run of this job that waits under the same key is replaced, so that one run is left. */
  readonly jobKey?: string;
  /** Milliseconds from now to its start at the earliest. */
  readonly runAfterMs?: number;
}

/** For `client.query`, on any connection that may use the job queue. */
export interface EnqueueStatement {
  readonly text: string;
  readonly values: readonly (string | number | null)[];
}

const kebabCase = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;
/** The database holds them as smallint. */
const attemptsLimit = 32_767;

/** The jobs by name. Throws for a list that cannot be run. */
export function indexJobs(jobs: readonly Job[]): ReadonlyMap<string, Job> {
  if (jobs.length === 0) throw new TypeError('there are no jobs to run');
  const byName = new Map<string, Job>();
  for (const job of jobs) {
    const { attemptsMax, name } = job;
    if (!kebabCase.test(name) || name.length > 100) throw new TypeError(`${name} is not the name of a job`);
    if (byName.has(name)) throw new TypeError(`two jobs are called ${name}`);
    if (!Number.isInteger(attemptsMax) || attemptsMax < 1 || attemptsMax > attemptsLimit)
      throw new RangeError(`${name} cannot have ${attemptsMax} attempts`);
    byName.set(name, job);
  }
  return byName;
}

/** The statement that asks for a run of `job`; it counts once its transaction commits. */
export function enqueueStatement(job: Job, payload: object = {}, options: EnqueueOptions = {}): EnqueueStatement {
  return {
    text: `SELECT id FROM ${jobQueueSchema}.add_job(identifier => $1::text, payload => $2::json, queue_name => $1::text,
      run_at => clock_timestamp() + $3::float8 * interval '1 millisecond', max_attempts => $4::int, job_key => $5::text)`,
    values: [
      job.name,
      JSON.stringify(payload),
      options.runAfterMs ?? null,
      job.attemptsMax,
      options.jobKey === undefined ? null : `${job.name}:${options.jobKey}`,
    ],
  };
}
