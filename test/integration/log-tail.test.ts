import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { pino } from 'pino';
import { DaybookError } from '../../src/errors.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { LogTail } from '../../src/ledger/tail-log.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { sampleEntry } from '../support/sample-entries.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { waitUntil } from '../support/wait-until.js';

const logger = pino({ level: 'silent' });
const never = new AbortController().signal;

describe('LogTail', () => {
  let database: TestDatabase;
  let writer: LedgerWriter;
  let admin: pg.Client;
  let tail: LogTail<'audit'>;
  let broken: DaybookError[];

  beforeAll(async () => {
    database = await createTestDatabase();
    writer = new LedgerWriter({ url: database.urls.application, queueRowsMax: 50_000, log: logger });
    admin = new pg.Client(database.urls.superuser);
    await admin.connect();
  });

  afterAll(async () => {
    await admin.end();
    await writer[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    broken = [];
    tail = openTail();
    await tail.start();
  });

  afterEach(() => tail[Symbol.asyncDispose]());

  function openTail(bounds: { recentRowsMax?: number; recentBytesMax?: number } = {}) {
    return new LogTail({
      url: database.urls.application,
      log: 'audit',
      logger,
      onBroken: (error) => broken.push(error),
      ...bounds,
    });
  }

  async function append(count: number) {
    const entries = Array.from({ length: count }, (_, place) => sampleEntry(`order ${place}`));
    await writer.append({ callEntries: entries });
  }

  async function killConnections() {
    await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND application_name LIKE 'daybook audit %'`,
    );
  }

  test('learns the head at the start and moves it with each append', async () => {
    const before = tail.head;
    await append(3);
    await tail.waitForMore(before + 2n, never, 10_000);
    expect(tail.head).toBe(before + 3n);
    const rows = await tail.read(before, 10);
    expect(rows.map((row) => row.chainIndex)).toEqual([before, before + 1n, before + 2n].map(String));
  });

  test('wakes who waits well before the safety poll would', async () => {
    await tail.refresh();
    const startedMs = performance.now();
    for (let round = 0; round < 20; round += 1) {
      const position = tail.head;
      await append(1);
      await tail.waitForMore(position, never, 10_000);
    }
    expect(performance.now() - startedMs).toBeLessThan(10_000);
  });

  test('a refresh sees everything committed before it, also while nobody waits', async () => {
    const before = tail.head;
    await append(5);
    await tail.refresh();
    expect(tail.head).toBe(before + 5n);
  });

  test('delivers every entry once and in order while its connections are killed again and again', async () => {
    await tail.refresh();
    const start = tail.head;
    const total = 2_000n;
    const seen: string[] = [];
    let appending = true;
    const appends = (async () => {
      for (let round = 0; round < 40; round += 1) await append(50);
      appending = false;
    })();
    const kills = (async () => {
      while (appending) {
        await killConnections();
        const position = tail.head;
        await tail.waitForMore(position, never, 5_000);
      }
    })();
    for (let position = start; position < start + total;) {
      await tail.waitForMore(position, never, 10_000);
      for (const row of await tail.read(position, 100)) {
        seen.push(row.chainIndex);
        position += 1n;
      }
    }
    await Promise.all([appends, kills]);
    expect(seen).toEqual(Array.from({ length: Number(total) }, (_, place) => String(start + BigInt(place))));
    expect(broken).toEqual([]);
  });

  test('reads from the database what its memory does not hold, and equal reads once', async () => {
    await using small = openTail({ recentRowsMax: 10 });
    await small.start();
    const waiting = small.waitForMore(small.head, never, 10_000);
    await append(300);
    await waiting;
    await small.refresh();
    const start = small.head - 300n;
    const [first, second] = await Promise.all([small.read(start, 200), small.read(start, 200)]);
    expect(first).toBe(second);
    expect(first.map((row) => row.chainIndex)).toEqual(
      Array.from({ length: 200 }, (_, place) => String(start + BigInt(place))),
    );
  });

  test('keeps no more bytes of recent rows than it may', async () => {
    await using small = openTail({ recentBytesMax: 20_000 });
    await small.start();
    const waiting = small.waitForMore(small.head, never, 10_000);
    await append(100);
    await waiting;
    await small.refresh();
    const [row] = await small.read(small.head - 100n, 1);
    expect(row?.chainIndex).toBe(String(small.head - 100n));
  });

  test('leaves rows in the database while nobody waits for them', async () => {
    await tail.refresh();
    const head = tail.head;
    await append(5);
    await waitUntil('the head', () => tail.head === head + 5n);
    // Only reads of the database are shared; rows in memory would be two arrays.
    const [first, second] = await Promise.all([tail.read(head, 5), tail.read(head, 5)]);
    expect(first).toHaveLength(5);
    expect(first).toBe(second);
  });

  test('an aborted wait and a closed tail let their waiters go', async () => {
    const abort = new AbortController();
    const waiting = [
      tail.waitForMore(tail.head + 1_000n, abort.signal, 60_000),
      tail.waitForMore(tail.head + 1_000n, never, 60_000),
    ];
    abort.abort();
    await waiting[0];
    await tail[Symbol.asyncDispose]();
    await waiting[1];
    await expect(tail.refresh()).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
  });

  test('a start without a database says that it is unavailable', async () => {
    const url = new URL(database.urls.application);
    url.port = '1';
    const lost = new LogTail({ url: url.href, log: 'audit', logger, onBroken: () => undefined });
    await expect(lost.start()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await lost[Symbol.asyncDispose]();
  });

  test('nothing of this touched the ledger', () => expectLedgerIntact(database.urls.auditor));

  describe('when somebody tampers with the end of the log', () => {
    async function tamper(statement: string) {
      await admin.query('BEGIN');
      await admin.query('SET LOCAL event_triggers = off');
      await admin.query('ALTER TABLE public.audit_entries DISABLE TRIGGER ALL');
      await admin.query(statement);
      await admin.query(`DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'public.audit_entries'::regclass AND NOT tgisinternal
        LOOP EXECUTE format('ALTER TABLE public.audit_entries ENABLE ALWAYS TRIGGER %I', name); END LOOP; END $$`);
      await admin.query('COMMIT');
    }

    test.each([false, true])('tells of a gap once, and goes on when it is mended (feed waiting: %s)', async (waits) => {
      const stop = new AbortController();
      if (waits) void tail.waitForMore(tail.head + 1_000n, stop.signal, 60_000);
      await tail.refresh();
      const head = tail.head;
      await append(2);
      await tail.refresh();
      await append(1);
      await tamper(`UPDATE public.audit_entries SET chain_index = chain_index + 5 WHERE chain_index = ${head + 2n}`);
      await waitUntil('the alarm', () => broken.length > 0);
      await expect(tail.refresh()).rejects.toMatchObject({ code: 'LEDGER_BROKEN' });
      expect(broken.map((error) => error.code)).toEqual(['LEDGER_BROKEN']);
      await tamper(`UPDATE public.audit_entries SET chain_index = chain_index - 5 WHERE chain_index = ${head + 7n}`);
      await tail.refresh();
      expect(tail.head).toBe(head + 3n);
      expect(tail.broken).toBeNull();
      stop.abort();
    });

    test('raises the alarm when the log became shorter', async () => {
      await append(1);
      await tail.refresh();
      const position = tail.head - 1n;
      await tamper(
        `CREATE TABLE public.kept AS SELECT * FROM public.audit_entries WHERE chain_index = ${position};
         DELETE FROM public.audit_entries WHERE chain_index = ${position}`,
      );
      await expect(tail.refresh()).rejects.toMatchObject({ code: 'LEDGER_BROKEN' });
      await tamper('INSERT INTO public.audit_entries SELECT * FROM public.kept; DROP TABLE public.kept');
      await tail.refresh();
      expect(tail.broken).toBeNull();
    });
  });
});
