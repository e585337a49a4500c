import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { withConnection } from '../../src/db/admin-connection.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { signalInput, startTestService, type TestService } from '../support/test-service.js';

let stack: AsyncDisposableStack;
let database: TestDatabase;
let folder: string;

beforeAll(async () => {
  await using opening = new AsyncDisposableStack();
  database = opening.use(await createTestDatabase());
  folder = await mkdtemp(join(tmpdir(), 'daybook-rules-'));
  opening.defer(() => rm(folder, { recursive: true, force: true }));
  stack = opening.move();
});

afterAll(async () => {
  await expectLedgerIntact(database.urls.auditor);
  await stack.disposeAsync();
});

const askRules = '{ redactionRules { hash rules { name description } } }';
const record =
  'mutation ($input: RecordEventsInput!) { recordEvents(input: $input) { entries { resource details body } } }';

async function changes(): Promise<{ hash: string; previousHash?: string; rules: string[] }[]> {
  return withConnection(database.urls.auditor, async (client) => {
    const { rows } = await client.query(
      "SELECT details::jsonb FROM public.audit_entries WHERE event = 'RedactionRulesChanged' ORDER BY chain_index",
    );
    return rows.map((row) => row.details);
  });
}

async function entriesOf(request: string): Promise<any[]> {
  return withConnection(database.urls.auditor, async (client) => {
    const { rows } = await client.query(
      'SELECT event, details::jsonb, idempotency_key FROM public.audit_entries WHERE request_id = $1 ORDER BY chain_index',
      [request],
    );
    return rows;
  });
}

async function start(environment: Record<string, string> = {}): Promise<TestService> {
  return startTestService({ database, environment });
}

test('the rules in force can be read by whoever reads the audit log, and by nobody else', async () => {
  await using service = await start();
  const { data } = await service.call(askRules);
  expect(data?.redactionRules.hash).toBe(service.context.services.redactor.rules.hash);
  expect(data?.redactionRules.rules.map(({ name }: { name: string }) => name)).toEqual(
    expect.arrayContaining(['sensitive', 'secret-name', 'assignment', 'authorization', 'jwt', 'card-number']),
  );
  for (const [role, code] of [
    ['MONITOR', undefined],
    ['AUDITOR', undefined],
    ['ANALYST', 'FORBIDDEN'],
    ['PRODUCER', 'FORBIDDEN'],
  ] as const) {
    const answer = await service.call(askRules, undefined, await service.makeKey(role));
    expect([role, answer.errors?.[0]?.extensions.code]).toEqual([role, code]);
  }
});

test('a start leaves an entry where the rules are others than before, and none where they are the same', async () => {
  const file = join(folder, 'rules');
  await writeFile(file, '# keys of the desk\ndesk-key=DESK-[0-9]{8}\n');
  const before = await changes();
  expect(before).toHaveLength(1);
  await (await start())[Symbol.asyncDispose]();
  expect(await changes()).toHaveLength(1);
  await using service = await start({ DAYBOOK_REDACTION_RULES_FILE: file });
  const [first, second] = await changes();
  expect(second).toEqual({
    hash: service.context.services.redactor.rules.hash,
    previousHash: first?.hash,
    rules: [...(first?.rules ?? []), 'desk-key'],
  });
  const answer = await service.call(record, {
    input: { events: [{ botStarted: { bot: 'DESK-12345678', message: 'with DESK-12345678' } }] },
  });
  const mark = service.context.services.redactor.mark('DESK-12345678');
  expect(answer.data?.recordEvents.entries[0]).toMatchObject({
    resource: mark,
    details: { bot: mark, message: `with ${mark}`, redacted: ['desk-key /bot', 'desk-key /message'] },
  });
});

test('a file of rules that cannot be used ends the start', async () => {
  const file = join(folder, 'unusable');
  await writeFile(file, 'slow=(a+)+$\n');
  await expect(start({ DAYBOOK_REDACTION_RULES_FILE: file })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await expect(start({ DAYBOOK_REDACTION_RULES_FILE: join(folder, 'missing') })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
  });
});

