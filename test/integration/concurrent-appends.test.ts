import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertEntriesSql, insertSignalsSql, openSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(async () => database[Symbol.asyncDispose]());

test('32 writers that mix both logs in either order all get through, without a gap or a deadlock', async () => {
  const writers = 32;
  const rounds = 10;
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      await using session = await openSession(database.urls.application);
      for (let round = 0; round < rounds; round += 1) {
        const statements = [insertSignalsSql(2, `writer ${writer}`), insertEntriesSql(3, `writer ${writer}`)];
        if ((writer + round) % 2 === 1) statements.reverse();
        await session.run(`BEGIN; ${statements.join(';')}; COMMIT`);
      }
    }),
  );
  await using session = await openSession(database.urls.auditor);
  const signals = writers * rounds * 2;
  expect(
    await session.run(`SELECT (SELECT count(*)::int FROM public.signals) AS signals,
      (SELECT max(chain_index)::int + 1 FROM public.signals) AS signals_length,
      (SELECT count(*)::int FROM public.audit_entries) AS entries,
      (SELECT max(chain_index)::int + 1 FROM public.audit_entries) AS entries_length`),
  ).toEqual([
    {
      signals,
      signals_length: signals,
      entries: signals + writers * rounds * 3,
      entries_length: signals + writers * rounds * 3,
    },
  ]);
  await expectLedgerIntact(database.urls.auditor);
});
