import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import { JobRunner } from '../../src/jobs/job-runner.js';
import { openSession } from '../support/sql-session.js';
import { createTestDatabase } from '../support/test-database.js';
import { waitUntil } from '../support/wait-until.js';

/** A node whose job says that it began and then goes on until the process ends. */
const node = `
  import { pino } from 'pino';
  import { JobRunner } from './src/jobs/job-runner.ts';
  const run = () => { process.stdout.write('begun\\n'); return new Promise(() => {}); };
  const jobs = [{ name: 'long', cron: null, attemptsMax: 3, run }];
  const runner = new JobRunner({ url: process.argv.at(-1), jobs, log: pino({ level: 'silent' }) });
  await runner.start();
  await runner.enqueue('long', { number: 7 });
  await new Promise(() => setInterval(() => {}, 1_000));`;

test('the job of a node that was killed is taken up by another one within a minute', async () => {
  await using database = await createTestDatabase();
  const child = spawn(
    process.execPath,
    ['--import', './test/support/typescript-hooks.js', '--input-type=module', '-e', node, database.urls.application],
    { cwd: join(import.meta.dirname, '../..'), stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await once(child.stdout, 'data');
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  const killedMs = performance.now();

  const runs: { payload: unknown; afterMs: number }[] = [];
  const run = async (payload: unknown) => void runs.push({ payload, afterMs: performance.now() - killedMs });
  const jobs = [{ name: 'long', cron: null, attemptsMax: 3, run }];
  await using runner = new JobRunner({ url: database.urls.application, jobs, log: pino({ level: 'silent' }) });
  await runner.start();
  await using session = await openSession(database.urls.application);
  await waitUntil('nobody has renewed the lock for 20 seconds', () =>
    session.value(`SELECT count(*) = 1 FROM graphile_worker.jobs WHERE locked_at < now() - interval '20 seconds'`),
  );
  expect(runs).toEqual([]);
  await waitUntil('the job was taken up', () => runs.length > 0);
  expect(runs).toEqual([{ payload: { number: 7 }, afterMs: expect.any(Number) }]);
  expect(runs[0]!.afterMs).toBeLessThan(60_000);
  await waitUntil('its success is recorded', async () => {
    return (await session.value('SELECT count(*)::int FROM graphile_worker.jobs')) === 0;
  });
  expect(
    await session.value('SELECT count(*)::int FROM graphile_worker._private_job_queues WHERE NOT is_available'),
  ).toBe(0);
}, 120_000);
