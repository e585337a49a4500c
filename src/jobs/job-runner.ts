import { setTimeout as delay } from 'node:timers/promises';
import type { JobHelpers, Runner, TaskList } from 'graphile-worker';
import type pg from 'pg';
import type { Logger } from 'pino';
import { createWorkerLogger, jobQueueSchema, loadGraphileWorker } from '../db/job-queue.js';
import { connectionOf, type LoginSource } from '../db/login.js';
import { openPool } from '../db/pool.js';
import { cronItemsOf } from './cron-items.js';
import { readFailingJobs, type FailingJob } from './failing-jobs.js';
import { HeldJobs, queryTimeoutMs, releaseAbandoned, type HeldJob } from './held-jobs.js';
import { enqueueStatement, indexJobs, type EnqueueOptions, type EnqueueStatement, type Job } from './job.js';

/** How late a delayed run or a retry may begin. New runs are announced and begin at once. */
const pollIntervalMs = 2_000;
/** How often the locks of running jobs are renewed, and the queue is looked at for what other nodes left. */
const upkeepIntervalMs = 5_000;
/** How long a stop waits for jobs to end after they were told to. */
const stopWaitMs = 10_000;
const reopenPauseMs = { first: 1_000, max: 30_000 } as const;
const concurrencyDefault = 4;

export interface JobRunnerOptions {
  /** Login of the application. */
  readonly url: LoginSource;
  readonly jobs: readonly Job[];
  readonly log: Logger;
  /** Different jobs at a time on this node. Two runs of one job do not overlap on whatever nodes, if runs heed their signal. */
  readonly concurrency?: number;
}

export interface JobRunnerState {
  /** Whether this node takes up jobs and the database answered it lately. */
  readonly running: boolean;
  readonly failing: readonly FailingJob[];
}

/**
 * Runs the jobs of a list, each on one node at a time among all that share the database, by request or by cron. It recovers
 * from a lost database by itself. Disposing tells running jobs to end, waits ten seconds, and leaves the rest to others.
 */
export class JobRunner implements AsyncDisposable {
  readonly #jobs: ReadonlyMap<string, Job>;
  readonly #log: Logger;
  readonly #concurrency: number;
  readonly #database: pg.Pool;
  readonly #held: HeldJobs;
  readonly #closing = new AbortController();
  #runner: Runner | null = null;
  #work: Promise<unknown> = Promise.resolve();
  #databaseAnswers = false;
  #failing: readonly FailingJob[] = [];

  constructor(options: JobRunnerOptions) {
    this.#jobs = indexJobs(options.jobs);
    this.#log = options.log;
    this.#concurrency = options.concurrency ?? concurrencyDefault;
    this.#database = createPool(options.url, this.#concurrency, this.#log);
    this.#held = new HeldJobs(this.#database);
  }

  /** Begins to take up jobs. Throws when the database cannot be reached or its job queue is not installed. */
  async start(): Promise<void> {
    this.#runner = await this.#open();
    await this.#survey();
    this.#databaseAnswers = true;
    this.#work = Promise.all([this.#supervise(this.#runner), this.#keepUp()]);
  }

  /** Asks for a run, which counts once this returns. */
  async enqueue(name: string, payload?: object, options?: EnqueueOptions): Promise<void> {
    const { text, values } = this.enqueueSql(name, payload, options);
    await this.#database.query(text, [...values]);
  }

  /** The statement that asks for a run, for a caller's own transaction: no commit, no run. */
  enqueueSql(name: string, payload?: object, options?: EnqueueOptions): EnqueueStatement {
    const job = this.#jobs.get(name);
    if (job === undefined) throw new TypeError(`there is no job ${name}`);
    return enqueueStatement(job, payload, options);
  }

  /** For the health report; as old as the last look at the queue, five seconds or so while the database answers. */
  state(): JobRunnerState {
    return { running: this.#runner !== null && this.#databaseAnswers, failing: this.#failing };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#held.interruptAll();
    const stopped = this.#runner?.stop('this node stops').catch(() => undefined);
    const ended = new AbortController();
    const waited = delay(stopWaitMs, undefined, { signal: ended.signal }).catch(() => undefined);
    await Promise.race([stopped, waited]);
    ended.abort();
    this.#runner = null;
    await this.#giveBack('jobs did not end when told to; other nodes begin them anew', ...this.#held);
    await this.#work;
    await this.#database.end();
  }

  #open(): Promise<Runner> {
    const { run } = loadGraphileWorker();
    return run({
      pgPool: this.#database,
      schema: jobQueueSchema,
      logger: createWorkerLogger(this.#log),
      noHandleSignals: true,
      concurrency: this.#concurrency,
      pollInterval: pollIntervalMs,
      taskList: this.#tasks(),
      parsedCronItems: [...this.#jobs.values()].flatMap(cronItemsOf),
      // Without a delay, however short, the library lets the end of a job fail as an unhandled rejection.
      preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    });
  }

  #tasks(): TaskList {
    const entries = [...this.#jobs.values()].map((job) => [
      job.name,
      (payload: unknown, { job: { id, locked_by, attempts } }: JobHelpers) =>
        this.#perform(job, payload, this.#held.hold(id, locked_by ?? ''), attempts),
    ]);
    return Object.fromEntries(entries) as TaskList;
  }

