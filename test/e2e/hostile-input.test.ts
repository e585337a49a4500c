import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { errorCatalogue } from '../../src/errors.js';
import { withConnection } from '../../src/db/admin-connection.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { adminKey, signalInput, startTestService, type Answer, type TestService } from '../support/test-service.js';

let service: TestService;

beforeAll(async () => {
  service = await startTestService();
});

afterAll(async () => {
  expect((await fetch(`${service.url}/health/ready`)).status).toBe(200);
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
});

const create =
  'mutation ($input: CreateSignalInput!) { createSignal(input: $input) { signal { symbol rationale strategy } } }';

/** Number of signals and of events that callers recorded. */
async function written(): Promise<unknown> {
  return withConnection(service.database.urls.auditor, async (client) => {
    const { rows } = await client.query(
      `SELECT (SELECT count(*) FROM public.signals) AS signals,
              (SELECT count(*) FROM public.audit_entries WHERE category NOT IN ('API', 'ADMIN')) AS events`,
    );
    return rows[0];
  });
}

/** Sends a body as it is, so that it may be what no JSON encoder would write. */
async function send(body: string): Promise<Answer & { error?: { code: string; message: string } }> {
  const response = await fetch(`${service.url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${adminKey}` },
    body,
  });
  return (await response.json()) as Answer;
}

async function expectRefused(body: string, code: string): Promise<void> {
  const before = await written();
  const answer = await send(body);
  const error = answer.error ?? { ...answer.errors?.[0], code: answer.errors?.[0]?.extensions.code };
  expect(Object.keys(errorCatalogue)).toContain(error.code);
  expect({ code: error.code, body: body.slice(0, 80) }).toEqual({ code, body: body.slice(0, 80) });
  expect(error.message?.length).toBeGreaterThan(10);
  expect(await written()).toEqual(before);
}

const withInput = (changes: Record<string, unknown>) =>
  JSON.stringify({ query: create, variables: { input: signalInput(changes) } });

test.each([
  ['a rationale of more bytes than an entry holds', { rationale: 'long '.repeat(20_000) }, 'ENTRY_TOO_LARGE'],
  ['a body just above 65,535 bytes', { rationale: `${'é'.repeat(32_600)} and more` }, 'ENTRY_TOO_LARGE'],
  ['a NUL byte', { rationale: 'a rationale with a \0 in the middle' }, 'BAD_USER_INPUT'],
  ['a NUL byte in the key', { idempotencyKey: 'a\0b' }, 'BAD_USER_INPUT'],
  ['NaN', { entryPrice: 'NaN' }, 'BAD_USER_INPUT'],
  ['Infinity', { entryPrice: 'Infinity' }, 'BAD_USER_INPUT'],
  ['10^400 in digits', { entryPrice: `1${'0'.repeat(400)}` }, 'BAD_USER_INPUT'],
  ['an exponent', { entryPrice: '1e400' }, 'BAD_USER_INPUT'],
  ['a negative price', { targetPrice: '-0.01' }, 'BAD_USER_INPUT'],
  ['a price of zero', { stopLoss: '0.000' }, 'BAD_USER_INPUT'],
  ['a confidence above one', { confidence: '1.000000000000000001' }, 'BAD_USER_INPUT'],
  ['a floating-point number', { confidence: 0.5 }, 'BAD_USER_INPUT'],
  ['an unknown action', { action: 'SHORT' }, 'BAD_USER_INPUT'],
  ['one repeated character as rationale', { rationale: 'x'.repeat(40) }, 'BAD_USER_INPUT'],
  ['a rationale too short', { rationale: '   nineteen letters    ' }, 'BAD_USER_INPUT'],
  ['the year 10000', { generatedAt: '10000-01-01T00:00:00Z' }, 'BAD_USER_INPUT'],
  ['the 30th of February', { generatedAt: '2026-02-30T00:00:00Z' }, 'BAD_USER_INPUT'],
  ['a time in the future', { generatedAt: '2999-01-01T00:00:00Z' }, 'BAD_USER_INPUT'],
  ['a field that is not there', { nothing: 1 }, 'BAD_USER_INPUT'],
])('%s is refused with its code and writes nothing', async (_name, changes, code) => {
  await expectRefused(withInput(changes), code);
});

test('a lone surrogate is refused, wherever it stands', async () => {
  for (const field of ['rationale', 'strategy', 'symbol', 'idempotencyKey', 'signalId']) {
    const body = withInput({ [field]: 'HERE' }).replace('HERE', 'a rationale with a \\ud800 in the middle');
    await expectRefused(body, 'BAD_USER_INPUT');
  }
});

