import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { migrationsList } from '../../migrations/index.js';
import { readPassword, withConnection } from '../../src/db/admin-connection.js';
import { migrateUp } from '../../src/db/migrate.js';
import { provisionRoles } from '../../src/db/roles.js';
import type { Job } from '../../src/jobs/job.js';
import { JobRunner } from '../../src/jobs/job-runner.js';
import { createDataFolder } from '../support/data-folder.js';
import { hasDebianPostgres, startDebianPostgres } from '../support/debian-postgres.js';
import { openSession } from '../support/sql-session.js';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { waitUntil } from '../support/wait-until.js';

const log = pino({ level: 'silent' });
const root = join(import.meta.dirname, '../..');

function jobOf(name: string, run: Job['run'], options: Partial<Job> = {}): Job {
  return { name, cron: null, attemptsMax: 3, run, ...options };
}

async function startRunner(database: TestDatabase, ...jobs: Job[]): Promise<JobRunner> {
  const runner = new JobRunner({ url: database.urls.application, jobs, log });
  await runner.start();
  return runner;
}

/** A run that goes on until it is told to end, or forever. */
function untilAborted(started: () => void): Job['run'] {
  return (_payload, signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error));
      started();
    });
}

describe('the schema', () => {
  test('belongs to the owner; the application uses it and cannot change it; the auditor has nothing there', async () => {
    await using database = await createTestDatabase();
    const owners = await withConnection(database.urls.superuser, async (admin) => {
      const { rows } = await admin.query(
        "SELECT DISTINCT relowner::regrole::text AS owner FROM pg_class WHERE relnamespace = 'graphile_worker'::regnamespace",
      );
      return rows as unknown;
    });
    expect(owners).toEqual([{ owner: 'daybook_owner' }]);
    await using application = await openSession(database.urls.application);
    await application.run("SELECT graphile_worker.add_job('something')");
    expect(await application.value('SELECT count(*)::int FROM graphile_worker.jobs')).toBe(1);
    expect(await application.failure('DELETE FROM graphile_worker.migrations')).toMatchObject({ code: '42501' });
    expect(await application.failure('DROP TABLE graphile_worker._private_jobs')).toMatchObject({ code: '42501' });
    expect(await application.failure('CREATE TABLE graphile_worker.mine ()')).toMatchObject({ code: '42501' });
    await using auditor = await openSession(database.urls.auditor);
    expect(await auditor.failure('SELECT FROM graphile_worker.jobs')).toMatchObject({ code: '42501' });
    await using superuser = await openSession(database.urls.superuser);
    const dropped = await superuser.failure('DROP FUNCTION graphile_worker.add_jobs');
    expect(dropped).toMatchObject({ code: 'DB001' });
  });

  test('installing it again rewrites no row of the catalogue', async () => {
    await using database = await createTestDatabase();
    await using superuser = await openSession(database.urls.superuser);
    const readCatalogue = () =>
      superuser.run(`SELECT 'class', oid, xmin::text FROM pg_class UNION ALL SELECT 'proc', oid, xmin::text FROM pg_proc
        UNION ALL SELECT 'schema', oid, xmin::text FROM pg_namespace UNION ALL SELECT 'policy', oid, xmin::text FROM pg_policy
        UNION ALL SELECT 'type', oid, xmin::text FROM pg_type UNION ALL SELECT 'trigger', oid, xmin::text FROM pg_trigger
        ORDER BY 1, 2`);
    const before = await readCatalogue();
    expect(before.length).toBeGreaterThan(500);
    await migrateUp({ url: database.urls.migrator, migrations: migrationsList, log });
    expect(await readCatalogue()).toEqual(before);
  });

  test('without separate roles it belongs to the one user there is, and works', async () => {
    await using database = await createEmptyDatabase();
    const { superuser } = database.urls;
    await migrateUp({ url: superuser, migrations: [], log });
    await migrateUp({ url: superuser, migrations: [], log });
    const payloads: unknown[] = [];
    await using runner = new JobRunner({
      url: superuser,
      jobs: [jobOf('note', async (payload) => void payloads.push(payload))],
      log,
    });
    await runner.start();
    await runner.enqueue('note', { for: 'one user' });
    await waitUntil('the job ran', () => payloads.length > 0);
    expect(payloads).toEqual([{ for: 'one user' }]);
  });

  (hasDebianPostgres ? test : test.skip)('is installed and used on PostgreSQL 15', async () => {
    await using server = await startDebianPostgres();
    const { urls } = await provisionRoles(server.url, readPassword(server.url)!, log);
    await migrateUp({ url: urls.migrator, migrations: migrationsList, log });
    await migrateUp({ url: urls.migrator, migrations: migrationsList, log });
    let runs = 0;
    await using runner = new JobRunner({ url: urls.application, jobs: [jobOf('note', async () => void runs++)], log });
    await runner.start();
    await runner.enqueue('note');
    await waitUntil('the job ran', () => runs === 1);
  });
});