  /** One run. It returns once its success is recorded; when it throws, the library records the failure and the next time. */
  async #perform(job: Job, payload: unknown, holding: HeldJob, attempt: number): Promise<void> {
    using held = holding;
    const startedMs = performance.now();
    const facts = () => ({ job: job.name, attempt, durationMs: Math.round(performance.now() - startedMs) });
    try {
      // It was taken up in the moment in which the stop began.
      if (this.#closing.signal.aborted) held.interrupt();
      held.signal.throwIfAborted();
      await job.run(payload, held.signal);
    } catch (err) {
      if (this.#closing.signal.aborted) {
        await this.#giveBack('a job was interrupted by the stop of this node', held);
      } else {
        const level = attempt >= job.attemptsMax ? 'error' : 'warn';
        this.#log[level]({ ...facts(), attemptsMax: job.attemptsMax, err }, 'a job failed');
        await this.#held.reachDatabase(held);
      }
      throw err;
    }
    await this.#held.complete(held);
    if (held.lost) {
      this.#log.warn(facts(), 'a job ended after it was left to other nodes');
      // The library records a failure only under its own lock, but a success under anybody's.
      throw held.signal.reason;
    }
    this.#log.debug(facts(), 'a job is done');
  }

  async #giveBack(reason: string, ...given: readonly HeldJob[]): Promise<void> {
    if (given.length === 0) return;
    this.#log.info({ runs: given.map((held) => held.id) }, reason);
    // What cannot be given back now is released when its lease ends.
    await this.#held
      .giveBack(given)
      .catch((err: unknown) => this.#log.warn({ err }, 'jobs wait for their lease to end'));
  }

  /** The library stops by itself when it cannot record how a job ended; it is opened again. */
  async #supervise(first: Runner): Promise<void> {
    const { signal } = this.#closing;
    let pauseMs: number = reopenPauseMs.first;
    // A job that does not end keeps the library from ending.
    const closed = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    await Promise.race([first.promise, closed]);
    while (!signal.aborted) {
      this.#runner = null;
      await delay(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        const runner = await this.#open();
        this.#runner = runner;
        this.#log.info('the job queue was opened again');
        pauseMs = reopenPauseMs.first;
        if (signal.aborted) await runner.stop('this node stops');
        await Promise.race([runner.promise, closed]);
      } catch (err) {
        pauseMs = Math.min(pauseMs * 2, reopenPauseMs.max);
        this.#log.warn({ err, pauseMs }, 'the job queue could not be opened: trying again');
      }
    }
  }

  async #keepUp(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await delay(upkeepIntervalMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        await this.#held.renew();
        await this.#survey();
        this.#databaseAnswers = true;
      } catch (err) {
        if (this.#databaseAnswers) this.#log.warn({ err }, 'the job queue cannot be reached: trying on');
        this.#databaseAnswers = false;
      }
    }
  }

  async #survey(): Promise<void> {
    const released = await releaseAbandoned(this.#database);
    if (released > 0) this.#log.warn({ released }, 'runs of jobs were left behind; they begin anew');
    this.#failing = await readFailingJobs(this.#database, [...this.#jobs.keys()], this.#failing);
  }
}

/** With the driver's own types, in which the library expects times. */
function createPool(url: LoginSource, concurrency: number, log: Logger): pg.Pool {
  const settings = {
    ...connectionOf(url, 'daybook jobs'),
    options: '-c TimeZone=UTC',
    // One listens; the others take up jobs, renew, and record.
    max: concurrency + 2,
    idleTimeoutMillis: 30_000,
    connectionTimeoutMillis: 5_000,
    query_timeout: queryTimeoutMs,
    keepAlive: true,
  };
  return openPool(settings, (err) => log.debug({ err }, 'a connection of the job queue broke'));
}
