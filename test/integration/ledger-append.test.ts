import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { DaybookError, type ErrorCode } from '../../src/errors.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import type { AppendResult } from '../../src/ledger/commit-batch.js';
import { isConnectionLost, mapDatabaseError } from '../../src/ledger/database-errors.js';
import type { NewSignal } from '../../src/ledger/new-entries.js';
import { startBreakingProxy } from '../support/breaking-proxy.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { sampleEntry, sampleSignal } from '../support/sample-entries.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { waitUntil } from '../support/wait-until.js';

const log = pino({ level: 'silent' });
let database: TestDatabase;
let writer: LedgerWriter;
let reader: SqlSession;

beforeEach(async () => {
  database = await createTestDatabase();
  writer = new LedgerWriter({ url: database.urls.application, queueRowsMax: 1_000, log });
  reader = await openSession(database.urls.superuser);
});

afterEach(async () => {
  await writer[Symbol.asyncDispose]();
  await expectLedgerIntact(database.urls.auditor);
  await reader[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** Result or error code of each promise. */
async function outcomes(appends: readonly Promise<AppendResult>[]): Promise<(AppendResult | ErrorCode)[]> {
  const settled = await Promise.allSettled(appends);
  return settled.map((outcome) => {
    if (outcome.status === 'fulfilled') return outcome.value;
    if (outcome.reason instanceof DaybookError) return outcome.reason.code;
    throw outcome.reason;
  });
}

async function countSignals(): Promise<unknown> {
  return reader.value('SELECT count(*)::int FROM public.signals');
}

const keyed = (signalId: string, key: string, inputHash: string, changes: Partial<NewSignal> = {}) =>
  sampleSignal(signalId, { idempotencyKey: key, inputHash, ...changes });

describe('group commit', () => {
  test('records requests of the same moment in one transaction and answers each with its own rows', async () => {
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, place) =>
        writer.append({
          signals: [sampleSignal(`signal-${place}`)],
          entries: [sampleEntry(`entry-${place}`)],
          callEntries: [sampleEntry(`call-${place}`)],
        }),
      ),
    );
    results.forEach((result, place) => {
      expect(result.signals.map((row) => row.signalId)).toEqual([`signal-${place}`]);
      expect(result.entries.map((row) => row.resource)).toEqual([`entry-${place}`]);
      expect(result).toMatchObject({ replayedSignals: 0, replayedEntries: 0 });
    });
    expect(await reader.value('SELECT count(DISTINCT xid)::int FROM public.audit_entries')).toBe(1);
    expect(await reader.value('SELECT count(*)::int FROM public.audit_entries')).toBe(150);
  });

  test('shares transactions among callers that come one after the other while one runs', async () => {
    await Promise.all(
      Array.from({ length: 16 }, async (_, caller) => {
        for (let turn = 0; turn < 20; turn += 1) await writer.append({ entries: [sampleEntry(`${caller}-${turn}`)] });
      }),
    );
    expect(await reader.value('SELECT count(*)::int FROM public.audit_entries')).toBe(320);
    expect(await reader.value('SELECT count(DISTINCT xid)::int FROM public.audit_entries')).toBeLessThan(160);
  });

  test('returns rows as they are stored, in the order of the request', async () => {
    const { signals } = await writer.append({
      signals: [
        sampleSignal('b', { entryPrice: '0.000000000000000001', confidence: '1', ipAddress: '::1' }),
        sampleSignal('a', { targetPrice: '999999999999999999.999999999999999999' }),
      ],
    });
    expect(signals.map(({ chainIndex, signalId }) => [chainIndex, signalId])).toEqual([
      ['0', 'b'],
      ['1', 'a'],
    ]);
    expect(signals[0]).toMatchObject({ entryPrice: '0.000000000000000001', confidence: '1', generationLatencyMs: '0' });
    expect(signals[1]).toMatchObject({ targetPrice: '999999999999999999.999999999999999999' });
    expect(signals[1]?.previousHash).toBe(signals[0]?.chainHash);
  });

  test('gives requests that hand in the same object each a row of its own', async () => {
    const entry = sampleEntry('shared');
    const results = await Promise.all([
      writer.append({ entries: [entry] }),
      writer.append({ entries: [entry] }),
      writer.append({ entries: [entry, entry] }),
    ]);
    expect(results.flatMap(({ entries }) => entries.map((row) => row.chainIndex))).toEqual(['0', '1', '2', '3']);
  });
});