describe('runs', () => {
  test('two nodes share the runs of a job: each happens once, never two at a time, and each begins after the other', async () => {
    await using database = await createTestDatabase();
    const RUNS = 40;
    const seen: number[] = [];
    let active = 0;
    let activeMax = 0;
    const shared = jobOf('shared', async (payload) => {
      activeMax = Math.max(activeMax, ++active);
      await new Promise((resolve) => setTimeout(resolve, 5));
      seen.push((payload as { number: number }).number);
      active -= 1;
    });
    await using left = await startRunner(database, shared);
    await using right = await startRunner(database, shared);
    const askedMs = performance.now();
    for (let number = 0; number < RUNS; number += 1) {
      await (number % 2 === 0 ? left : right).enqueue('shared', { number });
    }
    await waitUntil('all runs are done', () => seen.length >= RUNS);
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: RUNS }, (_, number) => number));
    expect(activeMax).toBe(1);
    // A poll is every two seconds: the next run of a queue does not wait for one.
    expect(performance.now() - askedMs).toBeLessThan(10_000);
    expect(left.state()).toEqual({ running: true, failing: [] });
    expect(right.state()).toEqual({ running: true, failing: [] });
  });

  test('different jobs run at the same time, and a request starts its job without waiting for the next poll', async () => {
    await using database = await createTestDatabase();
    let release = () => {};
    const slow = new Promise<void>((resolve) => (release = resolve));
    const begun: string[] = [];
    await using runner = await startRunner(
      database,
      jobOf('slow', () => (begun.push('slow'), slow)),
      jobOf('quick', async () => void begun.push('quick')),
    );
    await runner.enqueue('slow');
    await waitUntil('the slow job began', () => begun.includes('slow'));
    const delaysMs: number[] = [];
    for (let turn = 0; turn < 10; turn += 1) {
      const askedMs = performance.now();
      await runner.enqueue('quick');
      await waitUntil('the quick job ran', () => begun.length === turn + 2);
      delaysMs.push(performance.now() - askedMs);
    }
    release();
    expect(delaysMs.toSorted((a, b) => a - b)[5]).toBeLessThan(500);
  });

  test('a failed run is tried again and shows as failing, on all nodes, until it succeeds', async () => {
    await using database = await createTestDatabase();
    let attempts = 0;
    const flaky = jobOf('flaky', async () => {
      attempts += 1;
      if (attempts < 3) throw new Error(`attempt ${attempts} fails`);
    });
    await using left = await startRunner(database, flaky);
    await using right = await startRunner(database, flaky);
    await left.enqueue('flaky');
    const failing = await waitUntil('the second failure shows on both nodes', () => {
      const states = [left.state().failing, right.state().failing];
      return states.every((state) => state[0]?.attempts === 2) ? states : null;
    });
    const expected = [{ job: 'flaky', message: 'attempt 2 fails', attempts: 2 }];
    expect(failing).toEqual([expected, expected]);
    await waitUntil('it succeeds', () => attempts === 3);
    await waitUntil('nothing fails', () => left.state().failing.length === 0 && right.state().failing.length === 0);
  });

  test('a run whose attempts are used up is not tried again and goes on showing', async () => {
    await using database = await createTestDatabase();
    let attempts = 0;
    const hopeless = async () => {
      attempts += 1;
      throw new Error('always');
    };
    await using runner = await startRunner(database, jobOf('hopeless', hopeless, { attemptsMax: 1 }));
    await runner.enqueue('hopeless');
    await waitUntil('the failure shows', () => runner.state().failing.length === 1);
    const [row] = await withConnection(database.urls.application, async (client) => {
      const { rows } = await client.query('SELECT attempts, max_attempts, locked_at FROM graphile_worker.jobs');
      return rows as unknown[];
    });
    expect(row).toEqual({ attempts: 1, max_attempts: 1, locked_at: null });
    expect(attempts).toBe(1);
  });

  test('a run by cron that succeeds makes up for runs by cron that had failed for good, not for requested ones', async () => {
    await using database = await createTestDatabase();
    const note = jobOf('note', async () => {}, { cron: '0 0 1 1 *', attemptsMax: 1 });
    await using runner = await startRunner(database, note);
    await using application = await openSession(database.urls.application);
    const failed = (payload: string) => `
      INSERT INTO graphile_worker._private_jobs (task_id, payload, attempts, max_attempts, last_error)
      SELECT id, '${payload}', 1, 1, 'failed' FROM graphile_worker._private_tasks WHERE identifier = 'note'`;
    await application.run(failed('{"_cron":{}}'));
    await application.run(failed('{"requested":true}'));
    await runner.enqueue('note', { _cron: { ts: '2026-01-01T00:00:00.000Z' } });
    await waitUntil('one is left', async () => {
      return (await application.value('SELECT count(*)::int FROM graphile_worker._private_jobs')) === 1;
    });
    expect(await application.value("SELECT payload ->> 'requested' FROM graphile_worker._private_jobs")).toBe('true');
  });

  test('a request made in a transaction counts once that commits', async () => {
    await using database = await createTestDatabase();
    const payloads: unknown[] = [];
    await using runner = await startRunner(
      database,
      jobOf('note', async (payload) => void payloads.push(payload)),
    );
    await using session = await openSession(database.urls.application);
    const request = async (payload: object, ending: string) => {
      const { text, values } = runner.enqueueSql('note', payload);
      await session.run('BEGIN');
      await session.run(text, [...values]);
      await session.run(ending);
    };
    await request({ place: 1 }, 'ROLLBACK');
    await request({ place: 2 }, 'COMMIT');
    await waitUntil('the committed request ran', () => payloads.length > 0);
    expect(payloads).toEqual([{ place: 2 }]);
  });

  test('of requests under one key the last one is left, and a delayed run waits', async () => {
    await using database = await createTestDatabase();
    const runs: { payload: unknown; afterMs: number }[] = [];
    const askedMs = performance.now();
    const note = async (payload: unknown) => void runs.push({ payload, afterMs: performance.now() - askedMs });
    await using runner = await startRunner(database, jobOf('note', note), jobOf('memo', note));
    await runner.enqueue('note', { turn: 1 }, { jobKey: 'same', runAfterMs: 1_500 });
    await runner.enqueue('note', { turn: 2 }, { jobKey: 'same', runAfterMs: 1_500 });
    await runner.enqueue('memo', { turn: 3 }, { jobKey: 'same', runAfterMs: 1_500 });
    await waitUntil('both jobs ran', () => runs.length >= 2);
    expect(runs.map(({ payload }) => payload)).toEqual(expect.arrayContaining([{ turn: 2 }, { turn: 3 }]));
    expect(runs).toHaveLength(2);
    expect(Math.min(...runs.map(({ afterMs }) => afterMs))).toBeGreaterThanOrEqual(1_490);
  });

  test('an impossible list of jobs and an unknown job are refused', async () => {
    await using database = await createTestDatabase();
    const url = database.urls.application;
    const make = (...jobs: Job[]) => new JobRunner({ url, jobs, log });
    const idle = jobOf('idle', async () => {});
    expect(() => make()).toThrow(TypeError);
    expect(() => make(idle, idle)).toThrow(TypeError);
    expect(() => make({ ...idle, name: 'Not Kebab' })).toThrow(TypeError);
    expect(() => make({ ...idle, attemptsMax: 0 })).toThrow(RangeError);
    await using broken = make({ ...idle, cron: '61 * * * *' });
    await expect(broken.start()).rejects.toThrow();
    await using runner = make(idle);
    await expect(runner.enqueue('unknown')).rejects.toThrow(TypeError);
  });
});

