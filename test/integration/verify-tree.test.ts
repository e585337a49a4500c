import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { encodeHex, encodeUtf8 } from '../../src/core/bytes.js';
import { encodeNote, parseNote } from '../../src/core/signed-note.js';
import { verifyLog, verifyLogs, type VerifyOptions } from '../../src/ledger/verify-log.js';
import { MTH } from '../support/literal-rfc6962.js';
import { createNoteSigner } from '../support/note-signer.js';
import { openSignedTree, signNote, type SignedTree } from '../support/signed-tree.js';
import { insertEntriesSql, insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { tamper } from '../support/tamper.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

/** Three full tiles and a part of a fourth; the first 300 announce signals. */
const entries = 1_000;

let database: TestDatabase;
let superuser: SqlSession;
let tree: SignedTree;
let bodies: Uint8Array[];
let days: (readonly [string, number])[];

beforeEach(async () => {
  database = await createTestDatabase();
  superuser = await openSession(database.urls.superuser);
  await using application = await openSession(database.urls.application);
  await application.run(insertSignalsSql(300));
  await application.run(insertEntriesSql(entries - 300));
  tree = await openSignedTree(database.urls.superuser, 'audit');
  await tree.integrate();
  await tree.sign(0, 5, 256, 700);
  days = await readDays();
  await tree.seal(...days);
  bodies = (await superuser.run('SELECT body FROM public.audit_entries ORDER BY chain_index')).map(({ body }) =>
    encodeUtf8(body as string),
  );
});

afterEach(async () => {
  await tree[Symbol.asyncDispose]();
  await superuser[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** The days of the entries with the size at their midnight, and two days more. */
async function readDays(): Promise<[string, number][]> {
  const rows = await superuser.run(
    `WITH days AS (SELECT (recorded_at AT TIME ZONE 'UTC')::date AS day, max(chain_index) + 1 AS size
       FROM public.audit_entries GROUP BY 1)
     SELECT day::text, size FROM days UNION ALL
     SELECT (max(day) + later)::text, max(size) FROM days, generate_series(1, 2) AS later GROUP BY later ORDER BY 1`,
  );
  return rows.map(({ day, size }) => [String(day), Number(size)]);
}

async function verify(options: Partial<VerifyOptions> = {}) {
  return verifyLog({ source: { url: database.urls.auditor }, log: 'audit', ...options });
}

/** Breaks of the audit log as `index code`. */
async function findBreaks(options: Partial<VerifyOptions> = {}): Promise<string[]> {
  return (await verify(options)).breaks.map(({ code, index }) => `${index} ${code}`);
}

/** SQL that stores another note for a checkpoint, and its root beside it. */
const replaceNote = (size: number, note: string, root: Uint8Array) => `
  UPDATE public.checkpoints SET note = ${quote(note)}, root_hash = '\\x${encodeHex(root)}'
  WHERE log = 'audit' AND tree_size = ${size}`;
const quote = (text: string) => `'${text.replaceAll("'", "''")}'`;

/** SQL that changes an entry's outcome and all rows behind it, so that they fit, and removes the tiles. */
const rewriteFrom = (index: number) => `DO $$
  DECLARE entry record; previous bytea; leaf bytea;
  BEGIN
    FOR entry IN SELECT * FROM public.audit_entries WHERE chain_index >= ${index} ORDER BY chain_index LOOP
      SELECT chain_hash INTO previous FROM public.audit_entries WHERE chain_index = entry.chain_index - 1;
      IF entry.chain_index = ${index} THEN
        entry.body := replace(entry.body, '"outcome":"OK"', '"outcome":"LOST"');
        entry.outcome := 'LOST';
      END IF;
      leaf := sha256('\\x00'::bytea || convert_to(entry.body, 'UTF8'));
      UPDATE public.audit_entries SET outcome = entry.outcome, body = entry.body, verification_hash = leaf,
        previous_hash = previous, chain_hash = sha256('\\x02'::bytea || previous || leaf), xid = pg_current_xact_id()
      WHERE chain_index = entry.chain_index;
    END LOOP;
    DELETE FROM public.ledger_tiles WHERE log = 'audit';
  END $$`;

describe('verification of a log with its tree', () => {
  test('computes the tree from the entries and compares tiles, checkpoints and daily roots with it', async () => {
    const [signals, audit] = await verifyLogs({
      source: { url: database.urls.auditor },
      logs: ['signals', 'audit'],
    });
    expect(audit).toMatchObject({
      entries,
      breakCount: 0,
      signer: 'database',
      unanchoredEntries: entries,
      tree: {
        size: entries,
        rootHash: encodeHex(MTH(bodies)),
        tiles: 3,
        checkpoints: 5,
        newestCheckpoint: { size: entries },
        roots: days.length,
      },
    });
    expect(signals).toMatchObject({
      breakCount: 0,
      signer: 'none',
      tree: { size: 300, tiles: 0, checkpoints: 0, newestCheckpoint: null, roots: 0 },
    });
  });

  test('asks for no tile that no checkpoint covers yet', async () => {
    const signals = await openSignedTree(database.urls.application, 'signals', 2);
    await signals.sign(255);
    await signals[Symbol.asyncDispose]();
    const found = await verify({});
    expect(found.breaks).toEqual([]);
    expect(await verifyLog({ source: { url: database.urls.auditor }, log: 'signals' })).toMatchObject({ breaks: [] });
  });
});

describe('verification finds', () => {
  const tile = (number: number) => `log = 'audit' AND level = 0 AND tile = ${number}`;
  const anchor = (status: string, mode: string, age: string, evidence = `'\\x00'`) => `
    INSERT INTO public.anchors (log, date, kind, target, mode, status, reference, evidence, anchored_at, created_at)
    SELECT 'audit', min(date), 'object-store', 'store', '${mode}', '${status}', 'v1', ${evidence}, now(),
      now() - interval '${age}' FROM public.merkle_roots`;
  const cases: [string, string, string[]][] = [
    [
      'a leaf hash that a tile has otherwise, at its index',
      `UPDATE public.ledger_tiles SET hashes = overlay(hashes PLACING sha256('x') FROM 44 * 32 + 1) WHERE ${tile(1)}`,
      ['300 TILE_MISMATCH'],
    ],
    [
      'a false root of a tile',
      `UPDATE public.ledger_tiles SET root = sha256('x') WHERE ${tile(1)}`,
      ['256 TILE_MISMATCH'],
    ],
    ['a tile that was removed', `DELETE FROM public.ledger_tiles WHERE ${tile(2)}`, ['512 TILE_MISSING']],
    [
      'a tile of entries that are not there',
      `INSERT INTO public.ledger_tiles SELECT log, level, 3, root, hashes FROM public.ledger_tiles WHERE ${tile(2)}`,
      ['768 TILE_MISMATCH', '1000 TILE_MISMATCH'],
    ],
    [
      'a checkpoint whose row says another root than its note',
      `UPDATE public.checkpoints SET root_hash = sha256('x') WHERE log = 'audit' AND tree_size = 700`,
      ['256 CHECKPOINT_MISMATCH', '699 CHECKPOINT_MALFORMED'],
    ],
    [
      'a note that is none',
      `UPDATE public.checkpoints SET note = 'signed, the database' WHERE log = 'audit' AND tree_size = 700`,
      ['699 CHECKPOINT_MALFORMED'],
    ],
    [
      'entries cut off the end',
      `DELETE FROM public.audit_entries WHERE chain_index >= 990`,
      ['990 TAIL_TRUNCATED', '990 ROOT_MISMATCH', '990 ROOT_MISMATCH', '990 ROOT_MISMATCH'],
    ],
    [
      'everything cut off the end, with what tells of it but the checkpoint of the day',
      `DELETE FROM public.audit_entries; DELETE FROM public.signals; DELETE FROM public.ledger_tiles;
       DELETE FROM public.merkle_roots; DELETE FROM public.checkpoints WHERE tree_size < 1000`,
      ['0 TAIL_TRUNCATED'],
    ],
    [
      'an entry removed from the middle, and that no later root can be computed',
      `DELETE FROM public.audit_entries WHERE chain_index = 600`,
      ['256 CHECKPOINT_MISMATCH', '600 INDEX_GAP'],
    ],
    [
      'an entry rewritten with the chain behind it, and that its tiles were thrown away',
      rewriteFrom(600),
      ['0 TILE_MISSING', '256 TILE_MISSING', '256 CHECKPOINT_MISMATCH', '512 TILE_MISSING'],
    ],
    [
      'a day without a root',
      `DELETE FROM public.merkle_roots WHERE date = (SELECT max(date) - 1 FROM public.merkle_roots)`,
      ['null ROOT_MISSING'],
    ],
    [
      'a first day without a root',
      `DELETE FROM public.merkle_roots WHERE date <= (SELECT max(date) - 2 FROM public.merkle_roots)`,
      ['0 ROOT_MISSING', '999 ROOT_MISMATCH'],
    ],
    [
      'a root of another number of entries than the day had',
      `UPDATE public.merkle_roots SET tree_size = 700 WHERE date = (SELECT max(date) FROM public.merkle_roots)`,
      ['699 ROOT_MISMATCH', '699 ROOT_MISMATCH', '700 ROOT_MISMATCH'],
    ],
    [
      'a count of entries that is not the day’s',
      `UPDATE public.merkle_roots SET entries_of_day = 7 WHERE date = (SELECT max(date) FROM public.merkle_roots)`,
      ['999 ROOT_MISMATCH'],
    ],
    [
      'a proof that proves nothing',
      `UPDATE public.merkle_roots SET consistency_proof = sha256('x')
       WHERE date = (SELECT max(date) FROM public.merkle_roots)`,
      ['999 ROOT_MISMATCH'],
    ],
    [
      'a root whose checkpoint is gone',
      `DELETE FROM public.checkpoints WHERE log = 'audit' AND tree_size = 1000`,
      ['999 ROOT_MISMATCH', '999 ROOT_MISMATCH', '999 ROOT_MISMATCH'],
    ],
    ['a required anchor that is a day late', anchor('PENDING', 'required', '25 hours'), ['999 ANCHOR_MISSING']],
    ['nothing in a required anchor that is under way', anchor('PENDING', 'required', '23 hours'), []],
    ['nothing in an anchor that is not required', anchor('PENDING', 'best-effort', '99 hours'), []],
    ['an object that is not the root’s note', anchor('ANCHORED', 'required', '1 hour'), ['999 ANCHOR_MISMATCH']],
  ];

  test.each(cases)('%s', async (_, sql, expected) => {
    await tamper(superuser, sql);
    expect(await findBreaks()).toEqual(expected);
  });

  test('an entry rewritten with chain, transaction ids and tiles, by the checkpoints that were signed before', async () => {
    await tamper(superuser, rewriteFrom(600));
    await tree.integrate();
    expect(await findBreaks()).toEqual(['256 CHECKPOINT_MISMATCH']);
  });

  test('a checkpoint that the log’s own key signed for other entries', async () => {
    const root = MTH(bodies.slice(1, 701));
    await tamper(superuser, replaceNote(700, signNote(700, root, tree.signer), root));
    expect(await findBreaks()).toEqual(['256 CHECKPOINT_MISMATCH']);
  });

  test('a signature that is bad, of a key unknown, or of the other log', async () => {
    const root = MTH(bodies.slice(0, 700));
    const good = parseNote(signNote(700, root, tree.signer));
    const bad = encodeNote({
      ...good,
      signatures: good.signatures.map((one) => ({ ...one, signature: one.signature.with(3, one.signature[3]! ^ 1) })),
    });
    await tamper(superuser, replaceNote(700, bad, root));
    expect(await findBreaks()).toEqual(['699 BAD_SIGNATURE']);
    const stranger = createNoteSigner(tree.signer.key.name, 9);
    await tamper(superuser, replaceNote(700, signNote(700, root, stranger), root));
    expect(await findBreaks()).toEqual(['699 UNKNOWN_KEY']);
    await using signals = await openSignedTree(database.urls.application, 'signals', 2);
    await tamper(superuser, replaceNote(700, signNote(700, root, signals.signer), root));
    expect(await findBreaks({ keys: [tree.signer.key, signals.signer.key] })).toEqual(['699 CHECKPOINT_MALFORMED']);
  });

  test('a log rewritten and signed anew by a key put in the database, only where the key was pinned', async () => {
    await tamper(superuser, rewriteFrom(600));
    await tamper(
      superuser,
      'DELETE FROM public.merkle_roots; DELETE FROM public.checkpoints; DELETE FROM public.signing_keys',
    );
    await using forged = await openSignedTree(database.urls.superuser, 'audit', 7);
    await forged.integrate();
    await forged.seal(...days);
    expect(await verify()).toMatchObject({ breaks: [], signer: 'database' });
    const pinned = await verify({ keys: [tree.signer.key] });
    expect(pinned).toMatchObject({ signer: 'pinned', firstBreak: { code: 'UNKNOWN_KEY', index: 999 } });
  });
});

describe('a checkpoint kept elsewhere', () => {
  const publish = (note: string) => ({ publishedCheckpoints: [{ log: 'audit' as const, note, from: 'a file' }] });

  test('vouches for the entries it covers', async () => {
    const note = signNote(900, MTH(bodies.slice(0, 900)), tree.signer);
    expect(await verify(publish(note))).toMatchObject({ breaks: [], unanchoredEntries: 100 });
    expect(await verify({ ...publish(note), keys: [tree.signer.key] })).toMatchObject({
      breaks: [],
      signer: 'pinned',
    });
  });

  test('shows a log that became shorter with all its checkpoints', async () => {
    const note = signNote(1_000, MTH(bodies), tree.signer);
    await tamper(
      superuser,
      `DELETE FROM public.merkle_roots; DELETE FROM public.checkpoints WHERE tree_size > 700;
       DELETE FROM public.audit_entries WHERE chain_index >= 990`,
    );
    expect(await findBreaks()).toEqual([]);
    expect(await findBreaks(publish(note))).toEqual(['990 TAIL_TRUNCATED']);
  });

  test('shows a log that it contradicts, with the lowest index in doubt', async () => {
    const note = signNote(800, MTH(bodies.slice(1, 801)), tree.signer);
    expect(await findBreaks(publish(note))).toEqual(['700 CHECKPOINT_INCONSISTENT']);
  });

  test('counts only with a good signature, and as a checkpoint of this log', async () => {
    const stranger = createNoteSigner(tree.signer.key.name, 9);
    const note = signNote(900, MTH(bodies.slice(0, 900)), stranger);
    expect(await verify(publish(note))).toMatchObject({
      firstBreak: { code: 'UNKNOWN_KEY', index: 899 },
      unanchoredEntries: 1_000,
    });
    expect(await findBreaks(publish('a note'))).toEqual(['null CHECKPOINT_MALFORMED']);
    expect(await findBreaks(publish(signNote(0, MTH([]), tree.signer)))).toEqual([]);
    expect(await findBreaks(publish(signNote(0, MTH(bodies), tree.signer)))).toEqual(['null CHECKPOINT_INCONSISTENT']);
  });
});

test('an anchored root bounds what only the database protects', async () => {
  await superuser.run(
    `INSERT INTO public.anchors (log, date, kind, target, mode, status, reference, evidence, anchored_at)
     SELECT 'audit', date, 'object-store', 'store', 'required', 'ANCHORED', 'v1', convert_to(note, 'UTF8'), now()
     FROM public.merkle_roots JOIN public.checkpoints USING (log, tree_size)`,
  );
  await using application = await openSession(database.urls.application);
  await application.run(insertEntriesSql(10));
  expect(await verify()).toMatchObject({ unanchoredEntries: 10 });
});
