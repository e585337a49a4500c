import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import { pino } from 'pino';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import { DaybookError } from '../../src/errors.js';
import { closeIncident } from '../../src/integrity/incidents.js';
import { serviceOrigin } from '../../src/integrity/integrity-entry.js';
import {
  IntegrityService,
  type CheckRequest,
  type IntegrityServiceOptions,
} from '../../src/integrity/integrity-service.js';
import type { VerifyEntries } from '../../src/integrity/look-for-breaks.js';
import { readChecks } from '../../src/integrity/read-checks.js';
import { readIncidents } from '../../src/integrity/read-incidents.js';
import type { LedgerWriter } from '../../src/ledger/append-entries.js';
import { verifyLogs } from '../../src/ledger/verify-log.js';
import { asIntruder, openWriter, setBaseline } from '../support/integrity-baseline.js';
import { insertEntriesSql, insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

let database: TestDatabase;
let pool: pg.Pool;
let writer: LedgerWriter;
let application: SqlSession;
let observed: unknown[];
let selections: object[];

const nowMs = Date.parse('2026-11-20T12:00:00Z');

beforeEach(async () => {
  database = await createTestDatabase();
  pool = openPool({ ...ledgerConnection(database.urls.application, 'test'), max: 2 }, () => undefined);
  writer = openWriter(database);
  application = await openSession(database.urls.application);
  await application.run(insertSignalsSql(30));
  observed = [];
  selections = [];
});

afterEach(async () => {
  await application[Symbol.asyncDispose]();
  await writer[Symbol.asyncDispose]();
  await pool.end();
  await database[Symbol.asyncDispose]();
});

/** Verifies a whole log and keeps what concerns the selection. */
const verifyEntries: VerifyEntries = async ({ source, log, signal: _signal, ...selection }) => {
  selections.push({ log, ...selection });
  const [found] = await verifyLogs({ source, logs: [log] });
  const isSelected = (index: number | null) =>
    index !== null &&
    ('indexes' in selection ? selection.indexes.includes(index) : index >= selection.from && index < selection.to);
  const breaks = found!.breaks.filter(({ index }) => isSelected(index));
  const entries = 'indexes' in selection ? selection.indexes.length : selection.to - selection.from;
  return { entries, breaks, breakCount: breaks.length };
};

function serviceWith(changes: Partial<IntegrityServiceOptions> = {}): IntegrityService {
  return new IntegrityService({
    database: pool,
    readerUrl: database.urls.auditor,
    verifyEntries,
    clock: { nowMs: () => nowMs },
    log: pino({ level: 'silent' }),
    metrics: {
      failed: (count) => observed.push(['failed', count]),
      duration: (kind, seconds) => observed.push(['duration', kind, seconds > 0]),
      finished: (kind, result) => observed.push(['finished', kind, result]),
    },
    ...changes,
  });
}

function request(kind: CheckRequest['kind'], changes: Partial<CheckRequest> = {}): CheckRequest {
  return {
    kind,
    origin: { ...serviceOrigin('test', 'test'), actor: 'alice' },
    append: (rows) => writer.append(rows),
    ...changes,
  };
}

/** As though everything had been recorded hours ago. Rewrites the rows: only for what does not verify them. */
async function ageEntries(superuser: SqlSession): Promise<void> {
  await superuser.run(`ALTER TABLE public.signals DISABLE TRIGGER USER; ALTER TABLE public.audit_entries DISABLE TRIGGER USER;
    UPDATE public.signals SET server_timestamp = server_timestamp - interval '3 hours';
    UPDATE public.audit_entries SET recorded_at = recorded_at - interval '3 hours';
    ALTER TABLE public.signals ENABLE TRIGGER USER; ALTER TABLE public.audit_entries ENABLE TRIGGER USER`);
}

async function entriesOf(event: string): Promise<Record<string, unknown>[]> {
  const found = await pool.query<Record<string, unknown>>(
    `SELECT actor, resource, outcome, details FROM public.audit_entries WHERE event = $1 ORDER BY chain_index`,
    [event],
  );
  return found.rows.map((row) => ({ ...row, details: JSON.parse(row['details'] as string) as unknown }));
}

describe('a check that finds nothing', () => {
  test('of every entry is recorded with its entry', async () => {
    await setBaseline(database);
    const progress: number[] = [];
    const check = await serviceWith().run(request('FULL', { onProgress: ({ checked }) => progress.push(checked) }));
    expect(check).toMatchObject({
      kind: 'FULL',
      requestedBy: 'alice',
      startedAt: '2026-11-20T12:00:00.000000Z',
      endedAt: '2026-11-20T12:00:00.000000Z',
      entriesChecked: '61',
      result: 'OK',
      failedVerifications: '0',
      breaks: [],
      error: null,
      ranges: [
        { area: 'audit', first: '0', last: '30', checked: '31' },
        { area: 'signals', first: '0', last: '29', checked: '30' },
      ],
    });
    expect(progress).toContain(30);
    expect(await entriesOf('IntegrityChecked')).toMatchObject([
      {
        actor: 'alice',
        resource: `integrity-check/${check.id}`,
        outcome: 'OK',
        details: {
          check: check.id,
          kind: 'FULL',
          result: 'OK',
          entries: '61',
          failedVerifications: '0',
          firstBreaks: [],
        },
      },
    ]);
    expect(observed).toEqual([
      ['duration', 'FULL', true],
      ['finished', 'FULL', 'OK'],
    ]);
    expect((await readIncidents(pool, null, {})).rows).toEqual([]);
    expect((await readChecks(pool, {})).rows).toEqual([check]);
  });

  test('of an empty ledger has no ranges', async () => {
    await using empty = await createTestDatabase();
    await using stack = new AsyncDisposableStack();
    const emptyPool = openPool(ledgerConnection(empty.urls.application, 'test'), () => undefined);
    stack.defer(() => emptyPool.end());
    await using emptyWriter = openWriter(empty);
    const service = serviceWith({ database: emptyPool, readerUrl: empty.urls.auditor });
    for (const kind of ['SAMPLE', 'RECENT', 'FULL'] as const) {
      const check = await service.run(request(kind, { append: (rows) => emptyWriter.append(rows) }));
      // The first check leaves entries behind.
      if (kind === 'SAMPLE') expect(check).toMatchObject({ ranges: [], entriesChecked: '0' });
      expect(check.breaks).toMatchObject([{ area: 'catalogue', code: 'BASELINE_MISSING', index: null }]);
    }
  });

  test('of a sample takes what is recent whole, and draws from the rest', async () => {
    await using superuser = await openSession(database.urls.superuser, asIntruder);
    await ageEntries(superuser);
    await application.run(`${insertSignalsSql(5, 'later')}; ${insertEntriesSql(2)}`);
    const draws: number[] = [];
    const service = serviceWith({
      randomInt: (bound) => {
        draws.push(bound);
        return draws.length === 4 ? 0 : bound - 1;
      },
      verifyEntries: ({ source: _source, ...selection }) => {
        selections.push(selection);
        return Promise.resolve({ entries: 1, breaks: [], breakCount: 0 });
      },
    });
    const check = await service.run(request('SAMPLE', { sampleSize: 5 }));
    // 60 entries are old: 30 signals, then 30 audit entries.
    expect(draws).toEqual([56, 57, 58, 59, 60]);
    expect(selections).toMatchObject([
      { log: 'signals', indexes: [0] },
      { log: 'audit', indexes: [25, 26, 27, 29] },
      { log: 'signals', from: 30, to: 35 },
      { log: 'audit', from: 30, to: 37 },
    ]);
    expect(check.ranges).toEqual([
      { area: 'audit', first: '25', last: '36', checked: '2' },
      { area: 'signals', first: '0', last: '34', checked: '2' },
    ]);
  });

  test('of a sample larger than the logs looks at each entry once', async () => {
    await using superuser = await openSession(database.urls.superuser, asIntruder);
    await ageEntries(superuser);
    await serviceWith().run(request('SAMPLE', { sampleSize: 1_000 }));
    const all = Array.from({ length: 30 }, (_, index) => index);
    expect(selections).toEqual([
      { log: 'signals', indexes: all },
      { log: 'audit', indexes: all },
    ]);
  });

  test('of what is recent covers what was recorded in the last minutes', async () => {
    await setBaseline(database);
    const check = await serviceWith({ recentMinutes: 1 }).run(request('RECENT'));
    expect(selections).toEqual([
      { log: 'signals', from: 0, to: 30 },
      { log: 'audit', from: 0, to: 31 },
    ]);
    expect(check).toMatchObject({ result: 'OK', entriesChecked: '61' });
  });
});

describe('a check that finds something', () => {
  test('says so in its row, its entry, its metrics and an incident for each area, which the next one counts', async () => {
    await setBaseline(database);
    await using superuser = await openSession(database.urls.superuser, asIntruder);
    await superuser.run(`ALTER TABLE public.signals DISABLE TRIGGER USER;
      UPDATE public.signals SET entry_price = 1 WHERE chain_index = 7;
      ALTER TABLE public.signals ENABLE TRIGGER USER`);
    const service = serviceWith();
    const first = await service.run(request('FULL'));
    expect(first).toMatchObject({ result: 'FAILED', error: null });
    expect(first.breaks).toContainEqual({
      area: 'signals',
      code: 'COLUMN_MISMATCH',
      index: '7',
      message: expect.stringContaining('entry_price') as unknown,
    });
    expect(first.breaks.map(({ area, code }) => `${area} ${code}`)).toContain('catalogue TRIGGER_CHANGED');
    const failed = Number(first.failedVerifications);
    expect(failed).toBe(first.breaks.length);
    expect(await entriesOf('IntegrityChecked')).toMatchObject([
      {
        outcome: 'INTEGRITY_FAILED',
        details: {
          result: 'FAILED',
          failedVerifications: String(failed),
          firstBreaks: [
            { log: 'signals', code: 'COLUMN_MISMATCH', index: 7 },
            { log: 'catalogue', code: 'TRIGGER_CHANGED', index: null },
          ],
        },
      },
    ]);
    expect(observed).toEqual([
      ['failed', failed],
      ['duration', 'FULL', true],
      ['finished', 'FULL', 'FAILED'],
    ]);
    expect(await entriesOf('IncidentOpened')).toHaveLength(2);

    const second = await service.run(request('RECENT'));
    const { rows } = await readIncidents(pool, true, {});
    expect(rows.map(({ fingerprint, occurrences, kind }) => [fingerprint, occurrences, kind])).toEqual([
      ['integrity:catalogue', '2', 'INTEGRITY'],
      ['integrity:signals', '2', 'INTEGRITY'],
    ]);
    expect(JSON.parse(rows[1]!.details)).toMatchObject({
      codes: expect.arrayContaining(['COLUMN_MISMATCH', 'ROW_REWRITTEN']) as unknown,
      firstBreak: { code: 'COLUMN_MISMATCH', index: 7 },
      firstCheck: first.id,
      latestCheck: second.id,
    });
    expect(await entriesOf('IncidentOpened')).toHaveLength(2);
    expect((await readChecks(pool, {})).rows).toEqual([second, first]);

    const store = { database: pool, append: request('FULL').append };
    await closeIncident(store, { id: rows[1]!.id, note: 'believed to be mended' }, serviceOrigin('test', 'test'));
    await service.run(request('FULL'));
    expect(
      (await readIncidents(pool, true, {})).rows.map(({ fingerprint, occurrences }) => [fingerprint, occurrences]),
    ).toEqual([
      ['integrity:signals', '1'],
      ['integrity:catalogue', '3'],
    ]);
  });

  test('outside the database says so too', async () => {
    await setBaseline(database);
    const kinds: string[] = [];
    const service = serviceWith({
      outsideChecks: (kind) => {
        kinds.push(kind);
        return Promise.resolve([
          { log: 'audit', breaks: [{ code: 'ANCHOR_MISSING', index: null, message: 'the root of yesterday is gone' }] },
        ]);
      },
    });
    expect(await service.run(request('RECENT'))).toMatchObject({
      result: 'FAILED',
      failedVerifications: '1',
      breaks: [{ area: 'audit', code: 'ANCHOR_MISSING', index: null }],
    });
    expect(kinds).toEqual(['RECENT']);
  });

  test('keeps the first of many and counts all', async () => {
    await setBaseline(database);
    await using superuser = await openSession(database.urls.superuser, asIntruder);
    await superuser.run(
      "ALTER TABLE public.signals DISABLE TRIGGER USER; UPDATE public.signals SET rationale_origin = 'MODEL'",
    );
    const check = await serviceWith().run(request('FULL'));
    expect(check.breaks.filter(({ area }) => area === 'signals')).toHaveLength(20);
    // Each row differs from its body and was rewritten; each trigger was switched off.
    expect(Number(check.failedVerifications)).toBeGreaterThanOrEqual(60);
  });
});

describe('a check that cannot run to its end', () => {
  test('is recorded as such, with the reason', async () => {
    const service = serviceWith({
      verifyEntries: () => Promise.reject(new DaybookError('DATABASE_UNAVAILABLE', 'the connection broke')),
    });
    expect(await service.run(request('RECENT'))).toMatchObject({
      result: 'ERROR',
      error: 'DATABASE_UNAVAILABLE: the connection broke',
      entriesChecked: '0',
      ranges: [],
      breaks: [],
    });
    expect(await entriesOf('IntegrityChecked')).toMatchObject([
      { outcome: 'DATABASE_UNAVAILABLE', details: { result: 'ERROR' } },
    ]);
    expect(observed).toContainEqual(['finished', 'RECENT', 'ERROR']);
    expect((await readIncidents(pool, null, {})).rows).toEqual([]);
  });

  test('because the reader cannot log in is recorded', async () => {
    const nobody = new URL(database.urls.auditor);
    nobody.password = 'wrong';
    const check = await serviceWith({ readerUrl: nobody.href }).run(request('FULL'));
    expect(check.result).toBe('ERROR');
  });

  test('because the node shuts down is recorded', async () => {
    const stopping = new AbortController();
    stopping.abort(new Error('draining'));
    const check = await serviceWith().run(request('FULL', { signal: stopping.signal }));
    expect(check).toMatchObject({ result: 'ERROR', error: 'SHUTTING_DOWN: the check was interrupted' });
  });

  test.each([0, -1, 1.5, 100_001])('is refused where a sample of %d is asked for', async (sampleSize) => {
    await expect(serviceWith().run(request('SAMPLE', { sampleSize }))).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
    });
  });
});

describe('checks at the same time', () => {
  test('of one kind are refused but for the first, those of another kind run', async () => {
    let release = () => undefined as void;
    const released = new Promise<void>((resolve) => (release = resolve));
    let began = () => undefined as void;
    const begun = new Promise<void>((resolve) => (began = resolve));
    const slow = serviceWith({
      verifyEntries: async () => {
        began();
        await released;
        return { entries: 1, breaks: [], breakCount: 0 };
      },
    });
    const running = slow.run(request('RECENT'));
    await begun;
    await expect(serviceWith().run(request('RECENT'))).rejects.toMatchObject({ code: 'INTEGRITY_CHECK_RUNNING' });
    expect((await serviceWith().run(request('FULL'))).kind).toBe('FULL');
    release();
    await running;
    expect((await serviceWith().run(request('RECENT'))).kind).toBe('RECENT');
    expect((await readChecks(pool, {})).rows.map(({ kind }) => kind)).toEqual(['RECENT', 'RECENT', 'FULL']);
  });
});
