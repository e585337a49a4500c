import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { pino } from 'pino';
import { DaybookError } from '../../src/errors.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { openFeed, type FeedOptions, type Frame } from '../../src/ledger/feed.js';
import type { AuditRow } from '../../src/ledger/rows.js';
import { LogTail } from '../../src/ledger/tail-log.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { sampleEntry, sampleSignal } from '../support/sample-entries.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const logger = pino({ level: 'silent' });

type AuditFrame = Frame<AuditRow>;

describe('a feed', () => {
  let database: TestDatabase;
  let writer: LedgerWriter;
  let admin: pg.Client;
  let tail: LogTail<'audit'>;

  beforeAll(async () => {
    database = await createTestDatabase();
    writer = new LedgerWriter({ url: database.urls.application, queueRowsMax: 50_000, log: logger });
    admin = new pg.Client(database.urls.superuser);
    await admin.connect();
  });

  afterAll(async () => {
    await expectLedgerIntact(database.urls.auditor);
    await admin.end();
    await writer[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    tail = new LogTail({
      url: database.urls.application,
      log: 'audit',
      logger,
      recentRowsMax: 100,
      onBroken: (error) => {
        throw error;
      },
    });
    await tail.start();
  });

  afterEach(() => tail[Symbol.asyncDispose]());

  function open(options: Partial<FeedOptions<'audit'>> = {}) {
    return openFeed({ tail, batch: 100, ...options });
  }

  async function append(count: number, changes: Parameters<typeof sampleEntry>[1] = {}) {
    await writer.append({
      callEntries: Array.from({ length: count }, (_, place) => sampleEntry(`order ${place}`, changes)),
    });
  }

  async function pull(feed: AsyncGenerator<AuditFrame, void>): Promise<AuditFrame> {
    const result = await feed.next();
    if (result.done) throw new Error('the feed ended');
    return result.value;
  }

  /** Pulls until the cursor reaches `until`, checking that each frame starts where the last one ended. */
  async function pullUntil(feed: AsyncGenerator<AuditFrame, void>, from: bigint, until: bigint) {
    const indexes: bigint[] = [];
    const frames: AuditFrame[] = [];
    for (let cursor = from; cursor < until;) {
      const frame = await pull(feed);
      expect(frame.from).toBe(cursor);
      expect(frame.cursor).toBeGreaterThanOrEqual(frame.from);
      expect(frame.head).toBeGreaterThanOrEqual(frame.cursor);
      indexes.push(...frame.rows.map((row) => BigInt(row.chainIndex)));
      frames.push(frame);
      cursor = frame.cursor;
    }
    return { indexes, frames };
  }

  function range(from: bigint, until: bigint): bigint[] {
    return Array.from({ length: Number(until - from) }, (_, place) => from + BigInt(place));
  }

  test('without a cursor starts at the head with an empty frame at once', async () => {
    await append(1);
    const feed = await open();
    const first = await pull(feed);
    expect(first).toEqual({ rows: [], from: first.head, cursor: first.head, head: first.head });
    await append(2);
    const second = await pull(feed);
    expect(second.from).toBe(first.cursor);
    expect(second.rows.map((row) => BigInt(row.chainIndex))).toEqual(range(first.cursor, second.cursor));
    await feed.return();
  });

  test('from cursor 0 delivers the whole log in frames no longer than the batch', async () => {
    await append(1_200);
    await tail.refresh();
    const feed = await open({ after: 0n, batch: 70 });
    const { indexes, frames } = await pullUntil(feed, 0n, tail.head);
    expect(indexes).toEqual(range(0n, tail.head));
    expect(Math.max(...frames.map((frame) => frame.rows.length))).toBe(70);
    await feed.return();
  });

  test('a filter drops rows and the cursor still covers every position', async () => {
    await tail.refresh();
    const start = tail.head;
    for (let round = 0; round < 10; round += 1) {
      await append(30);
      await append(1, { event: 'ModificationRefused' });
    }
    await tail.refresh();
    const feed = await open({ after: start, batch: 4, matches: (row) => row.event === 'ModificationRefused' });
    const { indexes } = await pullUntil(feed, start, start + 310n);
    expect(indexes).toEqual(Array.from({ length: 10 }, (_, round) => start + BigInt(round * 31 + 30)));
    await feed.return();
  });

  test('a filter that drops everything moves the cursor by an empty frame within its interval', async () => {
    await tail.refresh();
    const start = tail.head;
    const feed = await open({ after: start, matches: () => false });
    expect((await pull(feed)).cursor).toBe(start);
    await append(3);
    const startedMs = performance.now();
    const frame = await pull(feed);
    expect(performance.now() - startedMs).toBeLessThan(5_500);
    expect(frame).toMatchObject({ rows: [], from: start, cursor: start + 3n });
    await feed.return();
  });

  test('a cursor beyond the head and one before the retained range are errors, never silence', async () => {
    await tail.refresh();
    await expect(open({ after: tail.head + 1n })).rejects.toMatchObject({ code: 'CURSOR_AHEAD' });
    await expect(open({ after: -1n })).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    await expect(open({ batch: 0 })).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    await expect(open({ batch: 1_001 })).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    Object.defineProperty(tail, 'firstRetained', { value: 1n });
    await expect(open({ after: 0n })).rejects.toMatchObject({ code: 'CURSOR_EXPIRED' });
  });

  test('a cursor that another node handed out a moment ago is not ahead', async () => {
    await append(1);
    const result = await admin.query<{ size: string }>('SELECT max(chain_index) + 1 AS size FROM audit_entries');
    const feed = await open({ after: BigInt(result.rows[0]?.size ?? 0) });
    await feed.return();
  });

  test('return() ends a pending next() at once, and a feed that never started', async () => {
    const feed = await open();
    await pull(feed);
    const pending = feed.next();
    const startedMs = performance.now();
    await feed.return();
    expect(await pending).toEqual({ done: true, value: undefined });
    const unused = await open();
    await unused.return();
    expect(await unused.next()).toEqual({ done: true, value: undefined });
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  });

  test('ends with the reason of its signal', async () => {
    const abort = new AbortController();
    const quiet = new AbortController();
    const feed = await open({ signal: abort.signal });
    const quietFeed = await open({ signal: quiet.signal });
    await pull(feed);
    await pull(quietFeed);
    const pending = feed.next();
    const quietPending = quietFeed.next();
    abort.abort(new DaybookError('UNAUTHENTICATED', 'the key expired'));
    quiet.abort();
    await expect(pending).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(await quietPending).toEqual({ done: true, value: undefined });
  });

  test('ends with SHUTTING_DOWN when the tail closes', async () => {
    const feed = await open();
    await pull(feed);
    const pending = expect(feed.next()).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
    await tail[Symbol.asyncDispose]();
    await pending;
  });

  test('feeds with the same filter at the same position share one frame', async () => {
    const options = { matches: () => true, filterKey: 'all of them' };
    const feeds = await Promise.all(Array.from({ length: 50 }, () => open(options)));
    await Promise.all(feeds.map(pull));
    const pending = feeds.map(pull);
    await append(5);
    const frames = new Set(await Promise.all(pending));
    expect(frames.size).toBe(1);
    await Promise.all(feeds.map((feed) => feed.return()));
  });

  test('one of several sharing feeds may leave without disturbing the others', async () => {
    const [leaving, staying] = [await open(), await open()];
    await Promise.all([pull(leaving), pull(staying)]);
    const left = leaving.next();
    const stayed = pull(staying);
    await leaving.return();
    expect(await left).toEqual({ done: true, value: undefined });
    await append(1);
    expect((await stayed).rows).toHaveLength(1);
    await staying.return();
  });

  test('follows signals as it follows audit entries', async () => {
    const signals = new LogTail({ url: database.urls.application, log: 'signals', logger, onBroken: () => undefined });
    await signals.start();
    const feed = await openFeed({ tail: signals, batch: 10, after: 0n });
    const pending = (async () => {
      for await (const frame of feed) if (frame.rows.length > 0) return frame.rows.map((row) => row.signalId);
      return [];
    })();
    await writer.append({ signals: [sampleSignal('signal-1'), sampleSignal('signal-2')] });
    expect(await pending).toEqual(['signal-1', 'signal-2']);
    await signals[Symbol.asyncDispose]();
  });

  test('loses and repeats nothing for readers that stop and resume amid concurrent appends and killed connections', async () => {
    await tail.refresh();
    const start = tail.head;
    const total = 3_000n;
    let appending = true;
    const second = new LedgerWriter({ url: database.urls.application, queueRowsMax: 50_000, log: logger });
    const appends = Promise.all(
      [writer, second].map(async (one) => {
        for (let round = 0; round < 60; round += 1) {
          await one.append({ callEntries: Array.from({ length: 25 }, (_, place) => sampleEntry(`order ${place}`)) });
        }
      }),
    ).then(() => (appending = false));
    const kills = (async () => {
      while (appending) {
        await admin.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = current_database() AND application_name LIKE 'daybook audit %'`,
        );
        await tail.waitForMore(tail.head, AbortSignal.timeout(10_000), 200);
      }
    })();
    const readers = [1, 7, 100].map(async (batch) => {
      const indexes: bigint[] = [];
      let cursor = start;
      while (cursor < start + total) {
        // A killed connection may refuse the opening: a client retries then, with its cursor.
        const feed = await open({ after: cursor, batch }).catch((error: DaybookError) => {
          expect(error.code).toBe('DATABASE_UNAVAILABLE');
          return null;
        });
        for (let frames = 0; feed !== null && frames < 40 && cursor < start + total; frames += 1) {
          const frame = await pull(feed);
          expect(frame.from).toBe(cursor);
          indexes.push(...frame.rows.map((row) => BigInt(row.chainIndex)));
          cursor = frame.cursor;
        }
        await feed?.return();
      }
      expect(indexes).toEqual(range(start, start + total));
    });
    await Promise.all([appends, kills, ...readers]);
    await second[Symbol.asyncDispose]();
  });
});
