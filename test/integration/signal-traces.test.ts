import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import { pino } from 'pino';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import type { NewAuditEntry, NewSignal } from '../../src/ledger/new-entries.js';
import { SignalTracer, type SignalTraceRow } from '../../src/trace/signal-tracer.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { sampleEntry, sampleSignal } from '../support/sample-entries.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const hourMs = 3_600_000;
let database: TestDatabase;
let pool: pg.Pool;
let writer: LedgerWriter;

beforeEach(async () => {
  database = await createTestDatabase();
  pool = openPool(ledgerConnection(database.urls.auditor, 'test'), () => undefined);
  writer = new LedgerWriter({ url: database.urls.application, queueRowsMax: 50_000, log: pino({ level: 'silent' }) });
});

afterEach(async () => {
  await writer[Symbol.asyncDispose]();
  await pool.end();
  await expectLedgerIntact(database.urls.auditor);
  await database[Symbol.asyncDispose]();
});

/** `later`: milliseconds by which the tracer's clock is ahead; `windowMs`: how long ids are believed. */
function tracer({ later = 0, windowMs = 24 * hourMs } = {}): SignalTracer {
  return new SignalTracer({
    database: pool,
    clock: { nowMs: () => Date.now() + later },
    windowMs,
    configAt: (time) => Promise.resolve({ id: 'known', takenAt: time, filesHash: '0' }),
  });
}

async function addSignal(id: string, changes: Partial<NewSignal> = {}): Promise<void> {
  await writer.append({ signals: [sampleSignal(id, changes)] });
}

const categories: Record<string, NewAuditEntry['category']> = {
  OrderAccepted: 'ORDER',
  Rejected: 'ORDER',
  StopUpdated: 'ORDER',
  PartiallyFilled: 'FILL',
  Filled: 'FILL',
  AlertSent: 'ALERT',
};

function event(name: string, signalId: string | null, details: Record<string, string> = {}): NewAuditEntry {
  const sorted = Object.fromEntries(Object.entries(details).sort(([left], [right]) => (left < right ? -1 : 1)));
  return sampleEntry('AAPL', { category: categories[name]!, event: name, signalId, details: JSON.stringify(sorted) });
}

async function record(...entries: NewAuditEntry[]): Promise<void> {
  await writer.append({ entries });
}

function joins(trace: SignalTraceRow): string[] {
  return trace.events.map(({ entry, joinedBy }) => `${entry.event} ${joinedBy}`);
}