describe('a stop', () => {
  test('ends the running job by its signal; another node begins it anew, and that it began before does not count', async () => {
    await using database = await createTestDatabase();
    let begun = false;
    const leaving = await startRunner(
      database,
      jobOf(
        'long',
        untilAborted(() => (begun = true)),
      ),
    );
    await leaving.enqueue('long', { number: 7 });
    await waitUntil('the job began', () => begun);
    const payloads: unknown[] = [];
    await using staying = await startRunner(
      database,
      jobOf('long', async (payload) => void payloads.push(payload), { attemptsMax: 1 }),
    );
    const stoppedMs = performance.now();
    await leaving[Symbol.asyncDispose]();
    expect(performance.now() - stoppedMs).toBeLessThan(5_000);
    await waitUntil('the other node ran it', () => payloads.length > 0);
    expect(payloads).toEqual([{ number: 7 }]);
    expect(staying.state().failing).toEqual([]);
    expect(leaving.state().running).toBe(false);
  });

  test('does not wait longer than ten seconds for a job that does not listen, and leaves it to others', async () => {
    await using database = await createTestDatabase();
    let begun = false;
    let release = () => {};
    const stuck = () => new Promise<void>((resolve) => ((release = resolve), (begun = true)));
    const leaving = await startRunner(database, jobOf('deaf', stuck));
    await leaving.enqueue('deaf');
    await waitUntil('the job began', () => begun);
    const stoppedMs = performance.now();
    await leaving[Symbol.asyncDispose]();
    expect(performance.now() - stoppedMs).toBeGreaterThan(9_000);
    let runs = 0;
    await using staying = await startRunner(
      database,
      jobOf('deaf', async () => void runs++),
    );
    await waitUntil('the other node ran it', () => runs === 1);
    release();
    expect(staying.state().running).toBe(true);
  });
});

