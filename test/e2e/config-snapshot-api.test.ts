import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { runScript } from '../support/run-script.js';
import { openSession } from '../support/sql-session.js';
import { adminKey, signalInput, startTestService, type TestService } from '../support/test-service.js';

let folder: string;
let service: TestService;
let environment: Record<string, string>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daybook-snapshots-'));
  await writeFile(join(folder, 'limits.yaml'), 'max_position: 100\nbroker_token: first-secret-token\n');
  environment = { DAYBOOK_JOBS: 'off', DAYBOOK_CONFIG_ROOT: folder, DAYBOOK_CONFIG_FILES: '*.yaml,absent.ini' };
  service = await startTestService({ environment });
});

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const create = `mutation ($reason: String!) { createConfigSnapshot(input: { reason: $reason }) { snapshot {
  id takenAt takenBy node occasion reason filesHash previousId changes diff
  files { path state hash mark size contentHash redactions note } } } }`;
const list = '{ configSnapshots(first: 10) { totalCount nodes { id occasion reason changes } edges { cursor } } }';

describe('configuration snapshots over the API', () => {
  test('one is taken on each start, and names what could not be read', async () => {
    const { data, errors } = await service.call(
      '{ configSnapshots { nodes { occasion reason takenBy changes diff files { path state } } } }',
    );
    expect(errors).toBeUndefined();
    const [first] = data!.configSnapshots.nodes;
    expect(first).toMatchObject({ occasion: 'START', reason: 'start', takenBy: 'daybook', changes: 0, diff: '' });
    expect(first.files).toEqual(
      expect.arrayContaining([
        { path: 'limits.yaml', state: 'TEXT' },
        { path: 'absent.ini', state: 'MISSING' },
        { path: '@daybook/environment', state: 'TEXT' },
        { path: '@daybook/package-lock.json', state: 'LARGE' },
      ]),
    );
  });

  test('one on demand commits with its call, its changes and their entries', async () => {
    await writeFile(join(folder, 'limits.yaml'), 'max_position: 250\nbroker_token: other-secret-token\n');
    const { data, errors } = await service.call(create, { reason: 'limits raised, ticket 7' });
    expect(errors).toBeUndefined();
    const { snapshot } = data!.createConfigSnapshot;
    expect(snapshot).toMatchObject({
      occasion: 'DEMAND',
      takenBy: 'admin',
      reason: 'limits raised, ticket 7',
      changes: 1,
    });
    expect(snapshot.diff).toContain('diff made by git version');
    expect(snapshot.diff).toContain('-max_position: 100\n');
    expect(JSON.stringify(snapshot)).not.toContain('secret-token');
    await using auditor = await openSession(service.database.urls.auditor);
    const entries = await auditor.run(
      `SELECT event, actor, resource FROM public.audit_entries WHERE xid = (SELECT xid FROM public.audit_entries
         WHERE resource = $1) ORDER BY chain_index`,
      [`config-snapshot/${snapshot.id}`],
    );
    expect(entries).toEqual([
      { event: 'ConfigSnapshotTaken', actor: 'admin', resource: `config-snapshot/${snapshot.id}` },
      { event: 'ConfigChanged', actor: 'admin', resource: 'limits.yaml' },
      { event: 'ApiCall', actor: 'admin', resource: 'createConfigSnapshot' },
    ]);
    const diff = await service.call('query ($from: ID!, $to: ID!) { configDiff(from: $from, to: $to) }', {
      from: snapshot.previousId,
      to: snapshot.id,
    });
    expect(diff.data!.configDiff).toBe(snapshot.diff);
  });

  test('the settings are there with their defaults, secret ones as marks', async () => {
    await using auditor = await openSession(service.database.urls.auditor);
    const text = String(
      await auditor.value(`SELECT content FROM public.config_contents JOIN public.config_snapshot_files USING (content_hash)
        WHERE path = '@daybook/environment' LIMIT 1`),
    );
    const { redactor } = service.context.services;
    expect(text).toContain(`\nDAYBOOK_ADMIN_KEY=${redactor.mark(adminKey)}\n`);
    expect(text).toContain('\nDAYBOOK_HOST=127.0.0.1\n');
    const password = decodeURIComponent(new URL(service.database.urls.superuser).password);
    expect(password.length).toBeGreaterThan(8);
    expect(text).not.toContain(password);
  });

  test('the schema is named by the hash of schema.graphql', async () => {
    const { data } = await service.call('{ configSnapshots(first: 1) { nodes { files { path hash size } } } }');
    const file = data!.configSnapshots.nodes[0].files.find(({ path }: any) => path === '@daybook/schema.graphql');
    const { createHash } = await import('node:crypto');
    const { lexicographicSortSchema, printSchema } = await import('graphql');
    const printed = `${printSchema(lexicographicSortSchema(service.context.schema))}\n`;
    expect(file.hash).toBe(createHash('sha256').update(printed).digest('hex'));
    expect(file.size).toBe(String(Buffer.byteLength(printed)));
  });

  test('errors have their codes', async () => {
    const codeOf = (answer: Awaited<ReturnType<TestService['call']>>) => answer.errors?.[0]?.extensions.code;
    expect(codeOf(await service.call(create, { reason: ' ' }))).toBe('BAD_USER_INPUT');
    expect(codeOf(await service.call('{ configDiff(from: "x", to: "y") }'))).toBe('NOT_FOUND');
    expect(codeOf(await service.call('{ configSnapshots(after: "x") { nodes { id } } }'))).toBe('BAD_USER_INPUT');
  });

  test('auditors read, and only ADMIN takes one', async () => {
    const keys = await Promise.all(['PRODUCER', 'ANALYST', 'MONITOR', 'AUDITOR'].map((role) => service.makeKey(role)));
    const codes = async (query: string, variables?: Record<string, unknown>) =>
      Promise.all(keys.map(async (key) => (await service.call(query, variables, key)).errors?.[0]?.extensions.code));
    const readers = ['FORBIDDEN', 'FORBIDDEN', undefined, undefined];
    expect(await codes(list)).toEqual(readers);
    expect(await codes('{ executionRates(from: "2026-01-01", to: "2026-01-02") { date } }')).toEqual(readers);
    expect(await codes('{ configDiff(from: "x", to: "y") }')).toEqual([
      ...['FORBIDDEN', 'FORBIDDEN', 'NOT_FOUND', 'NOT_FOUND'],
    ]);
    expect(await codes('{ signalTrace(signalId: "x") { status } }')).toEqual([
      ...['FORBIDDEN', 'FORBIDDEN', 'NOT_FOUND', 'NOT_FOUND'],
    ]);
    expect(await codes(create, { reason: 'no' })).toEqual(Array(4).fill('FORBIDDEN'));
  });
});

