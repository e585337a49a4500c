import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertEntriesSql, openSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';

const record = 'mutation ($input: RecordEventsInput!) { recordEvents(input: $input) { entries { id } } }';
const counts = '{ key count }';
const fields = `totalEntries bytes asOfIndex byAction ${counts} byActor ${counts} byCategory ${counts}
  byOutcome ${counts} byDay ${counts} topResources ${counts}`;

interface Count {
  readonly key: string | null;
  readonly count: string;
}
type Stats = Record<'byAction' | 'byActor' | 'byCategory' | 'byOutcome' | 'byDay' | 'topResources', Count[]> & {
  readonly totalEntries: string;
  readonly bytes: string;
  readonly asOfIndex: string | null;
};

let service: TestService;

beforeAll(async () => {
  service = await startTestService({ environment: { DAYBOOK_JOBS: 'off' } });
  const events = [
    { login: { user: 'ann', succeeded: false } },
    { login: { user: 'ann', succeeded: true } },
    { alertSent: { alertType: 'RISK', severity: 'INFO', message: 'limit' } },
  ];
  const { errors } = await service.call(record, { input: { events } });
  expect(errors).toBeUndefined();
  await using session = await openSession(service.database.urls.application);
  await session.run(insertEntriesSql(20));
});

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
});

async function readStats(filter: string): Promise<Stats> {
  const { data, errors } = await service.call(`{ auditStats${filter} { ${fields} } }`);
  expect(errors).toBeUndefined();
  return data?.auditStats as Stats;
}

const sumOf = (list: readonly Count[]) => list.reduce((sum, { count }) => sum + Number(count), 0);

describe('auditStats', () => {
  test('each grouping adds up to the total, and the bytes are those of the bodies', async () => {
    const stats = await readStats('');
    for (const list of [stats.byAction, stats.byActor, stats.byCategory, stats.byOutcome, stats.byDay]) {
      expect(sumOf(list)).toBe(Number(stats.totalEntries));
    }
    expect(Number(stats.totalEntries)).toBe(Number(stats.asOfIndex) + 1);
    await using session = await openSession(service.database.urls.auditor);
    const [row] = await session.run(
      `SELECT sum(octet_length(body)) AS bytes FROM public.audit_entries WHERE chain_index <= ${stats.asOfIndex}`,
    );
    expect(stats.bytes).toBe(String(row?.bytes));
    expect(stats.byDay).toEqual([{ key: new Date().toISOString().slice(0, 10), count: stats.totalEntries }]);
  });

  test('counts only what matches the filter', async () => {
    const failed = await readStats('(filter: { category: { eq: AUTH }, outcome: { ne: "OK" } })');
    expect(failed).toMatchObject({
      totalEntries: '1',
      byOutcome: [{ key: 'LOGIN_FAILED', count: '1' }],
      byAction: [{ key: 'LOGIN', count: '1' }],
      topResources: [{ key: 'ann', count: '1' }],
    });
    const nothing = await readStats('(filter: { event: { eq: "NoSuchEvent" } })');
    expect(nothing).toMatchObject({ totalEntries: '0', bytes: '0', byDay: [], topResources: [] });
    expect(nothing.asOfIndex).not.toBeNull();
  });

  test('counts absent values as such, and lists ten resources', async () => {
    const orders = await readStats('(filter: { event: { eq: "OrderAccepted" } })');
    expect(orders.byAction).toEqual([{ key: null, count: '20' }]);
    expect(orders.topResources).toHaveLength(10);
  });

  test('is for those who may read the audit log', async () => {
    const analyst = await service.makeKey('ANALYST');
    const { errors } = await service.call('{ auditStats { totalEntries } }', {}, analyst);
    expect(errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });
});

test('entries are found by action, role, outcome and address', async () => {
  const list = async (filter: string) => {
    const { data, errors } = await service.call(
      `{ auditEntries(filter: { ${filter} }) { nodes { event } totalCount } }`,
    );
    expect(errors).toBeUndefined();
    return data?.auditEntries as { nodes: { event: string }[]; totalCount: number };
  };
  expect((await list('action: { in: [LOGIN, LOGOUT] }')).totalCount).toBe(2);
  expect((await list('outcome: { eq: "LOGIN_FAILED" }')).nodes).toEqual([{ event: 'Login' }]);
  expect((await list('role: { eq: "ADMIN" }, event: { eq: "AlertSent" }')).totalCount).toBe(1);
  expect((await list('ipAddress: { startsWith: "127." }, event: { eq: "AlertSent" }')).totalCount).toBe(1);
});

describe('neighbours of an entry', () => {
  test('are those of its request and of its session, itself among them', async () => {
    const neighbours = 'totalCount nodes { event requestId }';
    const { data, errors } = await service.call(
      `{ auditEntries(filter: { event: { in: ["AlertSent", "OrderAccepted"] } }, first: 2) { nodes {
           event requestId entriesOfRequest { ${neighbours} } entriesOfSession(first: 2) { ${neighbours} } } } }`,
    );
    expect(errors).toBeUndefined();
    const [alert, order] = data?.auditEntries.nodes as Record<string, any>[];
    const { requestId } = alert ?? {};
    expect(requestId).not.toBeNull();
    expect(alert?.entriesOfRequest).toEqual({
      totalCount: 4,
      nodes: ['Login', 'Login', 'AlertSent', 'ApiCall'].map((event) => ({ event, requestId })),
    });
    expect(order).toEqual({
      event: 'OrderAccepted',
      requestId: null,
      entriesOfRequest: { totalCount: 0, nodes: [] },
      // Of plain SQL the session is its connection's.
      entriesOfSession: { totalCount: 20, nodes: [1, 2].map(() => ({ event: 'OrderAccepted', requestId: null })) },
    });
  });

  test('of a signal are read for those who may read the audit log', async () => {
    const query = '{ signals { nodes { auditEntries { totalCount } } } }';
    const signal = { symbol: 'AAPL', action: 'BUY', entryPrice: '1.5', confidence: '0.5' };
    await service.call('mutation ($input: CreateSignalInput!) { createSignal(input: $input) { replayed } }', {
      input: { ...signal, rationale: 'The price closed above its average of fifty days.' },
    });
    expect((await service.call(query)).data?.signals.nodes).toEqual([{ auditEntries: { totalCount: 1 } }]);
    const { errors } = await service.call(query, {}, await service.makeKey('ANALYST'));
    expect(errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });
});
