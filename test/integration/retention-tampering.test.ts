import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { BreakList } from '../../src/core/log-breaks.js';
import { isBaselineDue } from '../../src/integrity/baseline.js';
import { verifyRecords } from '../../src/integrity/verify-records.js';
import { verifyLog } from '../../src/ledger/verify-log.js';
import { withSnapshot } from '../../src/ledger/verify-snapshot.js';
import { archiveOld, checkInFull, fillLog, purgeOld, shortRetention } from '../support/retained-log.js';
import { openSession } from '../support/sql-session.js';
import { copyTestDatabase, createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { startTestService } from '../support/test-service.js';

const reason = 'asked for by the regulator';
const allTables = ['audit_entries', 'ledger_purges', 'ledger_tiles', 'log_archives', 'legal_holds',
  'retention_policies', 'integrity_baselines', 'restored_entries']; // prettier-ignore

let removed: TestDatabase;

/** A log of which a prefix was removed, with holds of each state: one placed before what is left, and told again. */
beforeAll(async () => {
  removed = await createTestDatabase();
  await using service = await startTestService({ database: removed, environment: shortRetention });
  const auditor = await service.makeKey('AUDITOR');
  const place = async (input: object) => {
    const text = 'mutation ($input: PlaceLegalHoldInput!) { placeLegalHold(input: $input) { hold { id } } }';
    return (await service.call(text, { input: { reason, ...input } })).data?.placeLegalHold.hold.id as string;
  };
  const release = (id: string, key?: string) => {
    const text = 'mutation ($input: ReleaseLegalHoldInput!) { releaseLegalHold(input: $input) { hold { id } } }';
    return service.call(text, { input: { id, reason } }, key);
  };
  await place({ signalId: 'never-recorded', recordedFrom: '2020-01-01T00:00:00Z', recordedTo: '2021-01-01T00:00:00Z' });
  const second = await place({ actor: 'nobody', resourcePrefix: 'a%_' });
  await release(second);
  await release(second, auditor);
  await fillLog(service, 900);
  expect(await archiveOld(service)).toHaveLength(1);
  expect((await purgeOld(service)).firstKept).toBe(768);
  const third = await place({ actor: 'nobody' });
  await release(third);
  await fillLog(service, 700);
  expect(await archiveOld(service)).toHaveLength(1);
  expect((await purgeOld(service)).firstKept).toBe(1_536);
  expect(await checkInFull(service)).toMatchObject({ result: 'OK', breaks: [] });
  await service.call(`mutation { restoreArchives(input: { firstIndex: "0", lastIndex: "1535", reason: "${reason}" }) {
    archives { number } } }`);
  expect(await checkInFull(service)).toMatchObject({ result: 'OK', breaks: [] });
});

afterAll(async () => {
  await removed[Symbol.asyncDispose]();
});

/** Codes of what verification and the integrity monitor find, each once. */
async function findCodes(database: TestDatabase): Promise<string[]> {
  const url = database.urls.auditor;
  const { breaks } = await verifyLog({ source: { url }, log: 'audit', threads: 1 });
  const recorded = new BreakList();
  await withSnapshot({ url }, (client) => verifyRecords(client, recorded));
  return [...new Set([...breaks, ...recorded.first].map(({ code }) => code))].sort();
}

async function tampered(sql: string): Promise<string[]> {
  await using database = await copyTestDatabase(removed);
  await using superuser = await openSession(database.urls.superuser, 'SET event_triggers = off');
  const guards = (state: string) =>
    allTables.map((name) => `ALTER TABLE public.${name} ${state} TRIGGER ALL`).join(';');
  await superuser.run(`BEGIN; ${guards('DISABLE')}; ${sql}; ${guards('ENABLE')}; COMMIT`);
  return await findCodes(database);
}

async function readColumns(): Promise<string> {
  await using session = await openSession(removed.urls.auditor);
  return (await session.value(
    `SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
     WHERE attrelid = 'public.audit_entries'::regclass AND attnum > 0 AND attname NOT IN ('xid', 'chain_index')`,
  )) as string;
}

test('a log of which a prefix was removed is whole, and so are the records beside it', async () => {
  expect(await findCodes(removed)).toEqual([]);
});

describe('whoever has every right on the database is found out when', () => {
  test.each<[string, string, string[]]>([
    [
      'more entries are removed than archives hold, with a receipt and its entry',
      `INSERT INTO public.ledger_purges (log, first_index, first_kept_index, previous_hash, last_recorded_at, tree_size,
           root_hash, purged_by, xid)
         SELECT 'audit', 1536, 1600, last.chain_hash, last.recorded_at, before.tree_size, before.root_hash, 'daybook',
           pg_current_xact_id()
         FROM public.audit_entries AS last, public.ledger_purges AS before
         WHERE last.chain_index = 1599 AND before.first_kept_index = 1536;
       DELETE FROM public.audit_entries WHERE chain_index < 1600;
       ALTER TABLE public.audit_entries ENABLE TRIGGER ALL;
       INSERT INTO public.audit_entries (category, event, actor, resource, details)
         SELECT 'BACKUP', 'EntriesPurged', 'daybook', 'purge/' || number, json_build_object('firstIndex',
           first_index::text, 'firstKeptIndex', first_kept_index::text, 'previousHash', encode(previous_hash, 'hex'),
           'treeSize', tree_size::text, 'rootHash', encode(root_hash, 'hex'))
         FROM public.ledger_purges ORDER BY number DESC LIMIT 1`,
      ['ARCHIVE_MISSING', 'CHECKPOINT_MISMATCH', 'TILE_MISSING'],
    ],
    [
      'an archive is put on record for them without the log’s key',
      `INSERT INTO public.log_archives (first_index, last_index, first_recorded_at, last_recorded_at, previous_hash,
           chain_hash, holds_signals, object_key, bytes, object_hash, created_by, note)
         SELECT 1536, 1599, last.recorded_at, last.recorded_at, before.chain_hash, last.chain_hash, false, 'archives/audit/0.jsonl.gz',
           1, before.object_hash, 'daybook', before.note
         FROM public.audit_entries AS last, public.log_archives AS before
         WHERE last.chain_index = 1599 AND before.last_index = 1535`,
      ['ARCHIVE_MISMATCH'],
    ],
    [
      'a receipt lies about where the log begins',
      `UPDATE public.ledger_purges SET first_kept_index = 1550 WHERE first_kept_index = 1536`,
      ['ARCHIVE_MISSING', 'CHECKPOINT_MISMATCH', 'INDEX_GAP', 'PURGE_UNEXPLAINED', 'TILE_MISSING'],
    ],
    [
      'the newest receipt is gone',
      `DELETE FROM public.ledger_purges WHERE first_kept_index = 1536`,
      ['CHECKPOINT_MISMATCH', 'INDEX_GAP', 'PURGE_UNEXPLAINED'],
    ],
    ['an earlier receipt is gone', `DELETE FROM public.ledger_purges WHERE first_index = 0`, ['PURGE_UNEXPLAINED']],
    [
      'an archive is struck off the record',
      'DELETE FROM public.restored_entries; DELETE FROM public.log_archives WHERE first_index = 0',
      ['ARCHIVE_MISSING', 'PURGE_UNEXPLAINED'],
    ],
    [
      'an archive is said to lie elsewhere',
      `UPDATE public.log_archives SET object_key = 'archives/audit/0.jsonl.gz' WHERE first_index = 0`,
      ['ARCHIVE_MISMATCH'],
    ],
    [
      'an archive is made old, so that its time is over',
      `UPDATE public.log_archives SET last_recorded_at = '2001-01-01' WHERE first_index = 0`,
      ['ARCHIVE_MISMATCH'],
    ],
    [
      'an archive is given up without an entry',
      `UPDATE public.log_archives SET removed_at = clock_timestamp() + interval '1 hour', removed_by = 'daybook'
         WHERE first_index = 0`,
      ['RECORD_UNEXPLAINED'],
    ],
    [
      'a tile of removed entries is gone',
      `DELETE FROM public.ledger_tiles WHERE log = 'audit' AND level = 0 AND tile = 1`,
      ['CHECKPOINT_MISMATCH', 'TILE_MISSING'],
    ],
    [
      'a tile of removed entries is another',
      `UPDATE public.ledger_tiles SET hashes = set_byte(hashes, 0, get_byte(hashes, 0) # 1)
         WHERE log = 'audit' AND level = 0 AND tile = 1`,
      ['CHECKPOINT_MISMATCH', 'TILE_MISMATCH'],
    ],
    [
      'a hold is struck off the record',
      `DELETE FROM public.legal_holds WHERE signal_id IS NOT NULL`,
      ['RECORD_MISSING'],
    ],
    [
      'a hold is said to have been released long ago',
      `UPDATE public.legal_holds SET placed_at = '2001-01-01', release_requested_by = 'a', release_reason = 'was over long ago',
         release_requested_at = '2001-01-02', released_by = 'b', released_at = '2001-01-03' WHERE signal_id IS NOT NULL`,
      ['RECORD_UNEXPLAINED'],
    ],
    [
      'a hold keeps something else',
      `UPDATE public.legal_holds SET recorded_to = recorded_to - interval '1 day' WHERE signal_id IS NOT NULL`,
      ['RECORD_UNEXPLAINED'],
    ],
    [
      'a hold whose release was asked for is released by nobody',
      `UPDATE public.legal_holds SET released_by = 'b', released_at = '2001-01-03'
         WHERE released_at IS NULL AND release_requested_at IS NOT NULL`,
      ['RECORD_UNEXPLAINED'],
    ],
    [
      'a hold is placed that nobody placed',
      `INSERT INTO public.legal_holds (reason, placed_by, placed_at) VALUES ('a reason of its own', 'alice', '2001-01-01')`,
      ['RECORD_UNEXPLAINED'],
    ],
    [
      'the retention is shortened',
      `UPDATE public.retention_policies SET archived = '1 second'`,
      ['RECORD_UNEXPLAINED'],
    ],
  ])('%s', async (_what, sql, codes) => {
    expect(await tampered(sql)).toEqual(codes);
  });

  test('an entry lies where there were removed ones, or before them', async () => {
    const list = await readColumns();
    for (const index of [5, 1_535, -3]) {
      const codes = await tampered(`INSERT INTO public.audit_entries (chain_index, xid, ${list})
        SELECT ${index}, pg_current_xact_id(), ${list} FROM public.restored_entries WHERE chain_index = 5`);
      expect([index, codes.includes('INDEX_GAP')]).toEqual([index, true]);
    }
  });

  test('every baseline is gone: no start takes another by itself', async () => {
    await using database = await copyTestDatabase(removed);
    await using superuser = await openSession(database.urls.superuser, 'SET event_triggers = off');
    await superuser.run(`BEGIN; ALTER TABLE public.integrity_baselines DISABLE TRIGGER ALL;
      DELETE FROM public.integrity_baselines; COMMIT`);
    const isDue = await withSnapshot({ url: database.urls.auditor }, (client) => isBaselineDue(client));
    expect(isDue).toBe(false);
  });
});