test('a trace over the API joins signal, orders, fills and the configuration of that time', async () => {
  const made = await service.call(
    'mutation ($input: CreateSignalInput!) { createSignal(input: $input) { signal { id } } }',
    {
      input: { ...signalInput(), strategy: 'momentum' },
    },
  );
  const signalId = made.data!.createSignal.signal.id as string;
  const order = { symbol: 'AAPL', side: 'BUY', orderId: 'o-1' };
  const recorded = await service.call(
    'mutation ($events: [EventInput!]!) { recordEvents(input: { events: $events }) { entries { id } } }',
    {
      events: [
        { orderAccepted: { ...order, quantity: '10', signalId } },
        { partiallyFilled: { ...order, quantity: '4', price: '100.25', remainingQuantity: '6' } },
        { filled: { ...order, quantity: '6', price: '100.5' } },
        { alertSent: { alertType: 'RISK', severity: 'INFO', message: 'filled', orderId: 'o-1' } },
      ],
    },
  );
  expect(recorded.errors).toBeUndefined();
  const { data, errors } = await service.call(
    `query ($signalId: ID!) { signalTrace(signalId: $signalId) {
      signal { id symbol } status reason supersededBy orderedQuantity filledQuantity filledNotional asOfIndex complete
      orders { orderId status quantity filledQuantity message } events { joinedBy entry { event chainIndex } }
      fills { orderId entry { event } } rejections { orderId } alerts { entry { event } }
      config { id occasion files { path } } } }`,
    { signalId },
  );
  expect(errors).toBeUndefined();
  expect(data!.signalTrace).toMatchObject({
    signal: { id: signalId },
    ...{ status: 'EXECUTED', orderedQuantity: '10', filledQuantity: '10', filledNotional: '1004', complete: true },
    orders: [{ orderId: 'o-1', status: 'FILLED', quantity: '10', filledQuantity: '10', message: null }],
    fills: [{ entry: { event: 'PartiallyFilled' } }, { entry: { event: 'Filled' } }],
    ...{ rejections: [], alerts: [{ entry: { event: 'AlertSent' } }] },
  });
  const newest = (await service.call(list)).data!.configSnapshots.nodes[0];
  expect(data!.signalTrace.config.id).toBe(newest.id);
  const day = new Date().toISOString().slice(0, 10);
  const rates = await service.call(`{ executionRates(from: "${day}", to: "${day}", strategy: "momentum") {
    date strategy signals executed executionRate } }`);
  expect(rates.data!.executionRates).toEqual([
    { date: day, strategy: 'momentum', signals: 1, executed: 1, executionRate: '1' },
  ]);
});

