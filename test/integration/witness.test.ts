import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { parseWitnesses, requestCosignature } from '../../src/anchors/witness.js';
import { encodeUtf8 } from '../../src/core/bytes.js';
import { encodeCheckpoint } from '../../src/core/checkpoint.js';
import { consistencyProofNodes } from '../../src/core/consistency-proof.js';
import { verifyCosignature } from '../../src/core/cosignature.js';
import { CompactRange, foldNodes, type Hash, hashLeafBytes, hashNode } from '../../src/core/merkle-tree.js';
import { encodeNote, parseNote } from '../../src/core/signed-note.js';
import { encodeVerifierKey, type VerifierKey, verifierKeyOf } from '../../src/core/verifier-key.js';
import { findFreePort } from '../support/test-server.js';
import { startWitness, type WitnessLie, type WitnessServer } from '../support/witness-server.js';

const origin = 'daybook.test/signals';
const nowSeconds = 1_790_000_000;

/** A log in memory that can be forked. */
class SampleLog {
  readonly #leaves: Hash[] = [];
  readonly #privateKey: KeyObject;
  readonly key: VerifierKey;

  constructor(readonly origin: string) {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    this.#privateKey = privateKey;
    const rawKey = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url');
    this.key = verifierKeyOf(origin, new Uint8Array(rawKey));
  }

  append(...bodies: string[]): this {
    this.#leaves.push(...bodies.map((body) => hashLeafBytes(encodeUtf8(body))));
    return this;
  }

  /** Rewrites the entry at `index`. */
  rewrite(index: number): void {
    this.#leaves[index] = hashLeafBytes(encodeUtf8('rewritten'));
  }