describe('a request whose row the database refuses', () => {
  test('fails alone, with all its rows; its neighbours in the transaction are recorded', async () => {
    const appends = Array.from({ length: 20 }, (_, place) =>
      writer.append({
        signals: [sampleSignal(`good-${place}`), sampleSignal(`other-${place}`, place === 7 ? { symbol: 'a b' } : {})],
        entries: [sampleEntry(`entry-${place}`)],
      }),
    );
    const results = await outcomes(appends);
    expect(results.filter((result) => typeof result === 'string')).toEqual(['BAD_USER_INPUT']);
    expect(results[7]).toBe('BAD_USER_INPUT');
    expect(await countSignals()).toBe(38);
    expect(await reader.value(`SELECT count(*)::int FROM public.audit_entries WHERE resource = 'entry-7'`)).toBe(0);
  });

  test.each<[string, Partial<NewSignal>, ErrorCode]>([
    ['an id that is taken', { signalId: 'first' }, 'SIGNAL_ID_TAKEN'],
    ['a predecessor that is superseded already', { supersedes: 'first' }, 'ALREADY_SUPERSEDED'],
    ['a predecessor that is not recorded', { supersedes: 'nobody' }, 'NOT_FOUND'],
    ['a price below zero', { entryPrice: '-1' }, 'BAD_USER_INPUT'],
    ['a price that is no number', { entryPrice: 'NaN' }, 'BAD_USER_INPUT'],
    ['a price that is no decimal', { entryPrice: 'ten' }, 'BAD_USER_INPUT'],
    ['a time ahead', { generatedAt: '2999-01-01T00:00:00.000000Z' }, 'BAD_USER_INPUT'],
    ['a rationale that is too long', { rationale: 'long '.repeat(14_000) }, 'ENTRY_TOO_LARGE'],
  ])('is told why: %s', async (_, changes, code) => {
    await writer.append({ signals: [sampleSignal('first')] });
    await writer.append({ signals: [sampleSignal('second', { supersedes: 'first' })] });
    expect(await outcomes([writer.append({ signals: [sampleSignal('third', changes)] })])).toEqual([code]);
    expect(await countSignals()).toBe(2);
  });

  test('is the one whose body has 65,536 bytes, not the one of 65,535', async () => {
    const [probe] = (await writer.append({ entries: [sampleEntry('x', { details: '{"text":""}' })] })).entries;
    const room = 65_535 - Buffer.byteLength(probe?.body ?? '');
    const entry = (bytes: number) =>
      sampleEntry('x', {
        details: JSON.stringify({ text: 'é'.repeat(bytes / 2).padEnd(bytes - Math.floor(bytes / 2), 'x') }),
      });
    const fitting = entry(room);
    const results = await outcomes([
      writer.append({ entries: [fitting] }),
      writer.append({ entries: [{ ...fitting, details: fitting.details.replace('"}', 'x"}') }] }),
    ]);
    expect(Buffer.byteLength((results[0] as AppendResult).entries[0]?.body ?? '')).toBe(65_535);
    expect(results[1]).toBe('ENTRY_TOO_LARGE');
  });
});