test('a signal is recorded, hashed and answered without secrets; the entry of its call says by which rule', async () => {
  await using service = await start();
  const rationale = 'The price rose; alert with token=plum8plum8 sent to the desk.';
  const mark = service.context.services.redactor.mark('plum8plum8');
  const response = await fetch(`${service.url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: 'Bearer daybook_test_admin_key_that_is_long_enough_0001',
      'x-request-id': 'signal-with-secret',
    },
    body: JSON.stringify({
      query: 'mutation ($input: CreateSignalInput!) { createSignal(input: $input) { signal { rationale body } } }',
      variables: { input: signalInput({ rationale, strategy: 'token=plum8plum8', idempotencyKey: 'pwd=plum8' }) },
    }),
  });
  const answer = (await response.json()) as any;
  expect(answer.data.createSignal.signal.rationale).toBe(`The price rose; alert with token=${mark} sent to the desk.`);
  expect(answer.data.createSignal.signal.body).not.toContain('plum8');
  const [created, call] = await entriesOf('signal-with-secret');
  expect([created.event, call.event]).toEqual(['SignalCreated', 'ApiCall']);
  expect(call.details.redacted).toEqual([
    'assignment /input/strategy',
    'assignment /input/rationale',
    'assignment /input/idempotencyKey',
  ]);
});

test('a retry of what holds a secret returns the first result, and another secret under its key is a conflict', async () => {
  await using service = await start();
  const create = 'mutation ($input: CreateSignalInput!) { createSignal(input: $input) { replayed signal { id } } }';
  const input = signalInput({ rationale: 'The price rose, says password=plum9plum9.', idempotencyKey: 'retry-1' });
  const first = await service.call(create, { input });
  const second = await service.call(create, { input });
  expect(second.data?.createSignal).toEqual({ ...first.data?.createSignal, replayed: true });
  const other = await service.call(create, { input: { ...input, rationale: 'The price rose, says password=pear.' } });
  expect(other.errors?.[0]?.extensions.code).toBe('IDEMPOTENCY_CONFLICT');
});

test('a signal whose own id looks like a secret is refused', async () => {
  await using service = await start();
  const create = 'mutation ($input: CreateSignalInput!) { createSignal(input: $input) { replayed } }';
  const answer = await service.call(create, { input: signalInput({ signalId: 'AKIAIOSFODNN7EXAMPLE' }) });
  expect(answer.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
});

test('values of a configuration are recorded unless it names secrets; the call itself never shows them', async () => {
  await using service = await start();
  const events = [
    { configChanged: { configType: 'risk-limits', oldValue: 'max: 100', newValue: 'max: 200' } },
    { configChanged: { configType: 'api-keys', oldValue: 'plum', newValue: 'pear' } },
  ];
  const answer = await service.call(record, { input: { events } });
  const { redactor } = service.context.services;
  const [limits, keys] = answer.data?.recordEvents.entries as { details: object }[];
  expect(limits?.details).toEqual({ configType: 'risk-limits', oldValue: 'max: 100', newValue: 'max: 200' });
  expect(keys?.details).toEqual({
    configType: 'api-keys',
    oldValue: redactor.mark('plum'),
    newValue: redactor.mark('pear'),
    redacted: ['secret-config /oldValue', 'secret-config /newValue'],
  });
  const calls = await withConnection(database.urls.auditor, async (client) => {
    const { rows } = await client.query(
      "SELECT details::jsonb FROM public.audit_entries WHERE event = 'ApiCall' ORDER BY chain_index DESC LIMIT 1",
    );
    return rows;
  });
  expect(calls[0].details.redacted).toEqual(
    [0, 1].flatMap((place) =>
      ['oldValue', 'newValue'].map((name) => `sensitive /input/events/${place}/configChanged/${name}`),
    ),
  );
  expect(calls[0].details.arguments.input.events[0].configChanged.oldValue).toBe(redactor.mark('max: 100'));
});

test('a thousand secrets in one call fit its entry, which names a hundred of them and the number of all', async () => {
  await using service = await start();
  const events = Array.from({ length: 1_000 }, (_, place) => ({
    botStopped: { bot: 'b', message: `password=plum${place}` },
  }));
  const answer = await service.call(record, { input: { events } });
  expect(answer.errors).toBeUndefined();
  const [call] = await withConnection(database.urls.auditor, async (client) => {
    const { rows } = await client.query(
      "SELECT details::jsonb FROM public.audit_entries WHERE event = 'ApiCall' ORDER BY chain_index DESC LIMIT 1",
    );
    return rows;
  });
  expect(call.details.redacted).toHaveLength(100);
  expect(call.details.redactedInAll).toBe(1_000);
});
