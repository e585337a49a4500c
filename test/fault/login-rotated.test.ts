import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { WebSocket } from 'ws';
import { followFeed } from '../../src/client/index.js';
import { readConfig } from '../../src/config.js';
import { openContext, type NodeContext } from '../../src/context.js';
import { canLogIn, readPassword, withConnection } from '../../src/db/admin-connection.js';
import { postgresFolder } from '../../src/db/postgres-folder.js';
import { deriveRoleUrls } from '../../src/db/roles.js';
import { JobRunner } from '../../src/jobs/job-runner.js';
import { startServer } from '../../src/server.js';
import { createDataFolder } from '../support/data-folder.js';
import { hasDebianPostgres, startDebianPostgres } from '../support/debian-postgres.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { openNewLogin, otherThan, rotate, startOwnServer } from '../support/login-rotation.js';
import { sampleEntry } from '../support/sample-entries.js';
import { findFreePort } from '../support/test-server.js';
import { adminKey, callGraphql, signalInput } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const log = pino({ level: 'silent' });
const queryIntervalMs = 20;

/** A node in this process on the database of `adminUrl`. */
interface Node extends AsyncDisposable {
  readonly context: NodeContext;
  readonly url: string;
  readonly dataDir: string;
  readonly auditorUrl: string;
}

async function startNode(adminUrl: string): Promise<Node> {
  await using stack = new AsyncDisposableStack();
  const dataDir = await mkdtemp(join(tmpdir(), 'daybook-login-'));
  stack.defer(() => rm(dataDir, { recursive: true, force: true }));
  const config = readConfig({
    DAYBOOK_PORT: String(await findFreePort()),
    DAYBOOK_DATA_DIR: dataDir,
    DATABASE_URL: adminUrl,
    DAYBOOK_ADMIN_KEY: adminKey,
  });
  const context = stack.use(await openContext(config, log));
  const { url } = stack.use(await startServer(context));
  const owned = stack.move();
  const auditorUrl = deriveRoleUrls(adminUrl, readPassword(adminUrl) ?? '').auditor;
  return { context, url, dataDir, auditorUrl, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Keeps every part of a node busy until it is stopped; then what failed is in `failures`. */
class Load implements AsyncDisposable {
  readonly failures: string[] = [];
  readonly done = { calls: 0, queries: 0, jobs: 0 };
  readonly feeds = { audit: [] as string[], signals: [] as string[] };
  readonly #node: Node;
  readonly #jobs: JobRunner;
  readonly #ending = new AbortController();
  readonly #running: Promise<unknown>[];

  private constructor(node: Node, jobs: JobRunner) {
    this.#node = node;
    this.#jobs = jobs;
    this.#running = [
      this.#repeat('calls', () => this.#call()),
      this.#repeat('calls', () => this.#call()),
      this.#repeat('queries', () => node.context.services.database.query('SELECT count(*) FROM public.signals')),
      this.#repeat('jobs', () => jobs.enqueue('counted')),
      this.#follow('audit'),
      this.#follow('signals'),
    ];
  }

  static async start(node: Node): Promise<Load> {
    let ran = 0;
    const job = { name: 'counted', cron: null, attemptsMax: 1, run: async () => void (ran += 1) };
    const jobs = new JobRunner({ url: node.context.login, jobs: [job], log });
    await jobs.start();
    const load = new Load(node, jobs);
    Object.defineProperty(load.done, 'jobs', { get: () => ran });
    return load;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort();
    await Promise.all(this.#running);
    await this.#jobs[Symbol.asyncDispose]();
  }

  /** Fifty times a second. */
  async #repeat(name: keyof Load['done'], work: () => Promise<unknown>): Promise<void> {
    while (!this.#ending.signal.aborted) {
      await work().then(
        () => (name === 'jobs' ? undefined : (this.done[name] += 1)),
        (error: unknown) => this.failures.push(`${name}: ${(error as Error).message}`),
      );
      await pause(queryIntervalMs);
    }
  }

  async #call(): Promise<void> {
    const query = `mutation ($input: CreateSignalInput!) { createSignal(input: $input) { signal { id } } }`;
    const made = await callGraphql(this.#node.url, query, { input: signalInput() });
    const read = await callGraphql(this.#node.url, '{ signals(first: 1) { edges { node { id } } } }');
    const [error] = [...(made.errors ?? []), ...(read.errors ?? [])];
    if (error !== undefined) throw new Error(`${error.extensions.code}: ${error.message}`);
  }

  async #follow(log: 'audit' | 'signals'): Promise<void> {
    await followFeed<{ chainIndex: string }>({
      url: `${this.#node.url.replace('http', 'ws')}/graphql`,
      apiKey: adminKey,
      feed: log === 'audit' ? 'auditFeed' : 'signalFeed',
      fields: 'chainIndex',
      after: '0',
      webSocketImpl: WebSocket,
      signal: this.#ending.signal,
      onReconnect: ({ cause }) => void this.failures.push(`feed: ${cause.message}`),
      onFrame: ({ rows }) => void this.feeds[log].push(...rows.map(({ chainIndex }) => chainIndex)),
    });
  }
}

/** Indexes of the entries in the log files of a node. */
async function readLogFiles({ dataDir }: Node): Promise<number[]> {
  const folder = join(dataDir, 'audit');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.jsonl')).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  return texts
    .join('')
    .split('\n')
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { index: number }).index);
}