  note(size: number, signedBy: SampleLog = this): string {
    const range = new CompactRange();
    for (const leaf of this.#leaves.slice(0, size)) range.append(leaf);
    const text = encodeCheckpoint({ origin: this.origin, size, root: range.root(), extensions: [] });
    const signature = new Uint8Array(sign(null, encodeUtf8(text), signedBy.#privateKey));
    const { name, keyId } = this.key;
    return encodeNote({ text, signatures: [{ name, keyId, signature }] });
  }

  proof(fromSize: number, toSize: number): Hash[] {
    return consistencyProofNodes(fromSize, toSize).map((group) =>
      foldNodes(group.map(({ level, index }) => this.#nodeHash(level, index))),
    );
  }

  #nodeHash(level: number, index: number): Hash {
    if (level === 0) return this.#leaves[index]!;
    return hashNode(this.#nodeHash(level - 1, index * 2), this.#nodeHash(level - 1, index * 2 + 1));
  }
}

let log: SampleLog;
let witness: WitnessServer;

beforeEach(async () => {
  log = new SampleLog(origin).append(...Array.from({ length: 20 }, (_, index) => `entry ${index}`));
  witness = await startWitness({
    name: 'witness.example/w1',
    logs: new Map([[origin, log.key]]),
    nowSeconds: () => nowSeconds,
  });
});

afterEach(async () => {
  await witness[Symbol.asyncDispose]();
});

function request(size: number, changes: Partial<Parameters<typeof requestCosignature>[0]> = {}) {
  return requestCosignature({
    url: witness.url,
    key: witness.key,
    note: log.note(size),
    size,
    lastSize: witness.trees.get(origin)?.size ?? 0,
    consistencyProof: async (fromSize) => {
      if (fromSize === 0 || fromSize >= size) throw new Error('nothing to prove here');
      return log.proof(fromSize, size);
    },
    nowSeconds,
    ...changes,
  });
}

describe('a witness that follows the specification', () => {
  test('cosigns the first checkpoint without a proof, and the line verifies under the note', async () => {
    const { line, seconds } = await request(5);
    expect(seconds).toBe(nowSeconds);
    const note = parseNote(`${log.note(5)}${line}\n`);
    expect(note.signatures).toHaveLength(2);
    expect(verifyCosignature(note.text, note.signatures[1]!, witness.key)).toEqual({ seconds });
    expect(witness.requests).toEqual([{ oldSize: 0, proofLines: 0 }]);
  });

  test('cosigns a log as it grows, from every size to every larger one, with consistency proofs', async () => {
    for (let from = 1; from < 20; from += 1) {
      for (const to of [from + 1, 20]) {
        witness.trees.clear();
        await request(from);
        await expect(request(to)).resolves.toMatchObject({ seconds: nowSeconds });
        expect(witness.requests.at(-1)).toEqual({ oldSize: from, proofLines: log.proof(from, to).length });
      }
    }
  });

  test('cosigns the same checkpoint again, and an empty log', async () => {
    await request(7);
    await expect(request(7)).resolves.toMatchObject({ seconds: nowSeconds });
    expect(witness.requests.at(-1)).toEqual({ oldSize: 7, proofLines: 0 });
    witness.trees.clear();
    await expect(request(0)).resolves.toMatchObject({ seconds: nowSeconds });
  });

  test('is asked once more from the size it names when ours is out of date', async () => {
    await request(6);
    for (const [lastSize, size] of [
      [0, 9],
      [3, 12],
      [12, 12],
      [0, 12],
      [14, 16],
    ] as const) {
      const before = witness.requests.length;
      const known = witness.trees.get(origin)!.size;
      await expect(request(size, { lastSize })).resolves.toMatchObject({ seconds: nowSeconds });
      const sizes = witness.requests.slice(before).map(({ oldSize }) => oldSize);
      expect(sizes).toEqual(lastSize === known ? [known] : [lastSize, known]);
    }
  });

  test('keeps its path under a URL with or without a slash at the end', async () => {
    await expect(request(3, { url: `${witness.url}/` })).resolves.toMatchObject({ seconds: nowSeconds });
  });

  test('refuses a log it does not know, and a signature it does not trust', async () => {
    const unknown = new SampleLog('daybook.test/other').append('entry');
    const stranger = new SampleLog(origin).append('entry');
    const refused = { code: 'ANCHOR_REFUSED' };
    await expect(request(1, { note: unknown.note(1) })).rejects.toMatchObject({ ...refused, details: { status: 404 } });
    await expect(request(1, { note: stranger.note(1) })).rejects.toMatchObject({
      ...refused,
      details: { status: 403 },
    });
    await expect(request(1, { note: log.note(1, stranger) })).rejects.toMatchObject({
      ...refused,
      details: { status: 403 },
    });
    expect(witness.trees.size).toBe(0);
  });

  test('refuses a log that forked, at a larger size, at the same size and at a smaller one', async () => {
    await request(10);
    const fork = { code: 'ANCHOR_REFUSED', details: { fork: true } };
    log.rewrite(4);
    await expect(request(15)).rejects.toMatchObject({ ...fork, details: { fork: true, status: 422 } });
    await expect(request(10)).rejects.toMatchObject(fork);
    await expect(request(10, { lastSize: 0 })).rejects.toMatchObject(fork);
    await expect(request(8, { lastSize: 0 })).rejects.toMatchObject({
      ...fork,
      details: { fork: true, witnessSize: 10, size: 8 },
    });
    expect(witness.trees.get(origin)!.size).toBe(10);
  });

  test('is not even asked to cosign less than it cosigned for us', async () => {
    await expect(request(5, { lastSize: 8 })).rejects.toMatchObject({
      code: 'ANCHOR_REFUSED',
      details: { fork: true },
    });
    expect(witness.requests).toEqual([]);
  });

  test('refuses a proof that is not the right one', async () => {
    await request(6);
    const consistencyProof = async () => log.proof(5, 11);
    await expect(request(11, { consistencyProof })).rejects.toMatchObject({ details: { status: 422 } });
  });
});

describe('a witness that lies or fails', () => {
  const lies: [WitnessLie, string][] = [
    ['other-root', 'ANCHOR_REFUSED'],
    ['bad-signature', 'ANCHOR_REFUSED'],
    ['old-time', 'ANCHOR_REFUSED'],
    ['future-time', 'ANCHOR_REFUSED'],
    ['other-key', 'ANCHOR_REFUSED'],
    ['no-lines', 'ANCHOR_REFUSED'],
    ['garbage', 'ANCHOR_REFUSED'],
    ['huge-answer', 'ANCHOR_REFUSED'],
    ['redirect', 'ANCHOR_REFUSED'],
    ['teapot', 'ANCHOR_REFUSED'],
    ['bare-conflict', 'ANCHOR_REFUSED'],
    ['wrong-size', 'ANCHOR_REFUSED'],
    ['repeated-conflict', 'ANCHOR_REFUSED'],
    ['moving-size', 'ANCHOR_UNAVAILABLE'],
    ['no-answer', 'ANCHOR_UNAVAILABLE'],
    ['down', 'ANCHOR_UNAVAILABLE'],
  ];
  test.each(lies)('by %s is reported as %s, and asked at most twice', async (lie, code) => {
    witness.lie(lie);
    await expect(request(5, lie === 'no-answer' ? { timeoutMs: 300 } : {})).rejects.toMatchObject({ code });
    expect(witness.requests.length).toBeLessThanOrEqual(2);
    witness.lie(null);
    await expect(request(5)).resolves.toMatchObject({ seconds: nowSeconds });
  });

  test('is believed up to a day late and five minutes ahead', async () => {
    const day = 24 * 60 * 60;
    await expect(request(5, { nowSeconds: nowSeconds + day })).resolves.toMatchObject({ seconds: nowSeconds });
    await expect(request(5, { nowSeconds: nowSeconds - 300 })).resolves.toMatchObject({ seconds: nowSeconds });
    for (const ours of [nowSeconds + day + 1, nowSeconds - 301]) {
      await expect(request(5, { nowSeconds: ours })).rejects.toMatchObject({ code: 'ANCHOR_REFUSED' });
    }
  });

  test('or has another key than the pinned one, or is not there, is told apart', async () => {
    const impostor = verifierKeyOf(witness.key.name, new Uint8Array(32).fill(3), 4);
    await expect(request(5, { key: impostor })).rejects.toMatchObject({ code: 'ANCHOR_REFUSED' });
    const url = `http://127.0.0.1:${await findFreePort()}/w1`;
    await expect(request(5, { url })).rejects.toMatchObject({ code: 'ANCHOR_UNAVAILABLE' });
  });

  test('is not asked about a note of another size', async () => {
    await expect(request(5, { note: log.note(6) })).rejects.toThrow(/size 6, not 5/);
    expect(witness.requests).toEqual([]);
  });
});

describe('the list of witnesses', () => {
  const keyOf = (name: string, type: 1 | 4 = 4) => verifierKeyOf(name, new Uint8Array(32).fill(9), type);
  const first = `${encodeVerifierKey(keyOf('one.example/w'))} https://one.example/prefix`;
  const second = `${encodeVerifierKey(keyOf('two.example'))} http://127.0.0.1:8080/`;

  test('is separated by commas or line breaks', () => {
    const expected = [
      { key: keyOf('one.example/w'), url: 'https://one.example/prefix' },
      { key: keyOf('two.example'), url: 'http://127.0.0.1:8080/' },
    ];
    expect(parseWitnesses(`${first},${second}`)).toEqual(expected);
    expect(parseWitnesses(`\n  ${first} \r\n\n${second}\n`)).toEqual(expected);
    expect(parseWitnesses(' \n')).toEqual([]);
  });

  test.each([
    ['an entry without URL', encodeVerifierKey(keyOf('one.example'))],
    ['an entry of three parts', `${first} more`],
    ['a malformed key', 'one.example+00000000+AAAA https://one.example/'],
    ['a key id of another key', first.replace(/\+[0-9a-f]{8}\+/, '+00000000+')],
    ['a key that signs notes', `${encodeVerifierKey(keyOf('one.example', 1))} https://one.example/`],
    ['a URL of another scheme', `${encodeVerifierKey(keyOf('one.example'))} ftp://one.example/`],
    ['a URL with credentials', `${encodeVerifierKey(keyOf('one.example'))} https://me:secret@one.example/`],
    ['a URL with a query', `${encodeVerifierKey(keyOf('one.example'))} https://one.example/?key=1`],
    ['a witness twice', `${first}\n${first}`],
    [
      'too many witnesses',
      Array.from({ length: 33 }, (_, place) => `${encodeVerifierKey(keyOf(`w${place}`))} http://w/`).join(),
    ],
  ])('is refused with %s', (_what, text) => {
    let thrown: unknown;
    try {
      parseWitnesses(text);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
