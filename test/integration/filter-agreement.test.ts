import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type pg from 'pg';
import { pino } from 'pino';
import { encodeCanonicalJson } from '../../src/core/canonical-json.js';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { conditionToPredicate, parseFilter } from '../../src/ledger/filter.js';
import { auditFilterFields, readPage, signalFilterFields } from '../../src/ledger/read-entries.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { sampleEntry, sampleSignal } from '../support/sample-entries.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const texts = ['A', 'AB', 'ab', 'B%', 'b_', 'é', 'É', 'Z\u{1F600}', "o'k", '\\', 'İ\n"quoted"', 'ſtraße K'];
const symbols = ['AAPL', 'AAP', 'BTC-USD', 'btc-usd'];
let database: TestDatabase;
let pool: pg.Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = openPool(ledgerConnection(database.urls.application, 'filter test'), () => undefined);
  await using writer = new LedgerWriter({
    url: database.urls.application,
    queueRowsMax: 1_000,
    log: pino({ level: 'silent' }),
  });
  for (let round = 0; round < 6; round += 1) {
    const pick = <Value>(values: readonly Value[], place: number) =>
      values[(place * 7 + round) % values.length] ?? null;
    await writer.append({
      signals: Array.from({ length: 8 }, (_, place) =>
        sampleSignal(`${round}-${place}`, {
          symbol: pick(symbols, place) ?? 'A',
          strategy: place % 3 === 0 ? null : pick(texts, place),
          action: pick(['BUY', 'SELL', 'HOLD'] as const, place) ?? 'BUY',
        }),
      ),
      entries: Array.from({ length: 8 }, (_, place) =>
        sampleEntry(pick(texts, place) ?? 'A', {
          actor: place % 4 === 0 ? null : pick(texts, place + 1),
          signalId: place % 2 === 0 ? null : `${round}-${place}`,
          category: pick(['ORDER', 'FILL', 'ALERT'] as const, place) ?? 'ORDER',
          occurredAt: place % 3 === 0 ? null : `2026-0${1 + round}-0${1 + place}T00:00:00.000001Z`,
          details: encodeCanonicalJson({ order: pick(texts, place), Nested: [{ note: pick(texts, place + 3) }] }),
        }),
      ),
    });
  }
});

afterAll(async () => {
  await pool.end();
  await expectLedgerIntact(database.urls.auditor);
  await database[Symbol.asyncDispose]();
});

const text = fc.oneof(
  fc.constantFrom(...texts, ...symbols, 'BUY', 'ORDER'),
  fc.string({ maxLength: 3 }).filter(isStorable),
);
const list = fc.array(text, { maxLength: 4 });
const comparison = fc.oneof(
  fc.record({ eq: text }),
  fc.record({ ne: text }),
  fc.record({ in: list }),
  fc.record({ notIn: list }),
  fc.record({ isNull: fc.boolean() }),
  fc.record({ startsWith: text }),
);
const index = fc.integer({ min: -1, max: 120 }).map(String);
const range = fc.oneof(
  fc.record({ lt: index, gte: index }),
  fc.record({ ne: index }),
  fc.record({ in: fc.array(index, { maxLength: 5 }) }),
);

function isStorable(value: string): boolean {
  return !value.includes('\0') && value.isWellFormed();
}

/** Filters over some text fields and the index, combined with and, or and not. */
function filters(fields: readonly string[]) {
  const leaf = fc.oneof(
    fc.constantFrom(...fields).chain((field) => comparison.map((value) => ({ [field]: value }))),
    range.map((value) => ({ chainIndex: value })),
  );
  return fc.letrec<{ node: object }>((tie) => ({
    node: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaf,
      fc.array(tie('node'), { maxLength: 3 }).map((and) => ({ and })),
      fc.array(tie('node'), { maxLength: 3 }).map((or) => ({ or })),
      tie('node').map((not) => ({ not })),
    ),
  })).node;
}

test.each([
  ['signals', signalFilterFields, ['symbol', 'strategy', 'action', 'producer', 'id', 'supersedes']],
  [
    'audit',
    auditFilterFields,
    ['actor', 'action', 'role', 'outcome', 'ipAddress', 'resource', 'signalId', 'category', 'event', 'sessionId'],
  ],
] as const)('a filter finds the same rows of %s in a list and in a feed', async (log, fields, names) => {
  const all = (await readPage(pool, log, { condition: null, newestFirst: false, first: 1_000 })).rows;
  await fc.assert(
    fc.asyncProperty(filters(names), async (filter) => {
      const condition = parseFilter(filter, fields);
      const expected = all.filter(conditionToPredicate(condition)).map((row) => row.chainIndex);
      for (const bounded of [false, true]) {
        const listed = await readPage(pool, log, { condition, newestFirst: false, first: 1_000, bounded });
        expect(listed.rows.map((row) => row.chainIndex)).toEqual(expected);
        expect(listed.lookedUpTo).toBeUndefined();
      }
    }),
    { numRuns: 300 },
  );
});