const count = (end: number) => Array.from({ length: end }, (_, index) => index);

async function expectNothingLost(node: Node, load: Load): Promise<void> {
  const size = await withConnection(node.auditorUrl, async (auditor) => {
    const { rows } = await auditor.query<{ size: number }>('SELECT count(*)::int AS size FROM public.audit_entries');
    return rows[0]?.size ?? 0;
  });
  await node.context.services.proofs.signer.coveringCheckpoint('audit', size);
  await waitUntil('the sink has delivered all', async () => (await readLogFiles(node)).length >= size);
  const delivered = await readLogFiles(node);
  expect(delivered).toEqual(count(delivered.length));
  expect(load.feeds.audit).toEqual(count(load.feeds.audit.length).map(String));
  expect(load.feeds.signals).toEqual(count(load.feeds.signals.length).map(String));
  await expectLedgerIntact(node.auditorUrl);
}

async function rotateUnderLoad(adminUrl: string, rotations: number): Promise<void> {
  await using node = await startNode(adminUrl);
  const { login } = node.context;
  await using load = await Load.start(node);
  const former: string[] = [];
  for (let turn = 0; turn < rotations; turn += 1) {
    const before = { ...load.done, frames: load.feeds.signals.length };
    const formerUrl = login.url;
    const rotated = await rotate(login, adminUrl);
    former.push(rotated.former);
    // Nobody used it any more, so closing it ended nothing.
    expect(rotated.ended).toBe(0);
    expect(await canLogIn(formerUrl)).toBe(false);
    await waitUntil('everything goes on', () => {
      const { calls, queries, jobs } = load.done;
      const moved = [calls - before.calls, queries - before.queries, jobs - before.jobs];
      return moved.every((times) => times >= 5) && load.feeds.signals.length > before.frames + 5;
    });
  }
  await load[Symbol.asyncDispose]();
  expect(load.failures).toEqual([]);
  expect(former).toEqual(
    count(rotations).map((turn) => (turn % 2 === 0 ? 'daybook_application_a' : 'daybook_application_b')),
  );
  await expectNothingLost(node, load);
}

test('a node under load goes through ten rotations of its login, and nobody notices', async () => {
  await using server = await startOwnServer();
  await rotateUnderLoad(server.adminUrl, 10);
}, 120_000);

(hasDebianPostgres ? describe : describe.skip)('with PostgreSQL 15', () => {
  test('a node under load goes through two rotations of its login, and nobody notices', async () => {
    await using server = await startDebianPostgres();
    const adminUrl = new URL('/daybook', server.url).href;
    await withConnection(server.url, (admin) =>
      admin.query("CREATE DATABASE daybook TEMPLATE template0 ENCODING 'UTF8'"),
    );
    await rotateUnderLoad(adminUrl, 2);
  }, 120_000);
});

test('a change while PostgreSQL restarts succeeds or leaves the former login, and can be repeated', async () => {
  await using folder = await createDataFolder();
  const config = readConfig({
    DAYBOOK_PORT: String(await findFreePort()),
    DAYBOOK_POSTGRES_PORT: String(await findFreePort()),
    DAYBOOK_DATA_DIR: folder.path,
    DAYBOOK_ADMIN_KEY: adminKey,
  });
  await using context = await openContext(config, log);
  const { login } = context;
  const { passwordFile, data } = postgresFolder(folder.path);
  const adminPassword = (await readFile(passwordFile, 'utf8')).trim();
  const adminUrl = `postgresql://postgres:${adminPassword}@127.0.0.1:${config.postgresPort}/daybook`;
  const formerUrl = login.url;
  const next = await openNewLogin(adminUrl, otherThan(login.role));
  const [pid] = (await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n');
  process.kill(Number(pid), 'SIGINT');
  const outcomes = new Set<string>();
  await waitUntil('the change succeeds', async () => {
    const outcome = await login.change(next.url).then(
      () => 'changed',
      (error: unknown) => (error as { code: string }).code,
    );
    outcomes.add(outcome);
    expect(login.url).toBe(outcome === 'changed' ? next.url : formerUrl);
    return outcome === 'changed';
  });
  expect([...outcomes].filter((outcome) => outcome !== 'changed' && outcome !== 'DATABASE_UNAVAILABLE')).toEqual([]);
  expect(await login.drained(20_000)).toEqual([]);
  await waitUntil('appends succeed', () =>
    context.append({ entries: [sampleEntry('after')] }).then(
      () => true,
      () => false,
    ),
  );
  await expectLedgerIntact(deriveRoleUrls(adminUrl, adminPassword).auditor);
}, 120_000);