describe('on the command line', () => {
  const run = (...args: string[]) =>
    runScript('src/main.ts', args, {
      ...environment,
      DAYBOOK_DATA_DIR: service.context.config.dataDir,
      DATABASE_URL: service.database.urls.superuser,
    });

  test('config-snapshot records the configuration beside the running service', async () => {
    const { exitCode, stdout, stderr } = await run('config-snapshot', '--reason', 'from a shell', '--json');
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const snapshot = JSON.parse(stdout) as Record<string, any>;
    expect(snapshot).toMatchObject({ reason: 'from a shell', taken_by: 'command line', occasion: 'DEMAND' });
    expect(snapshot.files['limits.yaml']).toMatchObject({ state: 'TEXT', redactions: 1 });
    // Its environment is not the service's: that is what it records.
    expect(snapshot.diffs['@daybook/environment']).toContain('-DAYBOOK_PORT=');
    expect(snapshot.diffs['limits.yaml']).toBeUndefined();
    const again = await run('config-snapshot', '--reason', 'again');
    expect(again.stdout).toContain('\nnothing changed\n');
    expect(again.stdout).toContain('  absent.ini: MISSING');
  });

  test('config-snapshot wants a reason, and says when nothing answers', async () => {
    expect((await run('config-snapshot')).exitCode).toBe(1);
    const refused = await run('config-snapshot', '--reason', ' ', '--json');
    expect(refused.exitCode).toBe(1);
    expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'BAD_USER_INPUT' } });
  });

  test('trace prints a table, JSON, and NOT_FOUND', async () => {
    const { data } = await service.call('{ signals(first: 1) { nodes { id } } }');
    const { id } = data!.signals.nodes[0];
    const table = await run('trace', id);
    expect(table.exitCode).toBe(0);
    expect(table.stdout).toContain('EXECUTED: 10 of 10 filled');
    expect(table.stdout).toContain('PartiallyFilled');
    const json = await run('trace', id, '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({
      trace: {
        status: 'EXECUTED',
        filledQuantity: '10',
        events: [{ entry: { details: { quantity: '10' } } }, {}, {}, {}],
      },
    });
    const missing = await run('trace', 'nothing', '--json');
    expect(missing.exitCode).toBe(1);
    expect(JSON.parse(missing.stdout)).toMatchObject({ error: { code: 'NOT_FOUND' } });
  });
});
