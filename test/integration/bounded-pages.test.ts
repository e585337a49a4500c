import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import { indexedColumns } from '../../src/ledger/bounded-page.js';
import { conditionToPredicate, parseFilter } from '../../src/ledger/filter.js';
import { auditFilterFields, encodeCursor, readPage, type Page } from '../../src/ledger/read-entries.js';
import { NeighbourReader } from '../../src/ledger/read-neighbours.js';
import { auditColumns, logNames, logs, selectList, type AuditRow } from '../../src/ledger/rows.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { storeVariedLog } from '../support/varied-log.js';

/** More than a page looks at, so that filters that match little end pages early. */
const entries = 48_000;

let database: TestDatabase;
let pool: pg.Pool;
let rows: readonly AuditRow[];

beforeAll(async () => {
  database = await createTestDatabase();
  pool = openPool(ledgerConnection(database.urls.application, 'pages test'), () => undefined);
  await storeVariedLog(database.urls.application, entries);
  const found = await pool.query<AuditRow>(
    `SELECT ${selectList<AuditRow>(auditColumns)} FROM public.audit_entries ORDER BY chain_index`,
  );
  rows = found.rows;
});

afterAll(async () => {
  await pool.end();
  await expectLedgerIntact(database.urls.auditor);
  await database[Symbol.asyncDispose]();
});

type Direction = 'first' | 'last';

interface Walk {
  readonly indexes: string[];
  /** Pages that had fewer rows than asked for, although more followed. */
  readonly endedEarly: number;
}

/** Follows the cursors of bounded pages to the end, as a client does. */
async function walk(filter: object, newestFirst: boolean, direction: Direction, size: number): Promise<Walk> {
  const condition = parseFilter(filter, auditFilterFields);
  const indexes: string[] = [];
  let endedEarly = 0;
  let cursor: string | null = null;
  for (let pages = 0; pages < 200; pages += 1) {
    const page: Page<AuditRow> = await readPage(pool, 'audit', {
      condition,
      newestFirst,
      [direction]: size,
      [direction === 'first' ? 'after' : 'before']: cursor,
      bounded: true,
    });
    const found = page.rows.map(({ chainIndex }) => chainIndex);
    if (direction === 'first') indexes.push(...found);
    else indexes.unshift(...found);
    const more = direction === 'first' ? page.hasNextPage : page.hasPreviousPage;
    if (!(await more())) return { indexes, endedEarly };
    if (page.lookedUpTo !== undefined) {
      expect(page.lookedUpTo.edge).toBe(direction === 'first' ? 'end' : 'start');
      expect(found.length).toBeLessThanOrEqual(size);
      endedEarly += 1;
    }
    const next = page.lookedUpTo?.chainIndex ?? (direction === 'first' ? found.at(-1) : found[0]);
    expect(next).toBeDefined();
    cursor = encodeCursor('audit', next ?? '');
  }
  throw new Error('the pages do not end');
}

const filters: readonly [string, object][] = [
  ['a word that few details hold', { text: { contains: 'needle' } }],
  ['a word that no details hold', { text: { contains: 'thimble' } }],
  ['a value that occurs rarely', { actor: { eq: 'rare' } }],
  ['values that never meet', { actor: { eq: 'rare' }, outcome: { eq: 'RARE_REFUSAL' } }],
  ['values that meet rarely', { actor: { eq: 'rare' }, category: { eq: 'FILL' } }],
  ['a frequent value and a rare word', { category: { eq: 'API' }, text: { contains: 'needle' } }],
  ['one of two', { or: [{ actor: { eq: 'rare' } }, { outcome: { eq: 'RARE_REFUSAL' } }] }],
  ['listed values, one of which does not occur', { actor: { in: ['rare', 'nobody'] }, role: { eq: 'PRODUCER' } }],
  ['an empty list', { actor: { in: [] }, role: { eq: 'PRODUCER' } }],
  ['what is absent, and a word', { actor: { isNull: true }, text: { contains: 'needle' } }],
  ['a negation', { not: { outcome: { in: ['OK', 'RATE_LIMITED'] } } }],
  ['a prefix that few values have', { resource: { startsWith: 'order 1998' } }],
  ['a prefix that many values have, and a word', { resource: { startsWith: 'order ' }, text: { contains: 'needle' } }],
  ['a range of indexes and a word', { chainIndex: { gt: '12000', lte: '38000' }, text: { contains: 'needle' } }],
  ['a value most entries have, and a rare one', { outcome: { eq: 'OK' }, actor: { eq: 'rare' } }],
];

