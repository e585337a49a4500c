import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { jobQueueSchema as schema } from '../db/job-queue.js';
import { DaybookError } from '../errors.js';

/** After this time without a renewal a job's lock counts as left behind, and any node releases it. */
const leaseMs = 30_000;
/**
 * After this time without an answered renewal the holder gives its job up itself. An answer takes `queryTimeoutMs` at
 * most, so its run is told to end at least five seconds before another node can begin one.
 */
const giveUpMs = 15_000;
/** For every query of the runner's pool. */
export const queryTimeoutMs = 10_000;
const pauseMs = 1_000;
/** The lease ends the trying while the database is away; this ends it where the database answers, with an error. */
const triesMax = 60;
/** Runs that failed for good stay this long, so that health can name them. */
const failedRunsDays = 30;

/** A run of a job on this node. Disposing ends the holding, and says nothing to the database. */
export class HeldJob implements Disposable {
  readonly #controller = new AbortController();
  readonly #expiry: NodeJS.Timeout;
  readonly #forget: () => void;
  /** Whether another node may have the job by now: what this run did must not be recorded. */
  lost = false;

  constructor(
    readonly id: string,
    /** The name under which the library locked it. */
    readonly lockedBy: string,
    forget: (held: HeldJob) => void,
  ) {
    this.#forget = () => forget(this);
    this.#expiry = setTimeout(() => this.lose('the database did not answer'), giveUpMs).unref();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  renewed(): void {
    if (!this.lost) this.#expiry.refresh();
  }

  lose(reason: string): void {
    this.lost = true;
    this.#controller.abort(new DaybookError('DATABASE_UNAVAILABLE', `The job was left to other nodes: ${reason}.`));
  }

  interrupt(): void {
    this.#controller.abort(new DaybookError('SHUTTING_DOWN', 'This node stops; another one will run the job.'));
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#expiry);
    this.#forget();
  }
}

/**
 * The jobs this node runs. A lock is a lease: the holder renews `locked_at` by the database's clock, and any node releases
 * what nobody renewed. So the runs of a killed node go on elsewhere, without anybody keeping a list of nodes.
 */
export class HeldJobs {
  readonly #database: pg.Pool;
  readonly #held = new Set<HeldJob>();

  constructor(database: pg.Pool) {
    this.#database = database;
  }

  hold(id: string, lockedBy: string): HeldJob {
    const held = new HeldJob(id, lockedBy, (ended) => this.#held.delete(ended));
    this.#held.add(held);
    return held;
  }

  [Symbol.iterator](): Iterator<HeldJob> {
    return this.#held.values();
  }

  interruptAll(): void {
    for (const held of this.#held) held.interrupt();
  }

  /** Renews the locks of all held jobs, or of one; jobs whose lock somebody else has, or nobody, are lost. */
  async renew(only?: HeldJob): Promise<void> {
    const asked = only === undefined ? [...this.#held] : [only];
    if (asked.length === 0) return;
    const { rows } = await this.#database.query<{ id: string }>(
      `WITH renewed AS (
         UPDATE ${schema}._private_jobs AS jobs SET locked_at = now()
         FROM unnest($1::bigint[], $2::text[]) AS held (id, locked_by)
         WHERE jobs.id = held.id AND jobs.locked_by = held.locked_by
         RETURNING jobs.id, jobs.job_queue_id, jobs.locked_by),
       queues AS (
         UPDATE ${schema}._private_job_queues AS queues SET locked_at = now()
         FROM renewed WHERE queues.id = renewed.job_queue_id AND queues.locked_by = renewed.locked_by)
       SELECT id FROM renewed`,
      [asked.map((held) => held.id), asked.map((held) => held.lockedBy)],
    );
    const renewed = new Set(rows.map((row) => row.id));
    for (const held of asked) {
      if (renewed.has(held.id)) held.renewed();
      else held.lose('its lock was released');
    }
  }

  /** Returns once the database answers for this job, or once the job is lost. */
  async reachDatabase(held: HeldJob): Promise<void> {
    await retry(held, () => this.renew(held));
  }

  /**
   * Records that the run succeeded. The library would do it without waiting, and look for the next job of the same queue
   * while the queue is still locked. By cron, a success also makes up for the runs before it that had failed for good.
   */
  async complete(held: HeldJob): Promise<void> {
    await retry(held, () =>
      this.#database.query(
        `WITH done AS (
           DELETE FROM ${schema}._private_jobs WHERE id = $1 AND locked_by = $2
           RETURNING task_id, job_queue_id, payload -> '_cron' IS NOT NULL AS by_cron),
         made_up AS (
           DELETE FROM ${schema}._private_jobs AS failed USING done
           WHERE by_cron AND failed.task_id = done.task_id AND failed.locked_at IS NULL
             AND failed.attempts >= failed.max_attempts AND failed.payload -> '_cron' IS NOT NULL)
         UPDATE ${schema}._private_job_queues AS queues SET locked_at = NULL, locked_by = NULL
         FROM done WHERE queues.id = done.job_queue_id AND queues.locked_by = $2`,
        [held.id, held.lockedBy],
      ),
    );
  }

  /** Lets other nodes begin these runs anew at once; that they were begun here does not count. */
  async giveBack(given: readonly HeldJob[]): Promise<void> {
    for (const held of given) held.lost = true;
    await this.#database.query(
      `WITH given AS (
         UPDATE ${schema}._private_jobs AS jobs
         SET attempts = greatest(0, attempts - 1), locked_at = NULL, locked_by = NULL
         FROM unnest($1::bigint[], $2::text[]) AS held (id, locked_by)
         WHERE jobs.id = held.id AND jobs.locked_by = held.locked_by
         RETURNING jobs.job_queue_id, held.locked_by),
       queues AS (
         UPDATE ${schema}._private_job_queues AS queues SET locked_at = NULL, locked_by = NULL
         FROM given WHERE queues.id = given.job_queue_id AND queues.locked_by = given.locked_by)
       SELECT pg_notify('jobs:insert', json_build_object('count', count(*))::text) FROM given HAVING count(*) > 0`,
      [given.map((held) => held.id), given.map((held) => held.lockedBy)],
    );
  }
}

/** Releases what nobody renewed and removes what failed long ago. Returns how many runs were left behind. */
export async function releaseAbandoned(database: pg.Pool): Promise<number> {
  const { rows } = await database.query<{ released: number }>(
    `WITH abandoned AS (
       UPDATE ${schema}._private_jobs
       SET locked_at = NULL, locked_by = NULL, run_at = greatest(run_at, now()),
         last_error = 'the node that ran it ended, or lost the database'
       WHERE locked_at < now() - $1 * interval '1 millisecond'
       RETURNING id),
     queues AS (
       UPDATE ${schema}._private_job_queues SET locked_at = NULL, locked_by = NULL
       WHERE locked_at < now() - $1 * interval '1 millisecond'),
     forgotten AS (
       DELETE FROM ${schema}._private_jobs
       WHERE locked_at IS NULL AND attempts >= max_attempts AND run_at < now() - $2 * interval '1 day')
     SELECT count(*)::int AS released FROM abandoned`,
    [leaseMs, failedRunsDays],
  );
  return rows[0]?.released ?? 0;
}

/** Tries until it works; gives up once the job is lost, for then it is another node's to record. */
async function retry(held: HeldJob, attempt: () => Promise<unknown>): Promise<void> {
  for (let tries = 1; !held.lost; tries += 1) {
    try {
      await attempt();
      return;
    } catch (err) {
      if (tries === triesMax) throw err;
      await delay(pauseMs, undefined, { ref: false });
    }
  }
}
