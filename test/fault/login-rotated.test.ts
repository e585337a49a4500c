import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { pino } from 'pino';
import { WebSocket } from 'ws';
import { followFeed } from '../../src/client/index.js';
import { readConfig } from '../../src/config.js';
import { openContext, type NodeContext } from '../../src/context.js';
import { canLogIn, readPassword, withConnection, withCredentials } from '../../src/db/admin-connection.js';
import { postgresFolder } from '../../src/db/postgres-folder.js';
import { deriveRoleUrls } from '../../src/db/roles.js';
import { JobRunner } from '../../src/jobs/job-runner.js';
import { startServer } from '../../src/server.js';
import { createDataFolder } from '../support/data-folder.js';
import { hasDebianPostgres, startDebianPostgres } from '../support/debian-postgres.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { openNewLogin, otherThan, sessionsOf, startOwnServer } from '../support/login-rotation.js';
import { RotatedSecret } from '../support/rotation-calls.js';
import { sampleEntry } from '../support/sample-entries.js';
import { findFreePort } from '../support/test-server.js';
import { adminKey, callGraphql, signalInput } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const log = pino({ level: 'silent' });
/** Fifty times a second. */
const queryIntervalMs = 20;
/** How often a client of the database looks whether its login has changed: well within the grace period. */
const clientLooksMs = 250;
const graceSeconds = 1;

/** A node in this process on the database of `adminUrl`. */
interface Node extends AsyncDisposable {
  readonly context: NodeContext;
  readonly url: string;
  readonly secret: RotatedSecret;
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
  const call = (query: string, variables?: Record<string, unknown>) => callGraphql(url, query, variables);
  const secret = new RotatedSecret({ call, context }, 'DATABASE', 'application');
  return { context, url, secret, dataDir, auditorUrl, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** A program beside the service with the login of the secret: it asks for the secret now and then, and connects anew with it. */
class DatabaseClient implements AsyncDisposable {
  #client: pg.Client | null = null;
  #generation = 0;
  #looksAtMs = 0;

  constructor(
    private readonly node: Node,
    private readonly adminUrl: string,
  ) {}

  async query(): Promise<void> {
    if (performance.now() >= this.#looksAtMs) await this.#look();
    await this.#client?.query('SELECT count(*) FROM public.signals');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.end();
  }

  async #look(): Promise<void> {
    this.#looksAtMs = performance.now() + clientLooksMs;
    const { generation, value, facts } = await this.node.secret.read();
    if (generation === this.#generation) return;
    const former = this.#client;
    const connectionString = withCredentials(this.adminUrl, facts.role ?? '', value);
    this.#client = new pg.Client({ connectionString, application_name: 'a client' });
    await this.#client.connect();
    this.#generation = generation;
    await former?.end();
  }
}

const createSignal = `mutation ($input: CreateSignalInput!) { createSignal(input: $input) { signal { id } } }`;

/** Keeps every part of a node busy until it is stopped; then what failed is in `failures`. */
class Load implements AsyncDisposable {
  readonly failures: string[] = [];
  readonly done = { calls: 0, reads: 0, queries: 0, clientQueries: 0, jobs: 0 };
  readonly feeds = { audit: [] as string[], signals: [] as string[] };
  readonly #node: Node;
  readonly #jobs: JobRunner;
  readonly #client: DatabaseClient;
  readonly #ending = new AbortController();
  readonly #running: Promise<unknown>[];

  private constructor(node: Node, jobs: JobRunner, client: DatabaseClient) {
    this.#node = node;
    this.#jobs = jobs;
    this.#client = client;
    this.#running = [
      this.#repeat('calls', () => this.#call(createSignal, { input: signalInput() })),
      this.#repeat('reads', () => this.#call('{ signals(first: 1) { edges { node { id } } } }')),
      this.#repeat('clientQueries', () => client.query()),
      this.#repeat('queries', () => node.context.services.database.query('SELECT count(*) FROM public.signals')),
      this.#repeat('jobs', () => jobs.enqueue('counted')),
      this.#follow('audit'),
      this.#follow('signals'),
    ];
  }

  static async start(node: Node, adminUrl: string): Promise<Load> {
    let ran = 0;
    const job = { name: 'counted', cron: null, attemptsMax: 1, run: async () => void (ran += 1) };
    const jobs = new JobRunner({ url: node.context.login, jobs: [job], log });
    await jobs.start();
    const load = new Load(node, jobs, new DatabaseClient(node, adminUrl));
    Object.defineProperty(load.done, 'jobs', { get: () => ran });
    return load;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort();
    await Promise.all(this.#running);
    await this.#client[Symbol.asyncDispose]();
    await this.#jobs[Symbol.asyncDispose]();
  }

  async #repeat(name: keyof Load['done'], work: () => Promise<unknown>): Promise<void> {
    for (let dueMs = performance.now(); !this.#ending.signal.aborted; dueMs += queryIntervalMs) {
      await pause(Math.max(0, dueMs - performance.now()));
      await work().then(
        () => (name === 'jobs' ? undefined : (this.done[name] += 1)),
        (error: unknown) => this.failures.push(`${name}: ${(error as Error).message}`),
      );
    }
  }

  async #call(query: string, variables: Record<string, unknown> = {}): Promise<void> {
    const { errors } = await callGraphql(this.#node.url, query, variables);
    const [error] = errors ?? [];
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
  const { context, secret } = node;
  await secret.setGrace(graceSeconds);
  await using load = await Load.start(node, adminUrl);
  const former: string[] = [];
  for (let turn = 0; turn < rotations; turn += 1) {
    const before = { ...load.done, frames: load.feeds.signals.length };
    const { url, role } = context.login;
    former.push(role);
    // The job that looks each minute may be the one that carries it out.
    const { id } = await secret.rotate();
    const { steps } = await secret.untilStatus(id, 'REVOKED');
    expect(steps.map((step) => step.status)).not.toContain('UNKNOWN');
    expect(await canLogIn(url)).toBe(false);
    expect(await sessionsOf(adminUrl, role)).toEqual([]);
    await waitUntil('everything goes on', () => {
      const { calls, reads, queries, clientQueries, jobs } = load.done;
      const moved = [calls - before.calls, reads - before.reads, queries - before.queries, jobs - before.jobs];
      moved.push(clientQueries - before.clientQueries, load.feeds.signals.length - before.frames);
      return moved.every((times) => times > 5);
    });
  }
  await load[Symbol.asyncDispose]();
  expect(load.failures).toEqual([]);
  expect(former).toEqual(
    count(rotations).map((turn) => (turn % 2 === 0 ? 'daybook_application_a' : 'daybook_application_b')),
  );
  await expectNothingLost(node, load);
}

test('a node under load goes through ten rotations of its login in a row, no query fails, and what was revoked lets nobody in', async () => {
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
