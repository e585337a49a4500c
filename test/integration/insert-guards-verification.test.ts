import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { concatBytes, encodeHex, encodeUtf8 } from '../../src/core/bytes.js';
import { MTH, PROOF } from '../support/literal-rfc6962.js';
import { createNoteSigner } from '../support/note-signer.js';
import { readVectors } from '../support/read-vectors.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

let database: TestDatabase;
let superuser: SqlSession;

beforeAll(async () => {
  database = await createTestDatabase();
  superuser = await openSession(database.urls.superuser);
});

afterAll(async () => {
  await superuser[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

describe('the database verifies by itself what it is given', () => {
  interface SignatureVector {
    readonly publicKey: string;
    readonly message: string;
    readonly signature: string;
  }
  const verify = ({ publicKey, message, signature }: SignatureVector) =>
    superuser.value(`SELECT daybook.verify_ed25519(decode($1, 'hex'), decode($2, 'hex'), decode($3, 'hex'))`, [
      publicKey,
      message,
      signature,
    ]);

  test.each(readVectors<SignatureVector>('ed25519', 'valid'))('a good signature: %s', async (_, vector) => {
    expect(await verify(vector)).toBe(true);
  });

  test.each(readVectors<SignatureVector>('ed25519', 'invalid'))('a bad signature: %s', async (_, vector) => {
    expect(await verify(vector)).toBe(false);
  });

  test('signatures by many keys of many texts, and none with a bit changed', async () => {
    for (let seed = 0; seed < 40; seed += 1) {
      const signer = createNoteSigner('test.example/audit', seed);
      const text = `text ${seed}`;
      const { signature } = signer.sign(text);
      const vector = {
        publicKey: encodeHex(signer.key.publicKey),
        message: encodeHex(encodeUtf8(text)),
        signature: encodeHex(signature),
      };
      expect(await verify(vector)).toBe(true);
      const place = (seed * 37) % 64;
      const changed = encodeHex(signature.with(place, signature[place]! ^ (1 << (seed % 8))));
      expect(await verify({ ...vector, signature: changed })).toBe(false);
    }
  });

  test('consistency of every two sizes, and none with another hash, size or root', async () => {
    const leaves = Array.from({ length: 20 }, (_, number) => encodeUtf8(`leaf ${number}`));
    const holds = (from: number, fromRoot: Uint8Array, to: number, toRoot: Uint8Array, proof: readonly Uint8Array[]) =>
      superuser.value('SELECT daybook.verify_consistency($1, $2, $3, $4, $5)', [
        ...[from, Buffer.from(fromRoot), to, Buffer.from(toRoot), Buffer.from(concatBytes(...proof))],
      ]);
    for (let to = 0; to <= leaves.length; to += 1) {
      const toRoot = MTH(leaves.slice(0, to));
      for (let from = 0; from <= to; from += 1) {
        const fromRoot = MTH(leaves.slice(0, from));
        const proof = from === 0 ? [] : PROOF(from, leaves.slice(0, to));
        expect(await holds(from, fromRoot, to, toRoot, proof)).toBe(true);
        expect(await holds(from, fromRoot, to, toRoot, [...proof, toRoot])).toBe(false);
        expect(await holds(to + 1, toRoot, to, fromRoot, proof)).toBe(false);
        if (proof.length === 0) continue;
        expect(await holds(from, fromRoot, to, toRoot, proof.slice(1))).toBe(false);
        expect(await holds(from, fromRoot, to, toRoot, [fromRoot, ...proof.slice(1)])).toBe(false);
        expect(await holds(from, toRoot, to, toRoot, proof)).toBe(false);
      }
    }
  });
});

test('nobody but the owner calls what the guards are made of', async () => {
  await using application = await openSession(database.urls.application);
  const callable = await application.run(`SELECT proname FROM pg_proc WHERE pronamespace = 'daybook'::regnamespace
    AND has_function_privilege(oid, 'EXECUTE') AND proname ~ '^(guard|verify|count_entries|entry_time|note_fault|refuse_row)'`);
  expect(callable).toEqual([]);
});
