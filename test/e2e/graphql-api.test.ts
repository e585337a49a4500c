import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { signalInput, startTestService, type TestService } from '../support/test-service.js';

let service: TestService;
let producer: string;

beforeAll(async () => {
  service = await startTestService();
  producer = await service.makeKey('PRODUCER');
});

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
});

const create = `mutation ($input: CreateSignalInput!) { createSignal(input: $input) {
  replayed signal { id chainIndex symbol entryPrice rationaleOrigin generatedAt serverTimestamp producer supersedes { id } } } }`;
const createMany = `mutation ($input: CreateSignalsInput!) { createSignals(input: $input) { replayed signals { id chainIndex } } }`;
const list = `query ($filter: SignalFilter, $orderBy: SignalOrder, $first: Int, $after: String, $last: Int, $before: String) {
  signals(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
    totalCount nodes { id chainIndex } edges { cursor node { symbol } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`;

/** Fails with the answer's errors where there are any. */
async function succeed(query: string, variables?: Record<string, unknown>, key?: string | null) {
  const answer = await service.call(query, variables, key);
  expect(answer.errors).toBeUndefined();
  return answer.data as Record<string, any>;
}

async function codeOf(query: string, variables?: Record<string, unknown>, key?: string | null) {
  const answer = await service.call(query, variables, key);
  return answer.errors?.[0]?.extensions.code;
}

