import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Append } from './access/request-calls.js';
import { anchorRoots } from './anchors/anchor-roots.js';
import type { LoginSource } from './db/login.js';
import { reportForks } from './integrity/report-forks.js';
import { reportOverdueAnchors } from './integrity/report-overdue-anchors.js';
import { serviceOrigin } from './integrity/integrity-entry.js';
import type { IntegrityService } from './integrity/integrity-service.js';
import type { Job } from './jobs/job.js';
import { JobRunner } from './jobs/job-runner.js';
import { rollUpTotals } from './ledger/audit-totals.js';
import { logNames } from './ledger/rows.js';
import { checkDrift } from './secrets/check-drift.js';
import { RotationMachine } from './secrets/rotation-machine.js';
import { runSchedule } from './secrets/run-schedule.js';
import type { SecretServices } from './secrets/secret-services.js';
import type { ProofNode } from './open-proofs.js';
import type { RetentionServices } from './retention/retention-services.js';
import { runRetention } from './retention/run-retention.js';
import { runDailyPacks, type DailyPackOptions } from './packs/daily-packs.js';

/** A job that keeps failing is tried again at its next time anyway. */
const attemptsMax = 10;

export interface JobParts {
  readonly pool: pg.Pool;
  readonly append: Append;
  readonly log: Logger;
  readonly proofs: ProofNode;
  readonly integrity: IntegrityService;
  readonly daily: DailyPackOptions;
  readonly retention: RetentionServices;
  readonly secrets: SecretServices;
}

/** Every background job, in the order of the day. Times are UTC. */
function listJobs(parts: JobParts): Job[] {
  const { proofs, integrity, append, pool, log, daily, retention } = parts;
  return [
    {
      // More often than once a day, so that a day is also sealed when the node was down at midnight or its clock is ahead.
      name: 'seal-days',
      cron: '*/5 * * * *',
      attemptsMax,
      run: async (_payload, signal) => {
        for (const name of logNames) {
          signal.throwIfAborted();
          await proofs.services.seal(name, null, 'schedule');
        }
      },
    },
    {
      name: 'anchor-roots',
      cron: '* * * * *',
      attemptsMax,
      run: async (_payload, signal) => {
        const { forks } = await anchorRoots({ database: pool, append, anchors: proofs.anchors, log }, signal);
        await reportForks({ database: pool, append }, forks);
        await reportOverdueAnchors({ database: pool, append });
      },
    },
    {
      // Totals of the audit log bring themselves up to date when somebody asks; this way nobody waits for it.
      name: 'roll-up-totals',
      cron: '*/5 * * * *',
      attemptsMax,
      run: (_payload, signal) => rollUpTotals(pool, signal),
    },
    rotationJob(parts.secrets),
    driftJob(parts.secrets),
    {
      name: 'check-integrity-sample',
      cron: '0 * * * *',
      attemptsMax,
      run: async (_payload, signal) => {
        await integrity.run({ kind: 'SAMPLE', origin: serviceOrigin('monitor', randomUUID()), append, signal });
      },
    },
    {
      // After the first run of seal-days past midnight; hourly, so that a store or node that was down is caught up with.
      name: 'daily-packs',
      cron: '10 * * * *',
      attemptsMax,
      run: (_payload, signal) => runDailyPacks(daily, signal),
    },
    {
      // After the packs of the day before; before the full check, which so looks at what is left.
      name: 'retention',
      cron: '40 2 * * *',
      attemptsMax,
      run: async (_payload, signal) => {
        const done = await runRetention(retention, serviceOrigin('retention', randomUUID()), signal);
        log.info(done, 'retention was applied');
      },
    },
    {
      name: 'check-integrity-full',
      cron: '0 3 * * *',
      attemptsMax,
      run: async (_payload, signal) => {
        await integrity.run({ kind: 'FULL', origin: serviceOrigin('monitor', randomUUID()), append, signal });
      },
    },
  ];
}

/** Notices and rotations that are due, and steps of rotations that another node left. */
function rotationJob(secrets: SecretServices): Job {
  return {
    name: 'rotate-secrets',
    cron: '* * * * *',
    attemptsMax,
    run: async (_payload, signal) => {
      await runSchedule(secrets, signal);
      await new RotationMachine(secrets).runDue(signal);
    },
  };
}

/** Looks often, and asks about those whose turn it is: how often each secret has one is a setting. */
function driftJob(secrets: SecretServices): Job {
  return {
    name: 'check-secret-drift',
    cron: '*/5 * * * *',
    attemptsMax,
    run: async (_payload, signal) => {
      await checkDrift(secrets, signal);
    },
  };
}

/** The jobs of this node, not started. `url`: login of the application. */
export function openJobs(parts: JobParts, url: LoginSource): JobRunner {
  return new JobRunner({ url, jobs: listJobs(parts), log: parts.log });
}

/** Starts the jobs and catches up on what was missed while no node ran. */
export async function startJobs(runner: JobRunner): Promise<void> {
  await runner.start();
  await runner.enqueue('seal-days', {}, { jobKey: 'start' });
  await enqueueAnchoring(runner);
}

/** Roots were sealed, or may wait since before the start. */
export function enqueueAnchoring(runner: JobRunner): Promise<void> {
  return runner.enqueue('anchor-roots', {}, { jobKey: 'sealed' });
}
