import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { encodeHex, encodeUtf8 } from '../../src/core/bytes.js';
import { verifyEntries } from '../../src/ledger/verify-entries.js';
import { verifyLog } from '../../src/ledger/verify-log.js';
import { MTH } from '../support/literal-rfc6962.js';
import { rangeWorkerEntry } from '../support/range-worker.js';
import { openSignedTree } from '../support/signed-tree.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { tamper } from '../support/tamper.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { waitUntil } from '../support/wait-until.js';

/** One tile of level 1 and a part of the next. */
const entries = 66_000;

let database: TestDatabase;
let superuser: SqlSession;
let rootHash: string;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = await openSession(database.urls.superuser);
  await using application = await openSession(database.urls.application, `SET daybook.canonical = 'on'`);
  await application.run(`INSERT INTO public.audit_entries (category, event, details)
    SELECT 'ORDER', 'OrderAccepted', ('{"number":' || number || '}')::json FROM generate_series(1, ${entries}) AS number`);
  await using tree = await openSignedTree(database.urls.application, 'audit');
  await tree.integrate();
  await tree.sign(65_535, 65_536, 65_537, entries);
  const rows = await superuser.run('SELECT body FROM public.audit_entries ORDER BY chain_index');
  rootHash = encodeHex(MTH(rows.map(({ body }) => encodeUtf8(body as string))));
}, 120_000);

afterAll(async () => {
  await superuser[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** As the service verifies so many entries: in threads, by itself. */
const verify = () => verifyLog({ source: { url: database.urls.auditor }, log: 'audit', workerEntry: rangeWorkerEntry });

test('a log with tiles above tiles is verified in threads, and has the root of RFC 6962', async () => {
  expect(await verify()).toMatchObject({
    breaks: [],
    tree: { size: entries, rootHash, tiles: 258, checkpoints: 4 },
  });
});

test.each([
  ['a changed hash', `hashes = overlay(hashes PLACING sha256('x') FROM 3 * 32 + 1)`, '768 TILE_MISMATCH'],
  ['a changed root', `root = sha256('x')`, '0 TILE_MISMATCH'],
])('%s in a tile above others is found at the first entry below it', async (_, change, expected) => {
  await tamper(
    superuser,
    `CREATE TABLE public.kept AS SELECT * FROM public.ledger_tiles WHERE level = 1;
     UPDATE public.ledger_tiles SET ${change} WHERE level = 1`,
  );
  expect((await verify()).breaks.map(({ code, index }) => `${index} ${code}`)).toEqual([expected]);
  await tamper(
    superuser,
    `DELETE FROM public.ledger_tiles WHERE level = 1; INSERT INTO public.ledger_tiles TABLE public.kept;
     DROP TABLE public.kept`,
  );
});

test('a leaf changed in a tile is reported once, although the tile above it is right', async () => {
  await tamper(
    superuser,
    `UPDATE public.ledger_tiles SET hashes = overlay(hashes PLACING sha256('x') FROM 1)
     WHERE level = 0 AND tile = 255`,
  );
  expect((await verify()).breaks.map(({ code, index }) => `${index} ${code}`)).toEqual(['65280 TILE_MISMATCH']);
  await tamper(
    superuser,
    `UPDATE public.ledger_tiles SET hashes = overlay(hashes PLACING
       (SELECT verification_hash FROM public.audit_entries WHERE chain_index = 65280) FROM 1)
     WHERE level = 0 AND tile = 255; DELETE FROM public.ledger_tiles WHERE level = 1`,
  );
  expect((await verify()).breaks.map(({ code, index }) => `${index} ${code}`)).toEqual(['0 TILE_MISSING']);
});

test('a thousand entries drawn at random are verified by reading no others', async () => {
  const indexes = Array.from({ length: 1_000 }, (_, number) => (number * 65_537 * 31) % entries);
  const before = await readRowsTouched();
  expect(await verifyEntries({ source: { url: database.urls.auditor }, log: 'audit', indexes })).toMatchObject({
    entries: new Set(indexes).size,
    breakCount: 0,
  });
  // Each entry and its predecessor, told when the connection has ended.
  const touched = await waitUntil('the statistics tell of them', async () => {
    const since = (await readRowsTouched()) - before;
    return since >= 1_000 ? since : null;
  });
  expect(touched).toBeLessThan(10_000);
});

async function readRowsTouched(): Promise<number> {
  await superuser.run('SELECT pg_stat_force_next_flush()');
  return (await superuser.value(`SELECT (seq_tup_read + idx_tup_fetch)::int FROM pg_stat_user_tables
    WHERE relname = 'audit_entries'`)) as number;
}