describe('an idempotency key', () => {
  test('used again with the same input returns what was recorded first', async () => {
    const first = await writer.append({ signals: [keyed('one', 'key', 'aa')] });
    const again = await writer.append({ signals: [keyed('two', 'key', 'aa')] });
    expect(again).toMatchObject({ replayedSignals: 1, signals: [{ signalId: 'one', chainIndex: '0' }] });
    expect(again.signals).toEqual(first.signals.map((row) => expect.objectContaining({ body: row.body }) as unknown));
    expect(await countSignals()).toBe(1);
  });

  test('used again with different input is a conflict', async () => {
    await writer.append({ signals: [keyed('one', 'key', 'aa')] });
    expect(await outcomes([writer.append({ signals: [keyed('two', 'key', 'bb')] })])).toEqual(['IDEMPOTENCY_CONFLICT']);
  });

  test('used twice at the same moment records one row, and refuses what contradicts it', async () => {
    const results = await outcomes([
      writer.append({ signals: [keyed('one', 'key', 'aa')] }),
      writer.append({ signals: [keyed('two', 'key', 'aa')] }),
      writer.append({ signals: [keyed('three', 'key', 'bb')] }),
      writer.append({ signals: [sampleSignal('four')] }),
    ]);
    expect(results).toMatchObject([
      { replayedSignals: 0, signals: [{ signalId: 'one' }] },
      { replayedSignals: 1, signals: [{ signalId: 'one' }] },
      'IDEMPOTENCY_CONFLICT',
      { replayedSignals: 0, signals: [{ signalId: 'four' }] },
    ]);
    expect(await countSignals()).toBe(2);
  });

  test('used twice within one request records one row', async () => {
    const result = await writer.append({ signals: [keyed('one', 'key', 'aa'), keyed('two', 'key', 'aa')] });
    expect(result).toMatchObject({ replayedSignals: 1, signals: [{ signalId: 'one' }, { signalId: 'one' }] });
    expect(
      await outcomes([writer.append({ signals: [keyed('x', 'other', 'aa'), keyed('y', 'other', 'bb')] })]),
    ).toEqual(['IDEMPOTENCY_CONFLICT']);
    expect(await countSignals()).toBe(1);
  });

  test('belongs to its producer, and to its log', async () => {
    const results = await Promise.all([
      writer.append({ signals: [keyed('one', 'key', 'aa')] }),
      writer.append({ signals: [keyed('two', 'key', 'bb', { producer: 'another desk' })] }),
      writer.append({ entries: [sampleEntry('three', { idempotencyKey: 'key', inputHash: 'cc' })] }),
    ]);
    expect(results.map((result) => result.replayedSignals + result.replayedEntries)).toEqual([0, 0, 0]);
  });

  test('of an entry works as that of a signal', async () => {
    const entry = (inputHash: string) => sampleEntry('order', { idempotencyKey: 'key', inputHash });
    const results = await outcomes([
      writer.append({ entries: [entry('aa')] }),
      writer.append({ entries: [entry('aa')] }),
      writer.append({ entries: [entry('bb')] }),
    ]);
    expect(results).toMatchObject([{ replayedEntries: 0 }, { replayedEntries: 1 }, 'IDEMPOTENCY_CONFLICT']);
  });

  test('of a request that fails for another row is free again', async () => {
    const failing = writer.append({ signals: [keyed('one', 'key', 'aa'), sampleSignal('bad', { symbol: '' })] });
    expect(await outcomes([failing, writer.append({ signals: [keyed('two', 'key', 'aa')] })])).toMatchObject([
      'BAD_USER_INPUT',
      { replayedSignals: 0, signals: [{ signalId: 'two' }] },
    ]);
  });

  test('used on two nodes at once records one row', async () => {
    await using other = new LedgerWriter({ url: database.urls.application, queueRowsMax: 1_000, log });
    for (let round = 0; round < 20; round += 1) {
      const results = await Promise.all(
        [writer, other].map((node, place) =>
          node.append({ signals: [keyed(`${round}-${place}`, `key ${round}`, 'aa')] }),
        ),
      );
      expect(results[0]?.signals[0]?.signalId).toBe(results[1]?.signals[0]?.signalId);
    }
    expect(await countSignals()).toBe(20);
  });
});

describe('the queue', () => {
  test('refuses what does not fit and takes it later', async () => {
    const entries = (count: number) => Array.from({ length: count }, (_, place) => sampleEntry(`entry-${place}`));
    const results = await outcomes([
      writer.append({ entries: entries(600) }),
      writer.append({ callEntries: entries(401) }),
      writer.append({ entries: entries(400) }),
      writer.append({ entries: entries(1) }),
    ]);
    expect(results.map((result) => (typeof result === 'string' ? result : result.entries.length))).toEqual([
      600,
      'QUEUE_FULL',
      400,
      'QUEUE_FULL',
    ]);
    expect(writer.queuedRows).toBe(0);
    await writer.append({ entries: entries(1_000) });
  });

  test('refuses what would hold more than 64 MiB of texts', async () => {
    const large = sampleEntry('large', { oldData: JSON.stringify({ text: 'x'.repeat(60_000) }) });
    await using wide = new LedgerWriter({ url: database.urls.application, queueRowsMax: 100_000, log });
    const results = await outcomes([
      wide.append({ callEntries: Array<typeof large>(1_000).fill(large) }),
      wide.append({ callEntries: Array<typeof large>(1_000).fill(large) }),
    ]);
    expect(results[1]).toBe('QUEUE_FULL');
  });

  test('is emptied before the writer is disposed of, and takes nothing after', async () => {
    const accepted = Array.from({ length: 30 }, (_, place) =>
      writer.append({ entries: [sampleEntry(`entry-${place}`)] }),
    );
    const disposed = writer[Symbol.asyncDispose]();
    expect(await outcomes([writer.append({ entries: [sampleEntry('late')] })])).toEqual(['SHUTTING_DOWN']);
    await disposed;
    expect(await Promise.all(accepted)).toHaveLength(30);
    expect(await reader.value('SELECT count(*)::int FROM public.audit_entries')).toBe(30);
  });
});