describe('what became of a signal', () => {
  test('executed in parts, with exact sums', async () => {
    await addSignal('s');
    await record(
      event('OrderAccepted', 's', { orderId: 'o', quantity: '0.3' }),
      event('PartiallyFilled', 's', { orderId: 'o', quantity: '0.1', price: '100.1', remainingQuantity: '0.2' }),
      event('Filled', 's', { orderId: 'o', quantity: '0.2', price: '100.2' }),
      event('AlertSent', 's', { message: 'done' }),
    );
    const trace = await tracer().trace('s');
    expect(trace).toMatchObject({
      status: 'EXECUTED',
      orderedQuantity: '0.3',
      filledQuantity: '0.3',
      filledNotional: '30.05',
      reason: '0.3 of 0.3 filled',
      orders: [{ orderId: 'o', status: 'FILLED', quantity: '0.3', filledQuantity: '0.3' }],
      config: { id: 'known', takenAt: trace.signal.serverTimestamp },
      complete: true,
    });
    expect(joins(trace)).toEqual(
      ['OrderAccepted', 'PartiallyFilled', 'Filled', 'AlertSent'].map((one) => `${one} SIGNAL_ID`),
    );
  });

  test('partly executed, the rest open or rejected', async () => {
    await addSignal('s');
    await record(
      event('OrderAccepted', 's', { orderId: 'o', quantity: '10' }),
      event('PartiallyFilled', 's', { orderId: 'o', quantity: '4', price: '1' }),
    );
    expect(await tracer().trace('s')).toMatchObject({
      status: 'PARTIALLY_EXECUTED',
      reason: '4 of 10 filled; not filled to the end: o (PARTIALLY_FILLED)',
    });
    await record(event('Rejected', 's', { orderId: 'o', message: 'market closed', quantity: '6' }));
    const { status, reason } = await tracer().trace('s');
    expect({ status, reason }).toEqual({
      status: 'PARTIALLY_EXECUTED',
      reason: '4 of 10 filled; not filled to the end: o (PARTIALLY_FILLED); rejected: market closed',
    });
  });

  test('two orders of which the one that was accepted is rejected later', async () => {
    await addSignal('s');
    await record(
      event('OrderAccepted', 's', { orderId: 'o1', quantity: '5' }),
      event('OrderAccepted', 's', { orderId: 'o2', quantity: '5' }),
      event('Filled', 's', { orderId: 'o1', quantity: '5', price: '1' }),
      event('Rejected', 's', { orderId: 'o2', message: 'no margin' }),
    );
    expect(await tracer().trace('s')).toMatchObject({ status: 'PARTIALLY_EXECUTED', orderedQuantity: '10' });
  });

  test('rejected, and executed by a second order', async () => {
    await addSignal('s');
    await record(event('Rejected', 's', { message: 'insufficient margin', quantity: '5' }));
    expect(await tracer().trace('s')).toMatchObject({ status: 'REJECTED', reason: 'rejected: insufficient margin' });
    await record(
      event('OrderAccepted', 's', { orderId: 'o', quantity: '5' }),
      event('Filled', 's', { orderId: 'o', quantity: '5', price: '2' }),
    );
    expect(await tracer().trace('s')).toMatchObject({
      status: 'EXECUTED',
      reason: '5 of 5 filled; rejected: insufficient margin',
    });
  });

  test('pending with an open order, and before the first one is due', async () => {
    await addSignal('s');
    expect(await tracer().trace('s')).toMatchObject({ status: 'PENDING', events: [] });
    await record(event('OrderAccepted', 's', { orderId: 'o', quantity: '5' }));
    expect(await tracer({ later: 48 * hourMs }).trace('s')).toMatchObject({
      status: 'PENDING',
      reason: 'accepted and no fill recorded: o',
    });
  });

  test('not executed: no order in time, or a HOLD', async () => {
    await addSignal('s');
    await addSignal('h', { action: 'HOLD' });
    expect(await tracer({ later: 25 * hourMs }).trace('s')).toMatchObject({
      status: 'NOT_EXECUTED',
      reason: 'no order recorded within 1440 minutes',
    });
    const { status, reason } = await tracer().trace('h');
    expect({ status, reason }).toEqual({ status: 'NOT_EXECUTED', reason: 'HOLD: nothing was to be ordered' });
  });

  test('superseded before an order was recorded, and executed although superseded', async () => {
    await addSignal('s1');
    await addSignal('s2');
    await addSignal('n1', { supersedes: 's1' });
    await addSignal('n2', { supersedes: 's2' });
    await record(
      event('OrderAccepted', 's2', { orderId: 'o', quantity: '1' }),
      event('Filled', 's2', { orderId: 'o', quantity: '1', price: '1' }),
    );
    expect(await tracer().trace('s1')).toMatchObject({ status: 'SUPERSEDED', supersededBy: 'n1' });
    expect(await tracer().trace('s2')).toMatchObject({ status: 'EXECUTED', supersededBy: 'n2' });
  });

  test('what plain SQL put there and is no decimal does not count', async () => {
    await addSignal('s');
    await record(
      event('OrderAccepted', 's', { orderId: 'o', quantity: 'many' }),
      event('Filled', 's', { orderId: 'o', quantity: 'NaN', price: '1e9' }),
    );
    expect(await tracer().trace('s')).toMatchObject({ status: 'EXECUTED', filledQuantity: '0', filledNotional: '0' });
  });

  test('a signal that is not recorded is NOT_FOUND', async () => {
    await expect(tracer().trace('nothing')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('events without the id of a signal', () => {
  test('are joined by order id, by deal id, and on from one to the other', async () => {
    await addSignal('s');
    await record(
      event('OrderAccepted', 's', { orderId: 'o', quantity: '2' }),
      event('PartiallyFilled', null, { orderId: 'o', dealId: 'd', quantity: '1', price: '3' }),
      event('StopUpdated', null, { dealId: 'd', newValue: '2' }),
      event('AlertSent', null, { orderId: 'o', message: 'half' }),
      event('Filled', null, { orderId: 'o2', dealId: 'd', quantity: '1', price: '3' }),
      event('AlertSent', null, { orderId: 'o2', message: 'rest' }),
      event('Filled', null, { orderId: 'other', quantity: '9', price: '3' }),
    );
    const trace = await tracer().trace('s');
    expect(joins(trace)).toEqual([
      'OrderAccepted SIGNAL_ID',
      'PartiallyFilled ORDER_ID',
      'StopUpdated DEAL_ID',
      'AlertSent ORDER_ID',
      'Filled DEAL_ID',
      'AlertSent ORDER_ID',
    ]);
    expect(trace).toMatchObject({ filledQuantity: '2', filledNotional: '6' });
  });

  test('belong to the signal that used the id last before them, also of a deal that two share', async () => {
    await addSignal('a');
    await addSignal('b');
    await record(
      event('OrderAccepted', 'a', { orderId: '1', dealId: 'd', quantity: '1' }),
      event('Filled', null, { orderId: '1', dealId: 'd', quantity: '1', price: '1' }),
      event('OrderAccepted', 'b', { orderId: '1', dealId: 'd', quantity: '1' }),
      event('PartiallyFilled', null, { orderId: '1', quantity: '0.5', price: '1' }),
      event('StopUpdated', null, { dealId: 'd', newValue: '2' }),
      event('OrderAccepted', 'b', { orderId: '2', dealId: 'd', quantity: '1' }),
      event('OrderAccepted', 'a', { orderId: '3', dealId: 'd', quantity: '1' }),
      event('Filled', null, { orderId: '2', dealId: 'd', quantity: '1', price: '1' }),
    );
    expect(joins(await tracer().trace('a'))).toEqual([
      'OrderAccepted SIGNAL_ID',
      'Filled ORDER_ID',
      'OrderAccepted SIGNAL_ID',
    ]);
    expect(joins(await tracer().trace('b'))).toEqual([
      'OrderAccepted SIGNAL_ID',
      'PartiallyFilled ORDER_ID',
      'StopUpdated DEAL_ID',
      'OrderAccepted SIGNAL_ID',
      'Filled ORDER_ID',
    ]);
  });

  test('recorded before the event that names the signal are joined all the same', async () => {
    await addSignal('s');
    await record(
      event('Filled', null, { orderId: 'o', quantity: '1', price: '1' }),
      event('OrderAccepted', 's', { orderId: 'o', quantity: '1' }),
    );
    expect(joins(await tracer().trace('s'))).toEqual(['Filled ORDER_ID', 'OrderAccepted SIGNAL_ID']);
  });

  test('of before the signal or after its window are not its', async () => {
    await record(event('Filled', null, { orderId: 'o', quantity: '1', price: '1' }));
    await addSignal('s');
    await record(event('OrderAccepted', 's', { orderId: 'o', quantity: '1' }));
    await record(event('Filled', null, { orderId: 'o', quantity: '1', price: '1' }));
    expect(joins(await tracer().trace('s'))).toEqual(['OrderAccepted SIGNAL_ID', 'Filled ORDER_ID']);
    expect(joins(await tracer({ windowMs: 0 }).trace('s'))).toEqual(['OrderAccepted SIGNAL_ID']);
  });

  test('are joined no further than a trace holds, and the trace says so', async () => {
    await addSignal('s');
    await record(event('OrderAccepted', 's', { orderId: 'o', quantity: '2000' }));
    for (let batch = 0; batch < 3; batch += 1) {
      await record(
        ...Array.from({ length: 500 }, () =>
          event('PartiallyFilled', null, { orderId: 'o', quantity: '1', price: '1' }),
        ),
      );
    }
    const trace = await tracer().trace('s');
    expect(trace.complete).toBe(false);
    expect(trace.events).toHaveLength(1_000);
  });
});

describe('execution rates', () => {
  test('count each status by day and strategy, and agree with the traces', async () => {
    const today = new Date().toISOString().slice(0, 10);
    for (const [strategy, name] of [
      ['momentum', 'm'],
      ['breakout', 'b'],
      [null, 'n'],
    ] as const) {
      for (const kind of ['filled', 'partial', 'rejected', 'open', 'silent', 'old', 'hold']) {
        await addSignal(`${name}-${kind}`, { strategy, action: kind === 'hold' ? 'HOLD' : 'SELL' });
      }
      await addSignal(`${name}-new`, { strategy, supersedes: `${name}-old` });
      await record(
        ...['filled', 'partial', 'open'].map((kind) =>
          event('OrderAccepted', `${name}-${kind}`, { orderId: `${name}-${kind}`, quantity: '2' }),
        ),
        event('Filled', null, { orderId: `${name}-filled`, quantity: '2', price: '1' }),
        event('PartiallyFilled', null, { orderId: `${name}-partial`, quantity: '1', price: '1' }),
        event('Rejected', `${name}-rejected`, { message: 'no' }),
      );
    }
    const rates = await tracer({ later: 48 * hourMs }).rates(today, today, null);
    const expected = {
      ...{ date: today, signals: 8, holds: 1, executed: 1, partiallyExecuted: 1, rejected: 1, pending: 1 },
      ...{ notExecuted: 2, superseded: 1, executionRate: '0.166666' },
    };
    expect(rates).toEqual(['breakout', 'momentum', null].map((strategy) => ({ ...expected, strategy })));
    expect(await tracer({ later: 48 * hourMs }).rates(today, today, 'momentum')).toEqual([rates[1]]);
    const statuses = await Promise.all(
      ['filled', 'partial', 'rejected', 'open', 'silent', 'old', 'hold', 'new'].map(
        async (kind) => (await tracer({ later: 48 * hourMs }).trace(`m-${kind}`)).status,
      ),
    );
    expect(statuses).toEqual([
      ...['EXECUTED', 'PARTIALLY_EXECUTED', 'REJECTED', 'PENDING', 'NOT_EXECUTED', 'SUPERSEDED'],
      ...['NOT_EXECUTED', 'NOT_EXECUTED'],
    ]);
  });

  test('of days without signals are none, of impossible ranges an error', async () => {
    expect(await tracer().rates('2020-01-01', '2020-12-31', null)).toEqual([]);
    for (const [from, to] of [
      ['2026-01-02', '2026-01-01'],
      ['2020-01-01', '2021-01-02'],
      ['2026-02-30', '2026-03-01'],
    ] as const) {
      await expect(tracer().rates(from, to, null)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    }
  });
});