describe('recording signals', () => {
  test('a signal is answered as the database recorded it, decimals and microseconds exact', async () => {
    const input = signalInput({ entryPrice: '100.500', generatedAt: '2026-01-02T03:04:05.123456+01:00' });
    const { createSignal } = await succeed(create, { input }, producer);
    expect(createSignal).toMatchObject({
      replayed: false,
      signal: { entryPrice: '100.5', generatedAt: '2026-01-02T02:04:05.123456Z', rationaleOrigin: 'CALLER' },
    });
    expect(createSignal.signal.serverTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  });

  test('a retry with the same idempotency key returns the first signal, other input under it is a conflict', async () => {
    const input = signalInput({ idempotencyKey: 'retry-1' });
    const first = await succeed(create, { input }, producer);
    const second = await succeed(create, { input }, producer);
    expect(second.createSignal).toEqual({ ...first.createSignal, replayed: true });
    expect(await codeOf(create, { input: { ...input, entryPrice: '1' } }, producer)).toBe('IDEMPOTENCY_CONFLICT');
    const other = await succeed(create, { input }, await service.makeKey('PRODUCER'));
    expect(other.createSignal.replayed).toBe(false);
  });

  test('one bad signal fails its batch and nothing else, and leaves no row', async () => {
    const before = await succeed(list);
    const batch = { signals: [signalInput(), signalInput({ stopLoss: '-1' })] };
    const [bad, good] = await Promise.all([
      codeOf(createMany, { input: batch }, producer),
      succeed(createMany, { input: { signals: [signalInput(), signalInput()] } }, producer),
    ]);
    expect(bad).toBe('BAD_USER_INPUT');
    expect(good.createSignals.signals).toHaveLength(2);
    expect((await succeed(list)).signals.totalCount).toBe(before.signals.totalCount + 2);
  });

  test('a correction supersedes a signal once; both stay readable from either side', async () => {
    const { createSignal: first } = await succeed(create, { input: signalInput() }, producer);
    const correction = signalInput({ supersedes: first.signal.id, entryPrice: '190' });
    const { createSignal: second } = await succeed(create, { input: correction }, producer);
    expect(second.signal.supersedes).toEqual({ id: first.signal.id });
    const read = await succeed(`query ($id: ID!) { signal(id: $id) { supersededBy { id } } }`, { id: first.signal.id });
    expect(read.signal.supersededBy).toEqual({ id: second.signal.id });
    expect(await codeOf(create, { input: correction }, producer)).toBe('ALREADY_SUPERSEDED');
    expect(await codeOf(create, { input: signalInput({ supersedes: 'unknown' }) }, producer)).toBe('NOT_FOUND');
  });

  test('without a rationale the numbers are worded by a template, which says so', async () => {
    const input = { symbol: 'MSFT', action: 'SELL', entryPrice: '410.25', targetPrice: '400', confidence: '0.5' };
    const { createSignal } = await succeed(create, { input }, producer);
    expect(createSignal.signal.rationaleOrigin).toBe('TEMPLATE');
  });
});

describe('lists', () => {
  test('pages meet without gap or overlap in both directions and orders', async () => {
    const signals = Array.from({ length: 7 }, () => signalInput({ symbol: 'PAGED' }));
    await succeed(createMany, { input: { signals } }, producer);
    const filter = { symbol: { eq: 'PAGED' } };
    for (const orderBy of ['CHAIN_INDEX_ASC', 'CHAIN_INDEX_DESC']) {
      const all = (await succeed(list, { filter, orderBy })).signals.nodes.map((node: any) => node.chainIndex);
      const first = (await succeed(list, { filter, orderBy, first: 3 })).signals;
      expect(first.pageInfo).toMatchObject({ hasNextPage: true, hasPreviousPage: false });
      const second = (await succeed(list, { filter, orderBy, first: 9, after: first.pageInfo.endCursor })).signals;
      expect(second.pageInfo).toMatchObject({ hasNextPage: false, hasPreviousPage: true });
      expect([...first.nodes, ...second.nodes].map((node: any) => node.chainIndex)).toEqual(all);
      const back = (await succeed(list, { filter, orderBy, last: 3, before: second.pageInfo.startCursor })).signals;
      expect(back.nodes.map((node: any) => node.chainIndex)).toEqual(all.slice(0, 3));
      expect(back.pageInfo).toMatchObject({ hasNextPage: true, hasPreviousPage: false });
    }
  });

  test('filters combine with and, or and not', async () => {
    const input = { signals: ['ONE', 'TWO', 'TREE'].map((symbol) => signalInput({ symbol, strategy: 'filtered' })) };
    await succeed(createMany, { input }, producer);
    const filter = {
      strategy: { eq: 'filtered' },
      or: [{ symbol: { startsWith: 'T' } }, { symbol: { in: ['ONE'] } }],
      not: { symbol: { eq: 'TWO' } },
    };
    const { signals } = await succeed(list, { filter });
    expect(signals.edges.map((edge: any) => edge.node.symbol)).toEqual(['ONE', 'TREE']);
    expect(signals.totalCount).toBe(2);
  });

  test('a cursor of another list, too large a page, and first with last are refused', async () => {
    const audit = await succeed('{ auditEntries(first: 1) { pageInfo { endCursor } } }');
    expect(await codeOf(list, { after: audit.auditEntries.pageInfo.endCursor })).toBe('BAD_USER_INPUT');
    expect(await codeOf(list, { first: 1001 })).toBe('BAD_USER_INPUT');
    expect(await codeOf(list, { first: 1, last: 1 })).toBe('BAD_USER_INPUT');
  });
});

describe('events', () => {
  const record = `mutation ($input: RecordEventsInput!) { recordEvents(input: $input) {
    entries { event category action resource signalId outcome occurredAt details } } }`;
  const order = { symbol: 'AAPL', side: 'BUY', quantity: '10', orderId: 'o-1' };

  test('each typed event becomes an entry with its own fields', async () => {
    const events = [
      { orderAccepted: { ...order, price: '189.50', dealId: 'd-1', signalId: 's-1' } },
      { partiallyFilled: { ...order, quantity: '4', price: '189.4', remainingQuantity: '6' } },
      { filled: { ...order, price: '189.45' } },
      { rejected: { ...order, message: 'margin too low' } },
      { stopUpdated: { symbol: 'AAPL', oldValue: '180', newValue: '185' } },
      { alertSent: { alertType: 'RISK', severity: 'WARNING', message: 'exposure above 80 %' } },
      { login: { user: 'kim', sourceIp: '192.0.2.1', succeeded: false } },
      { logout: { user: 'kim' } },
      { configChanged: { configType: 'risk-limits', oldValue: '1', newValue: '2', approvedBy: 'lee', ticket: 'C-7' } },
      { botStarted: { bot: 'momentum', version: '1.4' } },
      { botStopped: { bot: 'momentum', message: 'end of session' } },
      { paymentRecorded: { paymentId: 'p-1', amount: '-12.5', currency: 'EUR', occurredAt: '2026-11-20T10:00:00Z' } },
    ];
    const { recordEvents } = await succeed(record, { input: { events } }, producer);
    expect(recordEvents.entries.map((entry: any) => entry.event)).toEqual([
      'OrderAccepted',
      'PartiallyFilled',
      'Filled',
      'Rejected',
      'StopUpdated',
      'AlertSent',
      'Login',
      'Logout',
      'ConfigChanged',
      'BotStarted',
      'BotStopped',
      'PaymentRecorded',
    ]);
    expect(recordEvents.entries[0]).toMatchObject({ signalId: 's-1', details: { price: '189.5', dealId: 'd-1' } });
    expect(recordEvents.entries[6]).toMatchObject({ outcome: 'LOGIN_FAILED', category: 'AUTH', action: 'LOGIN' });
    expect(recordEvents.entries[11].occurredAt).toBe('2026-11-20T10:00:00.000000Z');
  });

  test('an event with a value out of its range, or two events in one, is refused and writes nothing', async () => {
    const before = await succeed('{ auditEntries(filter: { event: { eq: "Filled" } }) { totalCount } }');
    const bad = { events: [{ filled: { ...order, price: '1' } }, { filled: { ...order, quantity: '0', price: '1' } }] };
    expect(await codeOf(record, { input: bad }, producer)).toBe('BAD_USER_INPUT');
    const two = { events: [{ logout: { user: 'a' }, login: { user: 'a' } }] };
    expect(await codeOf(record, { input: two }, producer)).toBe('BAD_USER_INPUT');
    const after = await succeed('{ auditEntries(filter: { event: { eq: "Filled" } }) { totalCount } }');
    expect(after).toEqual(before);
  });

  test('a retried event returns its first entry', async () => {
    const input = { events: [{ logout: { user: 'kim', idempotencyKey: 'logout-1' } }] };
    const query = `mutation ($input: RecordEventsInput!) { recordEvents(input: $input) { entries { id } } }`;
    const first = await succeed(query, { input }, producer);
    expect(await succeed(query, { input }, producer)).toEqual(first);
  });
});
