import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { verifyEntries } from '../../src/ledger/verify-entries.js';
import { verifyLogs, type LogVerification, type VerifyOptions } from '../../src/ledger/verify-log.js';
import { endingWorkerEntry, rangeWorkerEntry, workerEntryOf } from '../support/range-worker.js';
import { openSignedTree } from '../support/signed-tree.js';
import { insertEntriesSql, insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { tamper } from '../support/tamper.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { waitUntil } from '../support/wait-until.js';

let database: TestDatabase;
let superuser: SqlSession;

beforeEach(async () => {
  database = await createTestDatabase();
  superuser = await openSession(database.urls.superuser);
  await using application = await openSession(database.urls.application);
  await application.run(insertSignalsSql(700));
  await application.run(`BEGIN; SAVEPOINT inner_one; ${insertSignalsSql(5)}; RELEASE inner_one; COMMIT`);
  await application.run(insertEntriesSql(1_300));
  for (const [seed, log] of (['signals', 'audit'] as const).entries()) {
    await using tree = await openSignedTree(database.urls.application, log, seed + 1);
    await tree.integrate();
    await tree.sign(0, 100, 256, 300, 512, 700);
  }
});

afterEach(async () => {
  await superuser[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const threaded = { threads: 2, rangeEntries: 256, workerEntry: rangeWorkerEntry } as const;

function verify(options: Partial<VerifyOptions> = {}): Promise<LogVerification[]> {
  return verifyLogs({ source: { url: database.urls.auditor }, logs: ['signals', 'audit'], ...options });
}

/** Without what the clock decides. */
function timeless(verifications: readonly LogVerification[]) {
  return verifications.map((verification) => ({ ...verification, seconds: 0, entriesPerSecond: 0 }));
}

describe('verification in threads', () => {
  const cases: [string, string][] = [
    ['nothing', 'SELECT 1'],
    ['changed values everywhere', `UPDATE public.audit_entries SET actor = 'another' WHERE chain_index % 7 = 0`],
    [
      'values changed on both sides of a range’s edge',
      `UPDATE public.signals SET symbol = 'X' WHERE chain_index IN (255, 256)`,
    ],
    [
      'a link broken at a range’s edge',
      `UPDATE public.audit_entries SET previous_hash = sha256('x') WHERE chain_index = 512`,
    ],
    [
      'a chain hash changed at a range’s end',
      `UPDATE public.audit_entries SET chain_hash = sha256('x') WHERE chain_index = 511`,
    ],
    [
      'a body changed',
      `UPDATE public.audit_entries SET body = replace(body, 'order 7', 'order 8') WHERE chain_index = 800`,
    ],
    ['whole ranges removed', `DELETE FROM public.audit_entries WHERE chain_index BETWEEN 256 AND 1100`],
    ['the first range removed', `DELETE FROM public.audit_entries WHERE chain_index < 256`],
    ['the end removed', `DELETE FROM public.signals WHERE chain_index >= 650`],
    ['all removed', `DELETE FROM public.signals`],
    [
      'rows far behind and before the others',
      `UPDATE public.audit_entries SET chain_index = 9223372036854775807 WHERE chain_index = 2004;
       UPDATE public.audit_entries SET chain_index = -9223372036854775808 WHERE chain_index = 3;
       UPDATE public.audit_entries SET chain_index = 10000000000000000 WHERE chain_index = 1500`,
    ],
    [
      'tiles changed',
      `UPDATE public.ledger_tiles SET hashes = overlay(hashes PLACING sha256('x') FROM 33 + 64 * tile::int)`,
    ],
    ['tiles removed', `DELETE FROM public.ledger_tiles WHERE tile > 0`],
    ['checkpoints changed', `UPDATE public.checkpoints SET root_hash = sha256('x') WHERE tree_size > 256`],
    ['notes changed', `UPDATE public.checkpoints SET note = replace(note, 'test.example', 'best.example')`],
    [
      'transaction ids forged',
      `UPDATE public.signals SET xid = pg_current_xact_id(), strategy = NULL WHERE chain_index = 600`,
    ],
  ];

  test.each(cases)('finds the same as in one, of any width: %s', async (_, sql) => {
    await tamper(superuser, sql);
    const inOne = timeless(await verify({ threads: 1 }));
    expect(timeless(await verify({ threads: 1, rangeEntries: 256 }))).toEqual(inOne);
    expect(timeless(await verify(threaded))).toEqual(inOne);
    expect(inOne.every(({ breakCount }) => breakCount === 0)).toBe(sql === 'SELECT 1');
  });

  test('sees both logs as they stood at one moment, while others append', async () => {
    await using writer = await openSession(database.urls.application);
    let stop = false;
    const writing = (async () => {
      while (!stop) await writer.run(insertSignalsSql(50, 'meanwhile'));
    })();
    try {
      for (let round = 0; round < 3; round += 1) {
        const [signals, audit] = await verify(threaded);
        expect([signals?.breaks, audit?.breaks]).toEqual([[], []]);
        // Each signal has its entry in the same snapshot, and the other 1,300 entries are there.
        expect(audit?.entries).toBe((signals?.entries ?? 0) + 1_300);
      }
    } finally {
      stop = true;
      await writing;
    }
  });

  test('ends with the caller’s reason when it is told to, and leaves no connection behind', async () => {
    const abort = new AbortController();
    const verifying = verify({ ...threaded, signal: abort.signal, onProgress: () => abort.abort(new Error('enough')) });
    await expect(verifying).rejects.toThrow('enough');
    await expect(verify({ ...threaded, signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before');
    await expectNoConnections();
  });

  test('ends with an error when a thread’s connection is lost', async () => {
    let ended = false;
    const verifying = verify({
      ...threaded,
      onProgress: () => {
        if (ended) return;
        ended = true;
        void superuser.run(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'daybook verify'`);
      },
    });
    await expect(verifying).rejects.toThrow();
    await expectNoConnections();
  });

  test('ends with an error when a thread ends, and when one does not start', async () => {
    const ending = { ...threaded, workerEntry: endingWorkerEntry };
    await expect(verify(ending)).rejects.toMatchObject({ code: 'INTERNAL' });
    const missing = { ...threaded, workerEntry: workerEntryOf(new URL('./no-such-worker.ts', import.meta.url)) };
    await expect(verify(missing)).rejects.toMatchObject({ code: 'INTERNAL' });
    await expectNoConnections();
  });

  test('reports its progress up to the last entry', async () => {
    const seen = new Map<string, number>();
    await verify({ ...threaded, onProgress: ({ log, checked }) => seen.set(log, checked) });
    expect([...seen]).toEqual([
      ['signals', 705],
      ['audit', 2_005],
    ]);
  });
});

describe('verification of some entries', () => {
  const some = (log: 'signals' | 'audit', indexes: readonly number[] | { from: number; to: number }) =>
    verifyEntries({ source: { url: database.urls.auditor }, log, indexes });

  test('checks the entries asked for and no others', async () => {
    expect(await some('audit', [2_004, 0, 17, 17])).toEqual({
      entries: 3,
      firstBreak: null,
      breaks: [],
      breakCount: 0,
    });
    expect(await some('signals', { from: 100, to: 704 })).toMatchObject({ entries: 605, breakCount: 0 });
    expect(await some('signals', [])).toMatchObject({ entries: 0, breakCount: 0 });
    expect(await some('audit', [2_005])).toMatchObject({ entries: 0, firstBreak: { code: 'INDEX_GAP', index: 2_005 } });
  });

  const cases: [string, string, number, string[]][] = [
    [
      'a changed value',
      `UPDATE public.audit_entries SET actor = 'x' WHERE chain_index = 9`,
      9,
      ['9 COLUMN_MISMATCH', '9 ROW_REWRITTEN'],
    ],
    [
      'a link to another predecessor',
      `UPDATE public.audit_entries SET chain_hash = sha256('x') WHERE chain_index = 8`,
      9,
      ['9 CHAIN_BREAK'],
    ],
    ['a predecessor that is missing', `DELETE FROM public.audit_entries WHERE chain_index = 8`, 9, ['8 INDEX_GAP']],
    [
      'a time before the predecessor’s',
      `UPDATE public.audit_entries SET recorded_at = 'infinity' WHERE chain_index = 8`,
      9,
      ['9 TIME_DISORDER'],
    ],
    [
      'another leaf in its tile',
      `UPDATE public.ledger_tiles SET hashes = overlay(hashes PLACING sha256('x') FROM 289)`,
      9,
      ['9 TILE_MISMATCH'],
    ],
    ['nothing beside the entry', `UPDATE public.audit_entries SET actor = 'x' WHERE chain_index IN (7, 10)`, 9, []],
    [
      'a savepoint that is not on record',
      `DELETE FROM public.ledger_subxacts WHERE log = 'audit'`,
      702,
      ['702 ROW_REWRITTEN'],
    ],
  ];

  test.each(cases)('finds %s', async (_, sql, index, expected) => {
    await tamper(superuser, sql);
    const { breaks } = await some('audit', [index]);
    expect(breaks.map(({ code, index: place }) => `${place} ${code}`)).toEqual(expected);
  });
});

async function expectNoConnections(): Promise<void> {
  await waitUntil('no verification is connected', async () => {
    const connected = await superuser.value(`SELECT count(*)::int FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'daybook verify'`);
    return connected === 0;
  });
}
