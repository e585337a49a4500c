import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { concatBytes, encodeUtf8 } from '../../src/core/bytes.js';
import { encodeCheckpoint } from '../../src/core/checkpoint.js';
import { encodeNote } from '../../src/core/signed-note.js';
import { logs } from '../../src/ledger/rows.js';
import { MTH, PROOF } from '../support/literal-rfc6962.js';
import { createNoteSigner } from '../support/note-signer.js';
import { openSignedTree, signNote, type SignedTree } from '../support/signed-tree.js';
import { insertEntriesSql, insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

/** SQLSTATE of a row that a guard does not let in. */
const refusedRow = 'DB007';
/** Two full tiles and a part of a third. */
const entries = 600;

let database: TestDatabase;
let application: SqlSession;
let superuser: SqlSession;
let tree: SignedTree;
let bodies: Uint8Array[];

beforeAll(async () => {
  database = await createTestDatabase();
  application = await openSession(database.urls.application);
  superuser = await openSession(database.urls.superuser);
  await application.run(insertSignalsSql(10));
  await application.run(insertEntriesSql(entries - 10));
  tree = await openSignedTree(database.urls.application, 'audit');
  bodies = (await application.run('SELECT body FROM public.audit_entries ORDER BY chain_index')).map(({ body }) =>
    encodeUtf8(body as string),
  );
});

afterAll(async () => {
  await tree[Symbol.asyncDispose]();
  await superuser[Symbol.asyncDispose]();
  await application[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const bytesOf = (hashes: readonly Uint8Array[]) => Buffer.from(concatBytes(...hashes));

describe('a checkpoint that the application inserts', () => {
  const insert = (size: number, root: Uint8Array, note: string, log = 'audit') =>
    application.client.query(
      'INSERT INTO public.checkpoints (log, tree_size, root_hash, note) VALUES ($1, $2, $3, $4)',
      [log, size, Buffer.from(root), note],
    );
  const rootOf = (size: number) => MTH(bodies.slice(0, size));

  test('is stored where the log’s key signed it, at the time it is stored', async () => {
    const root = rootOf(100);
    await application.run(
      `INSERT INTO public.checkpoints (log, tree_size, root_hash, note, signed_at)
       VALUES ('audit', 100, $1, $2, '2001-01-01')`,
      [Buffer.from(root), signNote(100, root, tree.signer)],
    );
    expect(
      await application.value(`SELECT signed_at > clock_timestamp() - interval '1 minute' FROM public.checkpoints`),
    ).toBe(true);
  });

  const stranger = createNoteSigner('test.example/audit', 9);
  const foreign = createNoteSigner('other.example/audit', 1);
  const withText = (text: string) => encodeNote({ text, signatures: [tree.signer.sign(text)] });
  const cases: readonly [string, number, () => string][] = [
    ['covers more entries than there are', 601, () => signNote(601, rootOf(600), tree.signer)],
    ['was signed by no key of the log', 200, () => signNote(200, rootOf(200), stranger)],
    ['was signed by another key beside the log’s', 200, () => signNote(200, rootOf(200), tree.signer, stranger)],
    ['was signed under another origin', 200, () => signNote(200, rootOf(200), foreign)],
    ['says another root', 200, () => signNote(200, rootOf(199), tree.signer)],
    ['says another size', 200, () => signNote(199, rootOf(200), tree.signer)],
    ['has a bad signature', 200, () => changeSignature(signNote(200, rootOf(200), tree.signer))],
    ['has no signature', 200, () => signNote(200, rootOf(200), tree.signer).replace(/\n\n[^]*/, '\n\n')],
    ['has a signature twice without its line break', 200, () => signNote(200, rootOf(200), tree.signer).slice(0, -1)],
    ['has text behind its signature', 200, () => `${signNote(200, rootOf(200), tree.signer)}more\n`],
    [
      'has more lines than the three',
      200,
      () =>
        withText(
          encodeCheckpoint({ origin: 'test.example/audit', size: 200, root: rootOf(200), extensions: ['more'] }),
        ),
    ],
    ['is no note', 200, () => 'bogus'],
  ];

  test.each(cases)('is refused where it %s', async (_, size, note) => {
    await expect(insert(size, rootOf(Math.min(size, entries)), note())).rejects.toMatchObject({ code: refusedRow });
  });

  test('is refused where it is of the other log, or has a number of its own', async () => {
    const root = rootOf(5);
    await expect(insert(5, root, signNote(5, root, tree.signer), 'signals')).rejects.toMatchObject({
      code: refusedRow,
    });
    const failure = await application.failure(
      `INSERT INTO public.checkpoints (log, tree_size, root_hash, note, number) OVERRIDING SYSTEM VALUE
       VALUES ('audit', 200, $1, $2, 9000000000000000000)`,
      [Buffer.from(rootOf(200)), signNote(200, rootOf(200), tree.signer)],
    );
    expect(failure.code).toBe(refusedRow);
  });

  function changeSignature(note: string): string {
    const place = note.lastIndexOf('=') - 20;
    return note.slice(0, place) + (note[place] === 'A' ? 'B' : 'A') + note.slice(place + 1);
  }
});

describe('a tile that the application inserts', () => {
  const insert = (level: number, tile: number, hashes: readonly Uint8Array[], root: Uint8Array) =>
    application.client.query(
      'INSERT INTO public.ledger_tiles (log, level, tile, root, hashes) VALUES ($1, $2, $3, $4, $5)',
      ['audit', level, tile, Buffer.from(root), bytesOf(hashes)],
    );
  const leaves = (from: number) => bodies.slice(from, from + 256).map((body) => MTH([body]));
  const rootOf = (from: number) => MTH(bodies.slice(from, from + 256));

  test('is refused where it is not what the entries give, or not the next one', async () => {
    const [hashes, root] = [leaves(0), rootOf(0)];
    await expect(insert(0, 0, hashes.with(7, root), root)).rejects.toMatchObject({ code: refusedRow });
    await expect(insert(0, 0, hashes, hashes[0]!)).rejects.toMatchObject({ code: refusedRow });
    await expect(insert(0, 1, leaves(256), rootOf(256))).rejects.toMatchObject({ code: refusedRow });
    await expect(insert(0, 2, leaves(344), rootOf(344))).rejects.toMatchObject({ code: refusedRow });
    await expect(insert(1, 0, hashes, root)).rejects.toMatchObject({ code: refusedRow });
  });

  test('is stored where the entries give it', async () => {
    await tree.integrate();
    expect(await application.run('SELECT level, tile, root FROM public.ledger_tiles ORDER BY 1, 2')).toEqual([
      { level: 0, tile: '0', root: Buffer.from(rootOf(0)) },
      { level: 0, tile: '1', root: Buffer.from(rootOf(256)) },
    ]);
  });
});

describe('a signing key that the application inserts', () => {
  const insert = (origin: string, changes: { keyId?: string; log?: string; until?: string; seed?: number } = {}) => {
    const { key } = createNoteSigner(origin, changes.seed ?? 3);
    return application.client.query(
      `INSERT INTO public.signing_keys (origin, key_id, log, public_key, sealed_private_key, master_key_id, valid_until)
       VALUES ($1, $2, $3, $4, '\\x00', 'test', $5)`,
      [
        ...[origin, changes.keyId ?? key.keyId, changes.log ?? 'audit', Buffer.from(key.publicKey)],
        changes.until ?? null,
      ],
    );
  };

  test('is refused with an end, another origin, or an id that is not its own', async () => {
    await expect(insert('test.example/audit', { until: '2001-01-01' })).rejects.toMatchObject({ code: refusedRow });
    await expect(insert('other.example/audit', { until: '2001-01-01' })).rejects.toMatchObject({ code: refusedRow });
    await expect(insert('other.example/audit')).rejects.toMatchObject({ code: refusedRow });
    await expect(insert('other.example/signals', { log: 'signals' })).rejects.toMatchObject({ code: refusedRow });
    await expect(insert('test.example/audit', { log: 'signals' })).rejects.toMatchObject({ code: refusedRow });
    await expect(insert('test.example/audit', { keyId: '01234567' })).rejects.toMatchObject({ code: refusedRow });
  });

  test('takes over once the one before it has ended, which cannot lie in the past', async () => {
    await using own = await createTestDatabase();
    await using first = await openSignedTree(own.urls.application, 'audit');
    await using session = await openSession(own.urls.application);
    await session.run(insertEntriesSql(3));
    const [note] = await first.sign(2);
    const past = await session.failure(`UPDATE public.signing_keys SET valid_until = now() - interval '1 second'`);
    expect(past.code).toBe(refusedRow);
    await session.run('UPDATE public.signing_keys SET valid_until = clock_timestamp()');
    await using second = await openSignedTree(own.urls.application, 'audit', 2);
    await expect(first.sign(3)).rejects.toMatchObject({ code: refusedRow });
    await second.sign(3);
    expect(
      await session.run('SELECT tree_size, note = $1 AS first FROM public.checkpoints ORDER BY 1', [note]),
    ).toEqual([
      { tree_size: '2', first: true },
      { tree_size: '3', first: false },
    ]);
  });
});

describe('a day’s root that the application inserts', () => {
  /** Entries of the audit log at the end of each of three days; the third goes on. */
  const sizes = [5, 5, 12] as const;
  let own: TestDatabase;
  let session: SqlSession;
  let signed: SignedTree;
  let leaves: Uint8Array[];

  beforeAll(async () => {
    own = await createTestDatabase();
    session = await openSession(own.urls.application);
    await session.run(insertEntriesSql(20));
    await using owner = await openSession(own.urls.superuser, 'SET event_triggers = off');
    const { table, recordedColumn } = logs.audit;
    await owner.run(`ALTER TABLE public.${table} DISABLE TRIGGER USER`);
    for (const [daysBack, from, to] of [
      [4, 0, 5],
      [2, 5, 12],
      [1, 12, 20],
    ] as const) {
      await owner.run(`UPDATE public.${table} SET ${recordedColumn} = ${recordedColumn} - interval '${daysBack} days'
        WHERE chain_index >= ${from} AND chain_index < ${to}`);
    }
    await owner.run(`DO $$ DECLARE one record; BEGIN FOR one IN SELECT tgname FROM pg_trigger
      WHERE tgrelid = 'public.${table}'::regclass AND NOT tgisinternal
      LOOP EXECUTE format('ALTER TABLE public.${table} ENABLE ALWAYS TRIGGER %I', one.tgname); END LOOP; END $$`);
    signed = await openSignedTree(own.urls.application, 'audit');
    await signed.sign(0, 4, 5, 6, 11, 12, 20);
    leaves = (await session.run('SELECT body FROM public.audit_entries ORDER BY chain_index')).map(({ body }) =>
      encodeUtf8(body as string),
    );
  });

  afterAll(async () => {
    await signed[Symbol.asyncDispose]();
    await session[Symbol.asyncDispose]();
    await own[Symbol.asyncDispose]();
  });

  /** `day` is counted from the first entry's. */
  const insert = (day: number, size: number, ofDay: number, proof: readonly Uint8Array[] = [], number = '') =>
    session.client.query(
      `INSERT INTO public.merkle_roots (log, date, tree_size, entries_of_day, consistency_proof, sealed_by
         ${number === '' ? '' : ', number'}) ${number === '' ? '' : 'OVERRIDING SYSTEM VALUE'}
       SELECT 'audit', (min(recorded_at) AT TIME ZONE 'UTC')::date + $1::integer, $2, $3, $4, 'test'
         ${number === '' ? '' : `, ${number}`} FROM public.audit_entries`,
      [day, size, ofDay, bytesOf(proof)],
    );
  const proofOf = (from: number, to: number) => PROOF(from, leaves.slice(0, to));

  test('is stored day by day, and refused before, behind and beside', async () => {
    const refused = { code: refusedRow };
    await expect(insert(1, 5, 5)).rejects.toMatchObject(refused);
    await expect(insert(-1, 0, 0)).rejects.toMatchObject(refused);
    await expect(insert(0, 4, 4)).rejects.toMatchObject(refused);
    await expect(insert(0, 6, 6)).rejects.toMatchObject(refused);
    await expect(insert(0, 5, 4)).rejects.toMatchObject(refused);
    await expect(insert(0, 5, 5, [MTH(leaves)])).rejects.toMatchObject(refused);
    await expect(insert(0, 5, 5, [], '9000000000000000000')).rejects.toMatchObject(refused);
    await insert(0, sizes[0], 5);
    await expect(insert(2, 12, 7, proofOf(5, 12))).rejects.toMatchObject(refused);
    await expect(insert(1, 4, -1)).rejects.toMatchObject(refused);
    await expect(insert(1, 6, 1, proofOf(5, 6))).rejects.toMatchObject(refused);
    await insert(1, sizes[1], 0);
    await expect(insert(2, 12, 7)).rejects.toMatchObject(refused);
    await expect(insert(2, 12, 7, proofOf(5, 11))).rejects.toMatchObject(refused);
    await expect(insert(2, 11, 6, proofOf(5, 11))).rejects.toMatchObject(refused);
    await insert(2, sizes[2], 7, proofOf(5, 12));
    // The third day's end is behind no entry yet, whatever the clock says.
    await expect(insert(3, 20, 8, proofOf(12, 20))).rejects.toMatchObject(refused);
    await session.run(insertEntriesSql(1));
    await insert(3, 20, 8, proofOf(12, 20));
    await expect(insert(4, 20, 0)).rejects.toMatchObject(refused);
    await expect(insert(40_000, 20, 0)).rejects.toMatchObject(refused);
  });
});

describe('an API key that the application inserts or changes', () => {
  const make = (name: string) =>
    application.value(
      `INSERT INTO public.api_keys (name, role, prefix, key_hash, created_at)
       VALUES ('${name}', 'MONITOR', 'daybook_12345678', sha256('${name}'), '2001-01-01') RETURNING created_at > '2020-01-01'`,
    );
  const change = (name: string, set: string) =>
    application.client.query(`UPDATE public.api_keys SET ${set} WHERE name = '${name}'`);

  test('is made now, used, and revoked once; its role, secret and end stay', async () => {
    expect(await make('one')).toBe(true);
    for (const set of [`role = 'ADMIN'`, `key_hash = sha256('x')`, `expires_at = 'infinity'`, `name = 'two'`]) {
      await expect(change('one', set)).rejects.toMatchObject({ code: 'DB001' });
    }
    await change('one', 'last_used_at = clock_timestamp()');
    await change('one', `revoked_at = clock_timestamp(), revoked_by = 'alice'`);
    await change('one', 'last_used_at = clock_timestamp()');
    for (const set of ['revoked_at = NULL', `revoked_by = 'bob'`]) {
      await expect(change('one', set)).rejects.toMatchObject({ code: 'DB001' });
    }
  });

  test('is refused where it comes in used or revoked', async () => {
    const failure = await application.failure(
      `INSERT INTO public.api_keys (name, role, prefix, key_hash, revoked_at)
       VALUES ('three', 'MONITOR', 'daybook_12345678', sha256('three'), now())`,
    );
    expect(failure.code).toBe(refusedRow);
  });
});

test('a declared restore brings back what was judged when it was made', async () => {
  await using empty = await createTestDatabase();
  await using migrator = await openSession(empty.urls.migrator);
  await migrator.run(`BEGIN; SELECT daybook.declare_restore('the first machine burned'); SET LOCAL ROLE daybook_owner;
    INSERT INTO public.signing_keys (origin, key_id, log, public_key, sealed_private_key, master_key_id, valid_from, valid_until)
      VALUES ('test.example/audit', '00000000', 'audit', sha256('x'), '\\x00', 'test', '2020-01-01', '2021-01-01');
    INSERT INTO public.checkpoints (log, tree_size, root_hash, note, signed_at)
      VALUES ('audit', 3, sha256('x'), 'a note', '2020-02-01');
    INSERT INTO public.merkle_roots (log, date, tree_size, entries_of_day, consistency_proof, sealed_by)
      VALUES ('audit', '2020-02-01', 3, 3, '', 'test');
    INSERT INTO public.ledger_tiles (log, level, tile, root, hashes)
      VALUES ('audit', 0, 7, sha256('x'), decode(repeat('00', 8192), 'hex'));
    INSERT INTO public.api_keys (name, role, prefix, key_hash, revoked_at)
      VALUES ('old', 'ADMIN', 'daybook_12345678', sha256('old'), '2020-03-01');
    SELECT daybook.finish_restore(); COMMIT`);
  expect(await migrator.value(`SELECT signed_at = '2020-02-01' FROM public.checkpoints`)).toBe(true);
  const failure = await migrator.failure(`SET ROLE daybook_owner; INSERT INTO public.checkpoints
    (log, tree_size, root_hash, note) VALUES ('audit', 1, sha256('x'), 'a note')`);
  expect(failure.code).toBe(refusedRow);
});