describe('in a process of its own', () => {
  const script = (body: string) => `
    import { pino } from 'pino';
    import { JobRunner } from ${JSON.stringify(pathToFileURL(join(root, 'src/jobs/job-runner.ts')).href)};
    const log = pino({ level: 'silent' });
    const url = process.argv.at(-1);
    ${body}`;

  async function runScript(body: string, url: string, cwd: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
    const hooks = pathToFileURL(join(root, 'test/support/typescript-hooks.js')).href;
    await mkdir(cwd, { recursive: true });
    const file = join(cwd, 'script.mjs');
    await writeFile(file, script(body).replace("'pino'", JSON.stringify(import.meta.resolve('pino'))));
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--import', hooks, file, url], {
      cwd,
      env: { PATH: process.env['PATH'], ...env },
    });
    expect(stderr).toBe('');
    return stdout;
  }

  test('cron is in UTC whatever the zone of the process, and a run missed while no node was up is made up for once', async () => {
    await using database = await createTestDatabase();
    await using folder = await createDataFolder();
    // The second last full hour, in UTC: in New York it is another hour of the day.
    const due = new Date(Date.now() - 3_600_000);
    due.setUTCMinutes(0, 0, 0);
    await withConnection(database.urls.application, (client) =>
      client.query(
        `INSERT INTO graphile_worker._private_known_crontabs (identifier, known_since)
         VALUES ('hourly', now() - interval '10 days'), ('every-minute', now() - interval '10 days')`,
      ),
    );
    const body = `
      const seen = [];
      const note = (name) => async (payload) => { seen.push([name, payload._cron.ts, payload._cron.backfilled]); };
      await using runner = new JobRunner({ url, log, jobs: [
        { name: 'hourly', cron: '0 ${due.getUTCHours()} * * *', attemptsMax: 3, run: note('hourly') },
        { name: 'every-minute', cron: '* * * * *', attemptsMax: 3, run: note('every-minute') },
      ] });
      await runner.start();
      while (new Set(seen.map(([name]) => name)).size < 2) await new Promise((resolve) => setTimeout(resolve, 20));
      console.log(JSON.stringify({ zone: new Date().getTimezoneOffset(), seen }));`;
    const { zone, seen } = JSON.parse(
      await runScript(body, database.urls.application, folder.path, { TZ: 'America/New_York' }),
    ) as { zone: number; seen: [string, string, boolean][] };
    expect(zone).toBeGreaterThan(0);
    expect(seen.filter(([name]) => name === 'hourly')).toEqual([['hourly', due.toISOString(), true]]);
    // Not the 14,400 minutes that were missed; a minute can pass while this runs.
    expect(seen.filter(([name]) => name === 'every-minute').length).toBeLessThanOrEqual(3);
  });

  test('no configuration file of the working directory is read, and no variable of the environment', async () => {
    await using database = await createTestDatabase();
    await using folder = await createDataFolder();
    const cwd = join(folder.path, 'below');
    await mkdir(cwd, { recursive: true });
    const marker = join(folder.path, 'was-run');
    const trap = `require('node:fs').writeFileSync(${JSON.stringify(marker)}, ''); module.exports = { schema: 'other' };`;
    for (const place of [cwd, folder.path]) {
      for (const name of ['graphile-worker.config.js', 'graphile-worker.config.cjs', '.graphile-workerrc.cjs']) {
        await writeFile(join(place, name), trap);
      }
      await writeFile(join(place, '.graphile-workerrc'), JSON.stringify({ schema: 'other' }));
      await writeFile(join(place, 'graphile.config.js'), trap);
      await writeFile(join(place, 'crontab'), '* * * * * note ?fill=1d');
    }
    await writeFile(join(cwd, 'package.json'), JSON.stringify({ 'graphile-worker': { schema: 'other' } }));
    const body = `
      let done;
      const ran = new Promise((resolve) => { done = resolve; });
      await using runner = new JobRunner({ url, log, jobs: [{ name: 'note', cron: null, attemptsMax: 1, run: async () => done() }] });
      await runner.start();
      await runner.enqueue('note');
      await ran;
      console.log('ran');`;
    const env = { GRAPHILE_WORKER_SCHEMA: 'other', DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' };
    expect(await runScript(body, database.urls.application, cwd, env)).toBe('ran\n');
    expect(existsSync(marker)).toBe(false);
  });
});
