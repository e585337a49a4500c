import { generateKeyPairSync, sign } from 'node:crypto';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { encodeNote, parseNote } from '../../src/core/signed-note.js';
import { verifierKeyOf } from '../../src/core/verifier-key.js';
import { checkIntegrity } from '../support/integrity-check.js';
import { insertEntriesSql, insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { copyTestDatabase, createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { startTestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

/** Audit entries that are appended at least; signals have entries of their own. */
const signals = 700;
const entries = 400;
/** An entry in the middle of the second full tile, and one that only the last, partial tile holds. */
const inTile = 300;

let filled: TestDatabase;
let filledDir: string;

beforeAll(async () => {
  filled = await createTestDatabase();
  filledDir = await mkdtemp(join(tmpdir(), 'daybook-tampering-'));
  await using service = await startTestService({
    database: filled,
    environment: {
      DAYBOOK_DATA_DIR: filledDir,
      DAYBOOK_CHECKPOINT_SECONDS: '0.05',
      DAYBOOK_PUBLISH_SECONDS: '0.05',
      DAYBOOK_JOBS: 'off',
    },
  });
  await using session = await openSession(filled.urls.application);
  await session.run(insertSignalsSql(signals));
  await session.run(insertEntriesSql(entries));
  const opened = await service.call('mutation { openIncident(input: { title: "kept" }) { incident { id } } }');
  expect(opened.errors).toBeUndefined();
  const sizes = await session.run('SELECT max(chain_index) + 1 AS size FROM audit_entries');
  await waitUntil('all entries are published', async () => {
    const text = await (await fetch(`${service.url}/metrics`)).text();
    const [, size] = /daybook_published_tree_size\{log="audit"\} (\d+)/.exec(text) ?? [];
    const [, signalsSize] = /daybook_published_tree_size\{log="signals"\} (\d+)/.exec(text) ?? [];
    return Number(size) >= Number(sizes[0]?.size) && Number(signalsSize) === signals;
  });
});

afterAll(async () => {
  await filled[Symbol.asyncDispose]();
  await rm(filledDir, { recursive: true, force: true });
});

/** What somebody does who may do everything, and hides it as well as the list below says. */
interface Tampering {
  readonly name: string;
  readonly run: (session: SqlSession) => Promise<unknown>;
  /** Breaks that must be found, each with its code and index; null where it concerns no entry. */
  readonly found: readonly { readonly area: string; readonly code: string; readonly index: number | null }[];
}

const withoutGuards = (sql: string) => `
  SET event_triggers = off; ALTER TABLE signals DISABLE TRIGGER USER; ALTER TABLE audit_entries DISABLE TRIGGER USER;
  ALTER TABLE ledger_tiles DISABLE TRIGGER USER; ALTER TABLE checkpoints DISABLE TRIGGER USER;
  ${sql};
  DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT tgrelid::regclass AS relation, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'D'
    LOOP EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', one.relation, one.tgname); END LOOP; END $$`;

/** Recomputes hashes and chain from an index on, and makes each row look as if this transaction had appended it. */
const recompute = (from: number) => `
  DO $$ DECLARE one record; previous bytea; leaf bytea; link bytea; BEGIN
    SELECT chain_hash INTO previous FROM audit_entries WHERE chain_index = ${from} - 1;
    FOR one IN SELECT chain_index, body FROM audit_entries WHERE chain_index >= ${from} ORDER BY 1 LOOP
      leaf := sha256('\\x00'::bytea || convert_to(one.body, 'UTF8'));
      link := sha256('\\x02'::bytea || previous || leaf);
      UPDATE audit_entries SET verification_hash = leaf, previous_hash = previous, chain_hash = link,
        xid = pg_current_xact_id() WHERE chain_index = one.chain_index;
      previous := link;
    END LOOP; END $$`;

const forge = (index: number) =>
  `UPDATE audit_entries SET resource = 'forged', body = regexp_replace(body, '"resource":"[^"]*"', '"resource":"forged"')
   WHERE chain_index = ${index}`;

/** Recomputes every stored tile of the audit log from its rows. */
const recomputeTiles = `
  CREATE FUNCTION pg_temp.tree_root(hashes bytea) RETURNS bytea LANGUAGE plpgsql AS $$
    DECLARE half integer := octet_length(hashes) / 2; BEGIN
      IF half < 32 THEN RETURN hashes; END IF;
      RETURN sha256('\\x01'::bytea || pg_temp.tree_root(substring(hashes FROM 1 FOR half))
        || pg_temp.tree_root(substring(hashes FROM half + 1)));
    END $$;
  UPDATE ledger_tiles SET hashes = made.hashes, root = pg_temp.tree_root(made.hashes) FROM (
    SELECT chain_index / 256 AS tile, string_agg(verification_hash, ''::bytea ORDER BY chain_index) AS hashes
    FROM audit_entries GROUP BY 1) AS made
  WHERE ledger_tiles.log = 'audit' AND level = 0 AND ledger_tiles.tile = made.tile`;

/** As withoutGuards, of a table beside the logs. */
const withoutGuardsOf = (table: string, sql: string) =>
  withoutGuards(`ALTER TABLE ${table} DISABLE TRIGGER USER; ${sql}`);

const triggerChanged = { area: 'catalogue', code: 'TRIGGER_CHANGED', index: null };

const tamperings: readonly Tampering[] = [
  {
    name: 'a value changed in a column',
    run: (session) =>
      session.run(withoutGuards(`UPDATE audit_entries SET resource = 'x' WHERE chain_index = ${inTile}`)),
    found: [
      { area: 'audit', code: 'COLUMN_MISMATCH', index: inTile },
      { area: 'audit', code: 'ROW_REWRITTEN', index: inTile },
    ],
  },
  {
    name: 'a body changed',
    run: (session) => session.run(withoutGuards(forge(inTile))),
    found: [{ area: 'audit', code: 'BODY_HASH_MISMATCH', index: inTile }],
  },
  {
    name: 'a body and its hash changed',
    run: (session) =>
      session.run(
        withoutGuards(`${forge(inTile)}; UPDATE audit_entries SET xid = pg_current_xact_id(),
          verification_hash = sha256('\\x00'::bytea || convert_to(body, 'UTF8')) WHERE chain_index = ${inTile}`),
      ),
    found: [{ area: 'audit', code: 'CHAIN_BREAK', index: inTile }],
  },
  {
    name: 'a body, its hash and the whole chain after it recomputed',
    run: (session) => session.run(withoutGuards(`${forge(inTile)}; ${recompute(inTile)}`)),
    found: [{ area: 'audit', code: 'TILE_MISMATCH', index: inTile }],
  },
  {
    name: 'a signal and the whole chain after it recomputed',
    run: (session) =>
      session.run(
        withoutGuards(
          `UPDATE signals SET symbol = 'FORGED', body = regexp_replace(body, '"symbol":"[^"]*"', '"symbol":"FORGED"')
             WHERE chain_index = ${inTile}; ${recompute(inTile).replaceAll('audit_entries', 'signals')}`,
        ),
      ),
    found: [
      { area: 'signals', code: 'TILE_MISMATCH', index: inTile },
      { area: 'signals', code: 'SIGNAL_ENTRY_MISSING', index: inTile },
    ],
  },
  {
    name: 'a row deleted in the middle',
    run: (session) => session.run(withoutGuards(`DELETE FROM audit_entries WHERE chain_index = ${inTile}`)),
    found: [{ area: 'audit', code: 'INDEX_GAP', index: inTile }],
  },
  {
    name: 'the tail deleted',
    run: (session) => session.run(withoutGuards(`DELETE FROM signals WHERE chain_index >= 650`)),
    found: [{ area: 'signals', code: 'TAIL_TRUNCATED', index: 650 }],
  },
  {
    name: 'a row inserted in the middle, the chain recomputed',
    run: (session) =>
      session.run(
        withoutGuards(`
          UPDATE audit_entries SET chain_index = -chain_index - 2 WHERE chain_index >= ${inTile};
          INSERT INTO audit_entries SELECT (jsonb_populate_record(one, to_jsonb(one) || jsonb_build_object(
            'chain_index', ${inTile}, 'id', gen_random_uuid()))).* FROM audit_entries AS one WHERE chain_index = 5;
          UPDATE audit_entries SET body = regexp_replace(body, '"id":"[^"]*"', '"id":"' || id || '"')
            WHERE chain_index = ${inTile};
          UPDATE audit_entries SET chain_index = -chain_index - 1 WHERE chain_index < 0;
          ${recompute(inTile)}`),
      ),
    found: [{ area: 'audit', code: 'TILE_MISMATCH', index: inTile }],
  },
  {
    name: 'two rows swapped',
    run: (session) =>
      session.run(
        withoutGuards(`UPDATE audit_entries SET chain_index = -1 WHERE chain_index = ${inTile};
          UPDATE audit_entries SET chain_index = ${inTile} WHERE chain_index = ${inTile + 9};
          UPDATE audit_entries SET chain_index = ${inTile + 9} WHERE chain_index = -1`),
      ),
    found: [{ area: 'audit', code: 'CHAIN_BREAK', index: inTile }],
  },
  {
    name: 'a trigger disabled, a row changed and changed back, the trigger enabled again',
    run: (session) =>
      session.run(withoutGuards(`UPDATE audit_entries SET resource = resource || '' WHERE chain_index = ${inTile}`)),
    found: [triggerChanged, { area: 'audit', code: 'ROW_REWRITTEN', index: inTile }],
  },
  {
    name: 'a trigger function replaced by a no-op and back',
    run: async (session) => {
      const original = String(await session.value("SELECT pg_get_functiondef('daybook.refuse_modification'::regproc)"));
      await session.run(`SET event_triggers = off;
        CREATE OR REPLACE FUNCTION daybook.refuse_modification() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END; END $$;
        UPDATE audit_entries SET resource = 'x' WHERE chain_index = ${inTile}`);
      await session.run(original);
    },
    found: [
      { area: 'catalogue', code: 'FUNCTION_CHANGED', index: null },
      { area: 'audit', code: 'COLUMN_MISMATCH', index: inTile },
    ],
  },
  {
    name: 'the whole table rewritten with chain and tiles, all newer checkpoints removed',
    run: (session) =>
      session.run(
        withoutGuards(`${forge(2)}; ${recompute(2)}; ${recomputeTiles};
          DELETE FROM checkpoints WHERE log = 'audit'`),
      ),
    found: [{ area: 'audit', code: 'CHECKPOINT_INCONSISTENT', index: expect.any(Number) as unknown as number }],
  },
  {
    name: 'a checkpoint row replaced by one that another key signed',
    run: async (session) => {
      const [row] = await session.run(
        "SELECT note FROM checkpoints WHERE log = 'signals' ORDER BY tree_size DESC LIMIT 1",
      );
      const { text } = parseNote(String(row?.note));
      const { privateKey, publicKey } = generateKeyPairSync('ed25519');
      const raw = Uint8Array.from(publicKey.export({ format: 'der', type: 'spki' }).subarray(12));
      const { name, keyId } = verifierKeyOf('daybook.local/signals', raw);
      const note = encodeNote({
        text,
        signatures: [{ name, keyId, signature: sign(null, Buffer.from(text), privateKey) }],
      });
      await session.run(
        withoutGuards(`UPDATE checkpoints SET note = '${note}' WHERE log = 'signals' AND tree_size = ${signals}`),
      );
    },
    found: [{ area: 'signals', code: 'UNKNOWN_KEY', index: expect.anything() as unknown as number }],
  },
  {
    name: 'an incident removed',
    run: (session) => session.run(withoutGuardsOf('incidents', `DELETE FROM incidents WHERE title = 'kept'`)),
    found: [triggerChanged, { area: 'audit', code: 'RECORD_MISSING', index: expect.any(Number) as unknown as number }],
  },
  {
    name: 'an API key made by plain SQL',
    run: (session) =>
      session.run(
        `INSERT INTO api_keys (name, role, prefix, key_hash) VALUES ('x', 'ADMIN', 'daybook_1', sha256('x'))`,
      ),
    found: [{ area: 'audit', code: 'RECORD_UNEXPLAINED', index: null }],
  },
  {
    name: 'a signing key exchanged',
    run: (session) =>
      session.run(
        withoutGuardsOf('signing_keys', `UPDATE signing_keys SET public_key = sha256('x') WHERE log = 'signals'`),
      ),
    found: [{ area: 'audit', code: 'RECORD_UNEXPLAINED', index: expect.any(Number) as unknown as number }],
  },
  {
    name: "a checkpoint's root replaced together with its note",
    run: (session) =>
      session.run(
        withoutGuards(`UPDATE checkpoints SET root_hash = sha256('x'), note = replace(note,
            encode(root_hash, 'base64'), encode(sha256('x'), 'base64'))
          WHERE log = 'signals' AND tree_size = ${signals}`),
      ),
    found: [
      { area: 'signals', code: 'BAD_SIGNATURE', index: expect.anything() as unknown as number },
      { area: 'signals', code: 'CHECKPOINT_MISMATCH', index: expect.anything() as unknown as number },
    ],
  },
];

describe('check-integrity full', () => {
  test('finds nothing in a ledger that nobody touched', async () => {
    await using database = await copyTestDatabase(filled);
    const check = await checkIntegrity(database, filledDir);
    expect(check).toMatchObject({ result: 'OK', failedVerifications: '0' });
    expect(check.breaks).toEqual([]);
  });

  test.each(tamperings)('finds $name', async ({ run, found }) => {
    await using database = await copyTestDatabase(filled);
    {
      await using session = await openSession(database.urls.superuser);
      await run(session);
    }
    const check = await checkIntegrity(database, filledDir);
    expect(check.result).toBe('FAILED');
    const seen = check.breaks.map(({ area, code, index }) => ({
      area,
      code,
      index: index === null ? null : Number(index),
    }));
    for (const one of found) expect(seen).toContainEqual(one);
    await using session = await openSession(database.urls.auditor);
    expect(await session.value("SELECT count(*) FROM incidents WHERE kind = 'INTEGRITY' AND status = 'OPEN'")).not.toBe(
      '0',
    );
  });

  test('finds, and the signer refuses, a database that was set back', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'daybook-set-back-'));
    try {
      await cp(filledDir, dataDir, { recursive: true });
      const environment = {
        DAYBOOK_DATA_DIR: dataDir,
        DAYBOOK_CHECKPOINT_SECONDS: '0.05',
        DAYBOOK_PUBLISH_SECONDS: '0.05',
        DAYBOOK_JOBS: 'off',
      };
      {
        // The day goes on in one copy …
        await using later = await copyTestDatabase(filled);
        await using service = await startTestService({ database: later, environment });
        await using session = await openSession(later.urls.application);
        await session.run(insertSignalsSql(50));
        await waitUntil('it is published', async () =>
          (await (await fetch(`${service.url}/metrics`)).text()).includes(`tree_size{log="signals"} ${signals + 50}`),
        );
      }
      // … and is lost: yesterday's copy comes back.
      await using restored = await copyTestDatabase(filled);
      const check = await checkIntegrity(restored, dataDir);
      expect(check.breaks.map(({ area, code, index }) => [area, code, Number(index)])).toContainEqual([
        'signals',
        'TAIL_TRUNCATED',
        signals,
      ]);
      await using service = await startTestService({ database: restored, environment });
      const { signer } = service.context.services.proofs;
      await waitUntil('the signer refuses', () => signer.state('signals').refusal !== null);
      await using session = await openSession(restored.urls.application);
      await session.run(insertSignalsSql(100));
      await expect(signer.coveringCheckpoint('signals', signals + 100)).rejects.toMatchObject({
        code: 'LOG_INCONSISTENT',
      });
      expect(Number(await session.value("SELECT max(tree_size) FROM checkpoints WHERE log = 'signals'"))).toBe(signals);
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  });
});
