import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import { readAuditStats } from '../../src/audit/read-audit-stats.js';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import { readLogPage } from '../../src/exports/read-log-page.js';
import { countAuditEntries, findAfterNewest, orTooBroad, rollUpTotals } from '../../src/ledger/audit-totals.js';
import { conditionToPredicate, parseFilter, type Condition } from '../../src/ledger/filter.js';
import { auditFilterFields } from '../../src/ledger/read-entries.js';
import { auditColumns, selectList, type AuditRow } from '../../src/ledger/rows.js';
import { serviceOrigin } from '../../src/integrity/integrity-entry.js';
import { createArchives } from '../../src/retention/create-archives.js';
import { purgeArchived } from '../../src/retention/purge-archived.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { openSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { startTestService } from '../support/test-service.js';
import { storeVariedLog } from '../support/varied-log.js';
import { waitUntil } from '../support/wait-until.js';

/** Two whole blocks of totals, and some. */
const entries = 36_000;

let database: TestDatabase;
let pool: pg.Pool;
let rows: readonly AuditRow[];

beforeAll(async () => {
  database = await createTestDatabase();
  pool = openPool(ledgerConnection(database.urls.application, 'totals test'), () => undefined);
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

const parse = (filter: object): Condition => parseFilter(filter, auditFilterFields);

/** Filters by what totals are kept of, by ranges that cut blocks, and by what only the entries themselves say. */
function filters(): object[] {
  const middle = rows[entries / 2]?.recordedAt ?? '';
  return [
    {},
    { actor: { eq: 'desk 3' } },
    { actor: { isNull: true }, category: { in: ['ORDER', 'FILL'] } },
    { actor: { eq: 'nobody' } },
    { not: { outcome: { eq: 'OK' } } },
    { or: [{ event: { startsWith: 'Order' } }, { role: { ne: 'PRODUCER' } }] },
    { action: { notIn: ['READ'] } },
    { chainIndex: { gte: '100', lt: '35000' }, actor: { eq: 'rare' } },
    { chainIndex: { gte: '16384', lte: '32767' } },
    { chainIndex: { gte: '16385', lte: '32766' }, category: { eq: 'API' } },
    { recordedAt: { gte: middle } },
    { recordedAt: { lt: middle }, outcome: { eq: 'RARE_REFUSAL' } },
    { chainIndex: { gt: '1000000' } },
    { ipAddress: { eq: '10.0.0.7' } },
    { resource: { startsWith: 'order 1' }, role: { eq: 'ANALYST' } },
    { text: { contains: 'NEEDLE' } },
    { or: [{ chainIndex: { lt: '50' } }, { actor: { eq: 'rare' } }] },
  ];
}

/** Counts with the predicate of feeds, over rows in memory. */
function countInMemory(condition: Condition): object {
  const matching = rows.filter(conditionToPredicate(condition));
  const countBy = (keyOf: (row: AuditRow) => string | null) => {
    const counts = new Map<string | null, number>();
    for (const row of matching) counts.set(keyOf(row), (counts.get(keyOf(row)) ?? 0) + 1);
    return [...counts]
      .map(([key, count]) => ({ key, count: String(count) }))
      .sort((left, right) => Number(right.count) - Number(left.count) || compareKeys(left.key, right.key));
  };
  return {
    totalEntries: String(matching.length),
    byAction: countBy(({ action }) => action),
    byActor: countBy(({ actor }) => actor),
    byCategory: countBy(({ category }) => category),
    byOutcome: countBy(({ outcome }) => outcome),
    byDay: countBy(({ recordedAt }) => recordedAt.slice(0, 10)).sort((a, b) => compareKeys(a.key, b.key)),
    topResources: countBy(({ resource }) => resource)
      .filter(({ key }) => key !== null)
      .slice(0, 10),
    bytes: String(matching.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0)),
    asOfIndex: String(entries - 1),
  };
}

const compareKeys = (left: string | null, right: string | null) =>
  left === null ? 1 : right === null ? -1 : Buffer.compare(Buffer.from(left), Buffer.from(right));

describe('totals of a log of more than one block', () => {
  test('are those of its entries for every filter, before blocks are counted and after', async () => {
    await using owner = await openSession(database.urls.migrator, 'SET ROLE daybook_owner');
    for (const filter of filters()) {
      const condition = parse(filter);
      const expected = countInMemory(condition);
      await owner.run('TRUNCATE public.audit_totals');
      expect(await readAuditStats(pool, condition)).toEqual(expected);
      await rollUpTotals(pool);
      expect(await readAuditStats(pool, condition)).toEqual(expected);
    }
  });

  test('count blocks once when several nodes count at once', async () => {
    await using owner = await openSession(database.urls.migrator, 'SET ROLE daybook_owner');
    await owner.run('TRUNCATE public.audit_totals');
    await Promise.all(Array.from({ length: 4 }, () => rollUpTotals(pool)));
    expect(await owner.value('SELECT sum(entries)::int FROM public.audit_totals')).toBe(2 * 16_384);
  });

  test('are written by the owner alone', async () => {
    await using session = await openSession(database.urls.application);
    for (const statement of [
      'UPDATE public.audit_totals SET entries = 1',
      'DELETE FROM public.audit_totals',
      'TRUNCATE public.audit_totals',
      "INSERT INTO public.audit_totals VALUES (9, '2026-01-01', 'API', 'ApiCall', null, null, null, 'OK', 1, 1)",
      'DO $$ BEGIN LOCK TABLE public.audit_totals IN SHARE MODE; END $$',
    ]) {
      expect(await session.failure(statement)).toMatchObject({ code: '42501' });
    }
    await using auditor = await openSession(database.urls.auditor);
    expect(await auditor.failure('SELECT daybook.roll_up_audit_totals(1)')).toMatchObject({ code: '42501' });
  });
});

test('pages by number are found and complete wherever they lie, and their total is exact', async () => {
  for (const filter of filters()) {
    const condition = parse(filter);
    const matching = rows.filter(conditionToPredicate(condition)).reverse();
    expect(await countAuditEntries(pool, condition)).toBe(BigInt(matching.length));
    const pages = Math.ceil(matching.length / 700);
    for (const page of new Set([1, 2, Math.ceil(pages / 2), pages - 1, pages, pages + 1])) {
      if (page < 1) continue;
      const found = await readLogPage(pool, { condition, page, limit: 700 });
      expect(found).toMatchObject({ total: matching.length, pages });
      expect(found.rows.map(({ chainIndex }) => chainIndex)).toEqual(
        matching.slice((page - 1) * 700, page * 700).map(({ chainIndex }) => chainIndex),
      );
    }
    expect(await findAfterNewest(pool, condition, BigInt(matching.length))).toBeNull();
  }
});

test('what cannot be counted in time is refused with what to narrow', async () => {
  const hurried = openPool(
    { ...ledgerConnection(database.urls.application, 'totals test'), statement_timeout: 20 },
    () => undefined,
  );
  try {
    const counted = orTooBroad(() => hurried.query('SELECT pg_sleep(60)'));
    await expect(counted).rejects.toMatchObject({ code: 'QUERY_TOO_BROAD', retryable: false });
    const wrong = orTooBroad(() => hurried.query('SELECT 1 / 0'));
    await expect(wrong).rejects.toMatchObject({ code: '22012' });
  } finally {
    await hurried.end();
  }
});

test('what was archived and removed from the log is counted no longer', async () => {
  await using service = await startTestService({
    environment: {
      DAYBOOK_AUDIT_ONLINE_DAYS: '0.00001',
      DAYBOOK_CHECKPOINT_SECONDS: '0.05',
      DAYBOOK_PUBLISH_SECONDS: '0.05',
      DAYBOOK_JOBS: 'off',
    },
  });
  const { urls } = service.database;
  await storeVariedLog(urls.application, 20_000);
  const { database: own, retention } = service.context.services;
  await rollUpTotals(own);
  await using session = await openSession(urls.application);
  const counted = async (column: 'min' | 'count') =>
    Number(await session.value(`SELECT ${column}(chain_index) FROM public.audit_entries`));
  await waitUntil('tiles cover the entries', async () => {
    const tiles = await session.value("SELECT count(*) FROM public.ledger_tiles WHERE log = 'audit' AND level = 0");
    return Number(tiles) >= Math.floor(20_000 / 256);
  });
  const origin = serviceOrigin('retention', 'totals');
  await waitUntil('entries of a whole block are archived and removed', async () => {
    await createArchives(retention, origin, new AbortController().signal);
    await purgeArchived(retention, origin, new AbortController().signal);
    return (await counted('min')) > 16_384;
  });
  for (const filter of [{}, { outcome: { in: ['OK', 'RATE_LIMITED', 'RARE_REFUSAL'] } }]) {
    const stats = await readAuditStats(own, parse(filter));
    expect(stats.totalEntries).toBe(String(await counted('count')));
  }
  await expectLedgerIntact(urls.auditor);
});