test('1,001 items are refused', async () => {
  const signals = Array.from({ length: 1_001 }, () => signalInput());
  const many = 'mutation ($input: CreateSignalsInput!) { createSignals(input: $input) { replayed } }';
  await expectRefused(JSON.stringify({ query: many, variables: { input: { signals } } }), 'BATCH_TOO_LARGE');
  const events = Array.from({ length: 1_001 }, () => ({ logout: { user: 'kim' } }));
  const record = 'mutation ($input: RecordEventsInput!) { recordEvents(input: $input) { entries { id } } }';
  await expectRefused(JSON.stringify({ query: record, variables: { input: { events } } }), 'BATCH_TOO_LARGE');
  await expectRefused(JSON.stringify({ query: many, variables: { input: { signals: [] } } }), 'BAD_USER_INPUT');
});

test('10,000 aliases, 200 levels and a response of millions of values are refused', async () => {
  const aliases = Array.from({ length: 10_000 }, (_, place) => `a${place}: viewer { name }`).join(' ');
  await expectRefused(JSON.stringify({ query: `{ ${aliases} }` }), 'QUERY_TOO_COMPLEX');
  const few = Array.from({ length: 200 }, (_, place) => `a${place}: viewer { name }`).join(' ');
  await expectRefused(JSON.stringify({ query: `{ ${few} }` }), 'QUERY_TOO_COMPLEX');
  const deep = `{ signal(id: "x") ${'{ supersedes '.repeat(200)} { id } ${'}'.repeat(200)} }`;
  await expectRefused(JSON.stringify({ query: deep }), 'QUERY_TOO_COMPLEX');
  const wide = '{ signals(first: 1000) { nodes { auditEntries(first: 1000) { nodes { id event } } } } }';
  await expectRefused(JSON.stringify({ query: wide }), 'QUERY_TOO_COMPLEX');
  const cycle = 'query { ...a } fragment a on Query { ...b } fragment b on Query { ...a }';
  await expectRefused(JSON.stringify({ query: cycle }), 'GRAPHQL_VALIDATION_FAILED');
  await expectRefused(JSON.stringify({ query: '{ '.repeat(5_000) }), 'GRAPHQL_PARSE_FAILED');
});

test('a filter too deep or too long is refused', async () => {
  const list = 'query ($filter: SignalFilter) { signals(filter: $filter) { totalCount } }';
  let filter: object = { symbol: { eq: 'A' } };
  for (let level = 0; level < 50; level += 1) filter = { not: filter };
  await expectRefused(JSON.stringify({ query: list, variables: { filter } }), 'BAD_USER_INPUT');
  const or = Array.from({ length: 200 }, () => ({ symbol: { eq: 'A' } }));
  await expectRefused(JSON.stringify({ query: list, variables: { filter: { or } } }), 'BAD_USER_INPUT');
});

test('requests that are not GraphQL are refused', async () => {
  await expectRefused('null', 'BAD_REQUEST');
  await expectRefused('[]', 'BAD_REQUEST');
  await expectRefused('{"query": 1}', 'BAD_REQUEST');
  await expectRefused('{"query": "{ viewer { name } }", "variables": 3}', 'BAD_REQUEST');
  await expectRefused(JSON.stringify({ query: `{ viewer { name } }`, x: 'y'.repeat(17 * 1024 * 1024) }), 'BAD_REQUEST');
});

test('SQL in every text is stored as it is, or refused by its form', async () => {
  const sql = `'); DROP TABLE signals; -- \\" $$ \${x} %s`;
  const stored = await send(
    withInput({ rationale: `${sql} and twenty characters`, strategy: sql, idempotencyKey: sql }),
  );
  expect(stored.data?.createSignal.signal).toMatchObject({ rationale: `${sql} and twenty characters`, strategy: sql });
  await expectRefused(withInput({ symbol: sql }), 'BAD_USER_INPUT');
  await expectRefused(withInput({ signalId: sql }), 'BAD_USER_INPUT');
  const found = await service.call(
    'query ($filter: SignalFilter) { signals(filter: $filter) { nodes { strategy } } }',
    { filter: { strategy: { eq: sql } } },
  );
  expect(found.data?.signals.nodes).toEqual([{ strategy: sql }]);
  for (const argument of ['after', 'before']) {
    await expectRefused(
      JSON.stringify({
        query: `query ($c: String) { signals(${argument}: $c) { totalCount } }`,
        variables: { c: sql },
      }),
      'BAD_USER_INPUT',
    );
  }
});