describe('a broken connection', () => {
  test('ends appends under way in success or a retryable error, and a retry by key doubles nothing', async () => {
    const retried = new Set<ErrorCode>();
    const appendUntilRecorded = async (name: string) => {
      for (let attempt = 0; attempt < 100; attempt += 1) {
        try {
          return await writer.append({ signals: [keyed(name, name, 'aa')] });
        } catch (error) {
          if (!(error instanceof DaybookError) || !error.retryable) throw error;
          retried.add(error.code);
        }
      }
      throw new Error(`${name} was not recorded`);
    };
    let recording = true;
    const killing = (async () => {
      for (let kill = 0; kill < 15; kill += 1) {
        const before = await countSignals();
        await waitUntil('another row is recorded', async () => !recording || (await countSignals()) !== before);
        await reader.run(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = 'daybook writer' AND datname = current_database()`);
      }
    })();
    const names = Array.from({ length: 8 }, (_, caller) =>
      Array.from({ length: 10 }, (__, turn) => `${caller}-${turn}`),
    );
    try {
      await Promise.all(
        names.map(async (turns) => {
          for (const name of turns) await appendUntilRecorded(name);
        }),
      );
    } finally {
      recording = false;
      await killing;
    }
    expect([...retried]).toContain('DATABASE_UNAVAILABLE');
    expect(await reader.value('SELECT array_agg(signal_id ORDER BY signal_id) FROM public.signals')).toEqual(
      names.flat().sort(),
    );
  });

  test('after a COMMIT that the server carried out is a success', async () => {
    await using proxy = await startBreakingProxy(database.urls.application);
    await using distant = new LedgerWriter({ url: proxy.url, queueRowsMax: 100, log });
    await distant.append({ signals: [sampleSignal('before')] });
    proxy.breakNextCommit('unanswered');
    const results = await Promise.all([
      distant.append({ signals: [sampleSignal('one')] }),
      distant.append({ signals: [sampleSignal('two')] }),
    ]);
    expect(results).toMatchObject([{ signals: [{ signalId: 'one' }] }, { signals: [{ signalId: 'two' }] }]);
    expect(await countSignals()).toBe(3);
  });

  test('after a COMMIT that never arrived is a failure that recorded nothing', async () => {
    await using proxy = await startBreakingProxy(database.urls.application);
    await using distant = new LedgerWriter({ url: proxy.url, queueRowsMax: 100, log });
    proxy.breakNextCommit('lost');
    expect(await outcomes([distant.append({ signals: [sampleSignal('one')] })])).toEqual(['DATABASE_UNAVAILABLE']);
    expect(await countSignals()).toBe(0);
    await distant.append({ signals: [sampleSignal('one')] });
  });

  test('whose outcome cannot be learned is reported as unknown, and the retry by key finds the row', async () => {
    await using proxy = await startBreakingProxy(database.urls.application);
    await using distant = new LedgerWriter({ url: proxy.url, queueRowsMax: 100, log });
    proxy.breakNextCommit('unanswered', 'unreachable');
    expect(await outcomes([distant.append({ signals: [keyed('one', 'key', 'aa')] })])).toEqual(['OUTCOME_UNKNOWN']);
    expect(await writer.append({ signals: [keyed('again', 'key', 'aa')] })).toMatchObject({ replayedSignals: 1 });
  });

  test.each(['EPIPE', 'ECONNRESET'])('is recognised by %s, which looks like a code of the server or not', (code) => {
    const error = Object.assign(new Error(`write ${code}`), { code });
    expect(isConnectionLost(error)).toBe(true);
    expect(mapDatabaseError(error).code).toBe('DATABASE_UNAVAILABLE');
  });
});

test('entries without details in canonical form still reach the log from plain SQL beside the service', async () => {
  await using session = await openSession(database.urls.application);
  await writer.append({ entries: [sampleEntry('before')] });
  await session.run(
    `INSERT INTO public.audit_entries (category, event, details) VALUES ('ORDER', 'OrderRaw', '{ "b": 1, "a": 2 }')`,
  );
  await writer.append({ entries: [sampleEntry('after')] });
  expect(await session.value(`SELECT details::text FROM public.audit_entries WHERE event = 'OrderRaw'`)).toBe(
    '{"a":2,"b":1}',
  );
});