describe('pages that look at a bounded part of the log', () => {
  test.each(filters)('together hold every match exactly once: %s', async (_name, filter) => {
    const matches = conditionToPredicate(parseFilter(filter, auditFilterFields));
    const expected = rows.filter(matches).map(({ chainIndex }) => chainIndex);
    for (const newestFirst of [false, true]) {
      for (const direction of ['first', 'last'] as const) {
        const { indexes } = await walk(filter, newestFirst, direction, 3);
        expect(indexes).toEqual(newestFirst ? expected.toReversed() : expected);
      }
    }
  });

  test('end early where little matches, and never where an index finds the matches', async () => {
    expect((await walk({ text: { contains: 'thimble' } }, false, 'first', 50)).endedEarly).toBe(2);
    expect((await walk({ actor: { eq: 'rare' } }, false, 'first', 3)).endedEarly).toBe(0);
    expect((await walk({ resource: { startsWith: 'order 1998' } }, false, 'first', 50)).endedEarly).toBe(0);
    const values = { actor: { eq: 'rare' }, outcome: { eq: 'RARE_REFUSAL' } };
    expect((await walk(values, true, 'first', 50)).endedEarly).toBe(0);
  });
});

test('the indexes that pages go by exist and leave out what pages expect of them', async () => {
  for (const log of logNames) {
    for (const [column, leftOut] of Object.entries(indexedColumns[log])) {
      const found = await pool.query<{ left_out: string[] }>(
        `SELECT ARRAY(SELECT value[1] FROM regexp_matches(coalesce(predicate, ''), '<> ''([^'']*)''', 'g') AS value) AS left_out
         FROM pg_index, pg_get_expr(indpred, indrelid) AS predicate
         WHERE indrelid = $1::regclass AND pg_get_indexdef(indexrelid, 1, true) = $2
           AND (indisunique OR pg_get_indexdef(indexrelid, 2, true) = 'chain_index')
           AND (predicate IS NULL OR predicate ~ $3)`,
        [`public.${logs[log].table}`, column, `^\\(\\(?${column} (IS NOT NULL|<> )`],
      );
      expect({ column, leftOut: found.rows.map((row) => row.left_out) }).toEqual({ column, leftOut: [leftOut] });
    }
  }
});

/** A pool that counts the statements it is given. */
function countingPool(): { database: Pick<pg.Pool, 'query'>; statements: () => number } {
  let statements = 0;
  const query = (text: string, values?: unknown[]) => {
    statements += 1;
    return pool.query(text, values);
  };
  return { database: { query: query as pg.Pool['query'] }, statements: () => statements };
}

describe('neighbours', () => {
  test('of many entries are read by one statement, page by page and in order', async () => {
    const { database: counted, statements } = countingPool();
    const reader = new NeighbourReader(counted);
    const properties = new Set(['sessionId']);
    const values = Array.from({ length: 90 }, (_, place) => `session ${place}`);
    const read = (after: string | null) =>
      Promise.all(values.map((value) => reader.read({ by: 'sessionId', value, first: 200, after, properties })));
    const pages = await read(null);
    expect(statements()).toBe(1);
    for (const [place, { rows: found, hasNextPage, hasPreviousPage }] of pages.entries()) {
      expect(found.map(({ chainIndex }) => Number(chainIndex))).toEqual(
        Array.from({ length: 200 }, (_, number) => place * 500 + number),
      );
      expect([await hasNextPage(), await hasPreviousPage()]).toEqual([true, false]);
    }
    expect(await Promise.all(pages.map(({ totalCount }) => totalCount()))).toEqual(values.map(() => 500));
    expect(statements()).toBe(2);

    const [first, second] = await read(encodeCursor('audit', '450'));
    expect(first?.rows).toHaveLength(49);
    expect([await first?.hasNextPage(), await first?.hasPreviousPage()]).toEqual([false, true]);
    expect([await second?.hasNextPage(), await second?.hasPreviousPage()]).toEqual([true, false]);
  });

  test('of one request that several entries belong to are read once, unknown ones are none', async () => {
    const { database: counted, statements } = countingPool();
    const reader = new NeighbourReader(counted);
    const read = (value: string) => reader.read({ by: 'requestId', value, properties: new Set(['id']) });
    const [one, same, none] = await Promise.all([read('request 7'), read('request 7'), read('request')]);
    expect(one.rows.map(({ chainIndex }) => chainIndex)).toEqual(['14', '15']);
    expect(same).toBe(one);
    expect(none.rows).toEqual([]);
    expect(await none.totalCount()).toBe(0);
    expect(statements()).toBe(2);
  });

  test('take only sizes and cursors of this list', async () => {
    const reader = new NeighbourReader(pool);
    const request = { by: 'requestId', value: 'request 7', properties: new Set<string>() } as const;
    const refused = { code: 'BAD_USER_INPUT' };
    await expect(reader.read({ ...request, first: 1_001 })).rejects.toMatchObject(refused);
    await expect(reader.read({ ...request, after: encodeCursor('signals', '1') })).rejects.toMatchObject(refused);
  });
});
