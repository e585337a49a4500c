import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import { withConnection } from '../../src/db/admin-connection.js';
import { JobRunner } from '../../src/jobs/job-runner.js';
import { openSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { getTestServer } from '../support/test-server.js';
import { waitUntil } from '../support/wait-until.js';

const log = pino({ level: 'silent' });

async function endConnections(database: TestDatabase): Promise<void> {
  await withConnection(getTestServer().adminUrl, (admin) =>
    admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [database.name]),
  );
}

async function setReachable(database: TestDatabase, reachable: boolean): Promise<void> {
  await withConnection(getTestServer().adminUrl, (admin) =>
    admin.query(`ALTER DATABASE ${database.name} ALLOW_CONNECTIONS ${reachable}`),
  );
  if (!reachable) await endConnections(database);
}

test('a runner whose connections are ended again and again runs each job once and takes up new ones', async () => {
  await using database = await createTestDatabase();
  const runs: unknown[] = [];
  let release = () => {};
  const jobs = [
    {
      name: 'long',
      cron: null,
      attemptsMax: 3,
      run: (payload: unknown) => {
        runs.push(payload);
        return new Promise<void>((resolve) => (release = resolve));
      },
    },
    { name: 'quick', cron: null, attemptsMax: 3, run: async (payload: unknown) => void runs.push(payload) },
  ];
  await using runner = new JobRunner({ url: database.urls.application, jobs, log });
  await runner.start();
  await runner.enqueue('long', { number: 1 });
  await waitUntil('the long job began', () => runs.length === 1);
  for (let turn = 0; turn < 5; turn += 1) {
    await endConnections(database);
  }
  release();
  await endConnections(database);
  await waitUntil('a request is accepted', () =>
    runner.enqueue('quick', { number: 2 }).then(
      () => true,
      () => false,
    ),
  );
  await waitUntil('the new job ran', () => runs.length === 2);
  await using session = await openSession(database.urls.application);
  await waitUntil('both are recorded', async () => {
    return (await session.value('SELECT count(*)::int FROM graphile_worker.jobs')) === 0;
  });
  expect(runs).toEqual([{ number: 1 }, { number: 2 }]);
  await waitUntil('the runner is well', () => runner.state().running);
});

/** A node with one job that succeeds and one that fails, both when a line arrives on stdin. */
const node = `
  import { once } from 'node:events';
  import { pino } from 'pino';
  import { JobRunner } from './src/jobs/job-runner.ts';
  const ready = once(process.stdin, 'data');
  const say = (line) => process.stdout.write(line + '\\n');
  const attempts = { good: 0, bad: 0 };
  const jobs = [
    { name: 'good', cron: null, attemptsMax: 5, run: async () => { say('good begins'); attempts.good += 1; await ready; } },
    { name: 'bad', cron: null, attemptsMax: 5, run: async () => {
        say('bad begins'); attempts.bad += 1; await ready;
        if (attempts.bad === 1) throw new Error('fails once');
      } },
  ];
  const runner = new JobRunner({ url: process.argv.at(-1), jobs, log: pino({ level: 'silent' }) });
  await runner.start();
  await runner.enqueue('good');
  await runner.enqueue('bad');
  await ready;
  while (runner.state().running) await new Promise((resolve) => setTimeout(resolve, 20));
  say('away');
  await once(process.stdin, 'end');
  await runner[Symbol.asyncDispose]();
  say(JSON.stringify(attempts));`;

test('jobs that end while the database is away are recorded when it is back, and the process goes on', async () => {
  await using database = await createTestDatabase();
  const child = spawn(
    process.execPath,
    ['--import', './test/support/typescript-hooks.js', '--input-type=module', '-e', node, database.urls.application],
    { cwd: join(import.meta.dirname, '../..'), stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  const exited = once(child, 'exit');
  await waitUntil('both jobs began', () => lines.length === 2);
  await setReachable(database, false);
  child.stdin.write('go\n');
  await waitUntil('the node saw that the database is away', () => lines.includes('away'));
  await setReachable(database, true);
  await using session = await openSession(database.urls.application);
  await waitUntil('both are recorded', async () => {
    return (await session.value('SELECT count(*)::int FROM graphile_worker.jobs')) === 0;
  });
  child.stdin.end();
  expect(await exited).toEqual([0, null]);
  expect(JSON.parse(lines.at(-1)!)).toEqual({ good: 1, bad: 2 });
});

test('a node that cannot renew its lock ends the run itself, before another node begins it', async () => {
  await using database = await createTestDatabase();
  let active = 0;
  const reasons: unknown[] = [];
  const until = (signal: AbortSignal) =>
    new Promise<void>((_resolve, reject) => {
      active += 1;
      signal.addEventListener('abort', () => {
        active -= 1;
        reasons.push((signal.reason as { code: string }).code);
        reject(signal.reason as Error);
      });
    });
  const jobs = [{ name: 'long', cron: null, attemptsMax: 3, run: (_: unknown, signal: AbortSignal) => until(signal) }];
  await using cut = new JobRunner({ url: database.urls.application, jobs, log });
  await cut.start();
  await cut.enqueue('long');
  await waitUntil('the job began', () => active === 1);
  await setReachable(database, false);
  await waitUntil('the run was told to end', () => reasons.length > 0);
  expect(reasons).toEqual(['DATABASE_UNAVAILABLE']);
  expect(cut.state().running).toBe(false);
  await setReachable(database, true);
  await using session = await openSession(database.urls.application);
  // No other node could have had it yet; the one that ended its run may have let go of it already.
  const isOurs = 'SELECT coalesce(locked_at > now() - interval $$30 seconds$$, true) FROM graphile_worker.jobs';
  expect(await session.value(isOurs)).toBe(true);
  await waitUntil('the job was taken up again', () => active === 1);
  await waitUntil('the runner is well', () => cut.state().running);
}, 120_000);

test('a run that ends after its lock went to another node leaves the request to that node', async () => {
  await using database = await createTestDatabase();
  let told = false;
  let release = () => {};
  const deaf = (_: unknown, signal: AbortSignal) => {
    signal.addEventListener('abort', () => (told = true));
    return new Promise<void>((resolve) => (release = resolve));
  };
  const jobs = [
    { name: 'deaf', cron: null, attemptsMax: 3, run: deaf },
    { name: 'quick', cron: null, attemptsMax: 3, run: async () => {} },
  ];
  await using runner = new JobRunner({ url: database.urls.application, jobs, log });
  await runner.start();
  await runner.enqueue('deaf');
  await using session = await openSession(database.urls.application);
  await waitUntil('another node has its lock', async () => {
    await session.run(`UPDATE graphile_worker._private_jobs SET locked_by = 'another' WHERE locked_by IS NOT NULL`);
    return (await session.value(`SELECT locked_by FROM graphile_worker.jobs`)) === 'another';
  });
  await waitUntil('the run was told to end', () => told);
  release();
  await runner.enqueue('quick');
  await waitUntil('a later job is done', async () => {
    return (await session.value(`SELECT count(*)::int FROM graphile_worker.jobs`)) === 1;
  });
  expect(await session.run('SELECT task_identifier, locked_by, last_error FROM graphile_worker.jobs')).toEqual([
    { task_identifier: 'deaf', locked_by: 'another', last_error: null },
  ]);
});