const comparisonsOfTimes = ['eq', 'ne', 'lt', 'lte', 'gt', 'gte'];

test('times compare to the microsecond in both', async () => {
  const all = (await readPage(pool, 'signals', { condition: null, newestFirst: false, first: 1_000 })).rows;
  const times = all.slice(0, 10).map(({ serverTimestamp }) => serverTimestamp);
  for (const serverTimestamp of ['2000-01-01T00:00:00Z', ...times, '2999-01-01T00:00:00Z']) {
    for (const operator of comparisonsOfTimes) {
      const condition = parseFilter({ serverTimestamp: { [operator]: serverTimestamp } }, signalFilterFields);
      const listed = await readPage(pool, 'signals', { condition, newestFirst: false, first: 1_000 });
      const expected = all.filter(conditionToPredicate(condition)).map((row) => row.chainIndex);
      expect(listed.rows.map((row) => row.chainIndex)).toEqual(expected);
    }
  }
});

test('ranges of recording and of happening find the same entries in both, negated and combined too', async () => {
  const all = (await readPage(pool, 'audit', { condition: null, newestFirst: false, first: 1_000 })).rows;
  const time = fc.constantFrom('2000-01-01T00:00:00Z', ...all.flatMap((row) => [row.recordedAt, row.occurredAt]));
  const comparison = fc
    .tuple(fc.constantFrom('recordedAt', 'occurredAt'), fc.constantFrom(...comparisonsOfTimes), time)
    .map(([field, operator, value]) => ({ [field]: { [operator]: value } }));
  const filter = fc.oneof(
    comparison,
    comparison.map((not) => ({ not })),
    fc.array(comparison, { maxLength: 3 }).map((or) => ({ or })),
    fc.array(comparison, { maxLength: 3 }).map((and) => ({ not: { and } })),
  );
  await fc.assert(
    fc.asyncProperty(filter, async (given) => {
      const condition = parseFilter(given, auditFilterFields);
      const listed = await readPage(pool, 'audit', { condition, newestFirst: false, first: 1_000 });
      const expected = all.filter(conditionToPredicate(condition)).map((row) => row.chainIndex);
      expect(listed.rows.map((row) => row.chainIndex)).toEqual(expected);
    }),
    { numRuns: 200 },
  );
});

test('a search in details finds the same entries in both, folding A to Z alone', async () => {
  const all = (await readPage(pool, 'audit', { condition: null, newestFirst: false, first: 1_000 })).rows;
  const find = async (contains: string) => {
    const condition = parseFilter({ text: { contains } }, auditFilterFields);
    const listed = await readPage(pool, 'audit', { condition, newestFirst: false, first: 1_000 });
    const found = listed.rows.map((row) => row.chainIndex);
    expect(found).toEqual(all.filter(conditionToPredicate(condition)).map((row) => row.chainIndex));
    return found;
  };
  expect(await find('NESTED')).toEqual(
    all.filter(({ event }) => event !== 'SignalCreated').map((row) => row.chainIndex),
  );
  expect((await find('STRAßE k')).length).toBe(0);
  expect((await find('TRAßE k')).length).toBeGreaterThan(0);
  expect((await find('\n"QUOTED"')).length).toBeGreaterThan(0);
  expect(await find('é')).not.toEqual(await find('É'));
  const needle = fc.oneof(
    text,
    fc.constantFrom(...texts).chain((from) => fc.constantFrom(...from)),
  );
  await fc.assert(
    fc.asyncProperty(needle.filter(isStorable), async (contains) => {
      await find(contains);
    }),
    { numRuns: 150 },
  );
});

test('a search takes no other comparison, and no other field takes a search', () => {
  const code = expect.objectContaining({ code: 'BAD_USER_INPUT' });
  expect(() => parseFilter({ text: { eq: '{}' } }, auditFilterFields)).toThrow(code);
  expect(() => parseFilter({ actor: { contains: 'a' } }, auditFilterFields)).toThrow(code);
});
