import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { crypto as sigstoreCrypto } from '@sigstore/core';
import { TransparencyLogEntry } from '@sigstore/protobuf-specs';
import { verifyTLogInclusion } from '@sigstore/verify/dist/tlog/index.js';
import transmute from '@transmute/rfc9162';
import { concatBytes, decodeHex, encodeBase64, encodeUtf8 } from '../../src/core/bytes.js';
import { encodeCheckpoint } from '../../src/core/checkpoint.js';
import { encodeNote, parseNote, type NoteSignature } from '../../src/core/signed-note.js';
import { parseTilePath } from '../../src/core/tile-path.js';
import { encodeVerifierKey } from '../../src/core/verifier-key.js';
import { flipBit, flipEachBit, flipEachBitOfAll } from '../support/flip-bits.js';
import {
  buildForeignVerifier,
  hasForeignVerifier,
  type ForeignVerifier,
  type Question,
} from '../support/foreign-verifier.js';
import { createNoteSigner } from '../support/note-signer.js';
import { readVectors } from '../support/read-vectors.js';
import { createSampleTree } from '../support/sample-tree.js';

const origin = 'log.example/signals';
const signer = createNoteSigner(origin, 1);
const next = createNoteSigner(origin, 2);
const witness = createNoteSigner('witness.example/w1', 3);

const sizeMax = 700;
const tree = createSampleTree(sizeMax);

/** Leaves in trees, at the places where the shapes of trees differ. */
const leaves = [1, 2, 3, 7, 8, 64, 255, 256, 257, 511, 513, 699, 700].flatMap((size) =>
  [...new Set([0, 1, Math.floor(size / 2), size - 2, size - 1])]
    .filter((index) => index >= 0 && index < size)
    .map((index) => [index, size] as const),
);

/** Earlier trees and later ones. */
const growths = [2, 3, 7, 8, 64, 255, 256, 257, 513, 700].flatMap((toSize) =>
  [...new Set([1, 2, 4, 6, Math.floor(toSize / 2), 256, toSize - 1])]
    .filter((fromSize) => fromSize > 0 && fromSize < toSize)
    .map((fromSize) => [fromSize, toSize] as const),
);

function checkpointText(size: number): string {
  return encodeCheckpoint({ origin, size, root: tree.root(size), extensions: [] });
}

function signedCheckpoint(size: number): string {
  const text = checkpointText(size);
  return encodeNote({ text, signatures: [signer.sign(text)] });
}

describe('@sigstore/verify', () => {
  const keyPrefix = decodeHex('302a300506032b6570032100');
  const log = {
    baseURL: `https://${origin}`,
    logID: Buffer.from(decodeHex(signer.key.keyId)),
    publicKey: sigstoreCrypto.createPublicKey(Buffer.from(concatBytes(keyPrefix, signer.key.publicKey))),
    validFor: { start: new Date(0), end: new Date(8.64e15) },
  };

  interface Inclusion {
    readonly index: number;
    readonly body: Uint8Array;
    readonly hashes: readonly Uint8Array[];
    readonly checkpoint: string;
  }

  /** Asks about an entry in the form that a Rekor bundle has it in. */
  function accepts({ index, body, hashes, checkpoint }: Inclusion): boolean {
    const entry = TransparencyLogEntry.fromJSON({
      logIndex: String(index),
      logId: { keyId: encodeBase64(log.logID) },
      kindVersion: { kind: 'entry', version: '1' },
      integratedTime: '0',
      canonicalizedBody: encodeBase64(body),
      inclusionProof: {
        logIndex: String(index),
        hashes: hashes.map((hash) => encodeBase64(hash)),
        checkpoint: { envelope: checkpoint },
      },
    }) as Parameters<typeof verifyTLogInclusion>[0];
    try {
      verifyTLogInclusion(entry, [log]);
      return true;
    } catch (err) {
      if ((err as { code?: string }).code === 'TLOG_INCLUSION_PROOF_ERROR') return false;
      throw err;
    }
  }

  function inclusion(index: number, size: number): Inclusion {
    const hashes = tree.inclusionProof(index, size);
    return { index, body: tree.bodies[index]!, hashes, checkpoint: signedCheckpoint(size) };
  }

  test('accepts our inclusion proofs under our checkpoints', () => {
    for (const [index, size] of leaves) expect(accepts(inclusion(index, size))).toBe(true);
  });

  test('accepts a checkpoint that two keys of a rotation and a witness signed', () => {
    const text = checkpointText(700);
    const signatures = [next.sign(text), signer.sign(text), witness.cosign(text, 1_790_000_000)];
    expect(accepts({ ...inclusion(333, 700), checkpoint: encodeNote({ text, signatures }) })).toBe(true);
  });

  test.each([
    [1, 2],
    [67, 70],
    [333, 700],
    [699, 700],
  ])('refuses leaf %p of %p with any bit flipped of proof or body, and at another index', (index, size) => {
    const honest = inclusion(index, size);
    for (const hashes of flipEachBitOfAll(honest.hashes)) expect(accepts({ ...honest, hashes })).toBe(false);
    for (const [, body] of flipEachBit(honest.body)) expect(accepts({ ...honest, body })).toBe(false);
    for (let other = 0; other < size; other += 1) {
      expect(accepts({ ...honest, index: other })).toBe(other === index);
    }
  });

  test('refuses a checkpoint with any bit flipped of text, key id or signature', () => {
    const honest = inclusion(67, 70);
    const { text, signatures } = parseNote(honest.checkpoint);
    const [signature] = signatures as [NoteSignature];
    for (const [, flipped] of flipEachBit(encodeUtf8(text))) {
      const checkpoint = Buffer.from(flipped).toString() + honest.checkpoint.slice(text.length);
      expect(accepts({ ...honest, checkpoint })).toBe(false);
    }
    for (const [, flipped] of flipEachBit(signature.signature)) {
      const checkpoint = encodeNote({ text, signatures: [{ ...signature, signature: flipped }] });
      expect(accepts({ ...honest, checkpoint })).toBe(false);
    }
    for (const [, flipped] of flipEachBit(decodeHex(signature.keyId))) {
      const keyId = Buffer.from(flipped).toString('hex');
      expect(accepts({ ...honest, checkpoint: encodeNote({ text, signatures: [{ ...signature, keyId }] }) })).toBe(
        false,
      );
    }
  });
});

describe('@transmute/rfc9162', () => {
  const { RFC9162_SHA256: verifier } = transmute.CoMETRE;

  async function acceptsInclusion(
    body: Uint8Array,
    index: number,
    size: number,
    proof: Uint8Array[],
    root: Uint8Array,
  ): Promise<boolean> {
    const leaf = await verifier.leaf(body);
    const path = { log_id: '', tree_size: size, leaf_index: index, inclusion_path: proof };
    const computed = await verifier.verify_inclusion_proof(leaf, path).catch(() => null);
    return computed !== null && Buffer.from(computed).equals(root);
  }

  /** It leaves out step 2 of RFC 9162 §2.1.4.2: the earlier root, of a perfect tree, must be prepended for it. */
  async function acceptsConsistency(
    fromSize: number,
    fromRoot: Uint8Array,
    toSize: number,
    toRoot: Uint8Array,
    proof: Uint8Array[],
  ): Promise<boolean> {
    const perfect = Number.isInteger(Math.log2(fromSize));
    const path = perfect ? [fromRoot, ...proof] : proof;
    const growth = { log_id: '', tree_size_1: fromSize, tree_size_2: toSize, consistency_path: path };
    return verifier.verify_consistency_proof(fromRoot, toRoot, growth).catch(() => false);
  }

  test('accepts our inclusion proofs', async () => {
    for (const [index, size] of leaves) {
      const proof = tree.inclusionProof(index, size);
      expect(await acceptsInclusion(tree.bodies[index]!, index, size, proof, tree.root(size))).toBe(true);
    }
  });

  test('refuses our inclusion proofs with any bit flipped of proof, body or root', async () => {
    const [index, size] = [67, 70];
    const [body, proof, root] = [tree.bodies[index]!, tree.inclusionProof(index, size), tree.root(size)];
    for (const flipped of flipEachBitOfAll(proof)) {
      expect(await acceptsInclusion(body, index, size, flipped, root)).toBe(false);
    }
    for (const [, flipped] of flipEachBit(body)) {
      expect(await acceptsInclusion(flipped, index, size, proof, root)).toBe(false);
    }
    for (const [, flipped] of flipEachBit(root)) {
      expect(await acceptsInclusion(body, index, size, proof, flipped)).toBe(false);
    }
  });

  test('accepts our consistency proofs', async () => {
    for (const [fromSize, toSize] of growths) {
      const proof = tree.consistencyProof(fromSize, toSize);
      const accepted = await acceptsConsistency(fromSize, tree.root(fromSize), toSize, tree.root(toSize), proof);
      expect([fromSize, toSize, accepted]).toEqual([fromSize, toSize, true]);
    }
  });

  test.each([
    [6, 7],
    [64, 70],
    [333, 700],
  ])('refuses our consistency proof from %p to %p with any bit flipped of proof or roots', async (fromSize, toSize) => {
    const [fromRoot, toRoot] = [tree.root(fromSize), tree.root(toSize)];
    const proof = tree.consistencyProof(fromSize, toSize);
    for (const flipped of flipEachBitOfAll(proof)) {
      expect(await acceptsConsistency(fromSize, fromRoot, toSize, toRoot, flipped)).toBe(false);
    }
    for (const [, flipped] of flipEachBit(fromRoot)) {
      expect(await acceptsConsistency(fromSize, flipped, toSize, toRoot, proof)).toBe(false);
    }
    for (const [, flipped] of flipEachBit(toRoot)) {
      expect(await acceptsConsistency(fromSize, fromRoot, toSize, flipped, proof)).toBe(false);
    }
  });
});

(hasForeignVerifier ? describe : describe.skip)("Go's golang.org/x/mod/sumdb", () => {
  let verifier: ForeignVerifier;

  beforeAll(async () => {
    verifier = await buildForeignVerifier();
  });

  afterAll(async () => {
    await verifier[Symbol.asyncDispose]();
  });

  /** How many of the questions were answered with yes. */
  function countAccepted(questions: readonly Question[]): number {
    return verifier.ask(questions).filter(({ accepted }) => accepted).length;
  }

  const key = encodeVerifierKey(signer.key);
  const askNote = (note: string | Uint8Array, ...keys: string[]) =>
    ({ ask: 'note', note: typeof note === 'string' ? encodeUtf8(note) : note, keys }) as const;

  test('opens our checkpoints and reads the text that we signed', () => {
    const sizes = [0, 1, 70, 256, 700];
    const answers = verifier.ask(sizes.map((size) => askNote(signedCheckpoint(size), key)));
    expect(answers).toEqual(
      sizes.map((size) =>
        expect.objectContaining({
          accepted: true,
          text: checkpointText(size),
          signers: [`${origin}+${signer.key.keyId}`],
        }),
      ),
    );
  });

  test('opens a checkpoint that two keys of a rotation and a witness signed, by either key and by both', () => {
    const text = checkpointText(700);
    const signatures = [signer.sign(text), next.sign(text), witness.cosign(text, 1_790_000_000)];
    const note = encodeNote({ text, signatures });
    const nextKey = encodeVerifierKey(next.key);
    const answers = verifier.ask([askNote(note, key), askNote(note, nextKey), askNote(note, key, nextKey)]);
    expect(answers.map(({ signers }) => signers?.length)).toEqual([1, 1, 2]);
  });

  test('refuses our checkpoint with any bit flipped, but for those of the spelling that it does not look at', () => {
    const note = encodeUtf8(signedCheckpoint(70));
    const questions = [...flipEachBit(note)].map(([, flipped]) => askNote(flipped, key));
    // Go reads base64 whose last two bits are not zero; ours refuses it. The line's last digit but '=' carries them.
    const accepted = verifier.ask(questions).flatMap(({ accepted: yes }, bit) => (yes ? [Math.floor(bit / 8)] : []));
    expect(new Set(accepted)).toEqual(new Set([note.length - 3]));
    expect(accepted.length).toBeLessThanOrEqual(3);
    expect(questions).toHaveLength(note.length * 8);
  });

  test('judges our golden notes as we do', () => {
    type NoteVector = { note: string; keys: string[] };
    // Those that tell a lone surrogate have no UTF-8; Go knows no keys of type 4.
    const isForGo = ([, { note, keys }]: [string, NoteVector]) =>
      note.isWellFormed() && keys.every((one) => one.split('+', 2)[0] !== witness.key.name);
    const valid = readVectors<NoteVector>('signed-note', 'valid').filter(isForGo);
    const invalid = readVectors<NoteVector>('signed-note', 'invalid').filter(isForGo);
    const ask = (vectors: [string, NoteVector][]) =>
      verifier
        .ask(vectors.map(([, { note, keys }]) => askNote(note, ...keys)))
        .flatMap(({ accepted }, place) => (accepted ? [vectors[place]![0]] : []));
    expect(ask(valid)).toEqual(valid.map(([name]) => name));
    // Go takes the first signature of a key and looks at no second one, and is laxer about base64.
    expect(ask(invalid)).toEqual(['base64 with stray bits', 'good and bad signature of one key']);
  });

  test('accepts our inclusion proofs', () => {
    const questions = leaves.map(([index, size]) => askRecord(index, size));
    expect(countAccepted(questions)).toBe(leaves.length);
  });

  test.each([
    [1, 2],
    [67, 70],
    [333, 700],
    [699, 700],
  ])('refuses leaf %p of %p with any bit flipped of proof, body or root', (index, size) => {
    const honest = askRecord(index, size);
    const flipped = [
      ...[...flipEachBitOfAll(honest.proof)].map((proof) => ({ ...honest, proof })),
      ...[...flipEachBit(honest.body)].map(([, body]) => ({ ...honest, body })),
      ...[...flipEachBit(honest.root)].map(([, root]) => ({ ...honest, root })),
    ];
    expect(countAccepted(flipped)).toBe(0);
  });

  test('accepts our consistency proofs', () => {
    expect(countAccepted(growths.map(([fromSize, toSize]) => askTree(fromSize, toSize)))).toBe(growths.length);
  });

  test.each([
    [6, 7],
    [64, 70],
    [333, 700],
  ])('refuses our consistency proof from %p to %p with any bit flipped of proof or roots', (fromSize, toSize) => {
    const honest = askTree(fromSize, toSize);
    const flipped = [
      ...[...flipEachBitOfAll(honest.proof)].map((proof) => ({ ...honest, proof })),
      ...[...flipEachBit(honest.root)].map(([, root]) => ({ ...honest, root })),
      ...[...flipEachBit(honest.fromRoot)].map(([, fromRoot]) => ({ ...honest, fromRoot })),
    ];
    expect(countAccepted(flipped)).toBe(0);
  });

  test.each([1, 255, 256, 257, 700, 70_000])('reads every leaf of a tree of %p from our tiles', (size) => {
    const source = size <= sizeMax ? tree : createSampleTree(size);
    const [answer] = verifier.ask([askTiles(source, size)]);
    expect(answer?.error).toBeUndefined();
    const hashes = source.leafHashes.slice(0, size).map((hash) => Buffer.from(hash).toString('base64'));
    expect(answer?.hashes).toEqual(hashes);
  });

  // The package verifies no full tile at sizes where it finds several of the root's subtrees in one tile (it counts
  // subtrees where it means tiles), so the sizes here have each of those in a tile of its own.
  test.each([1, 257, 512])('refuses our tiles of a tree of %p with one bit flipped in any hash of any tile', (size) => {
    const honest = askTiles(tree, size);
    const flipped = Object.entries(honest.tiles).flatMap(([path, bytes]) =>
      Array.from({ length: bytes.length / 32 }, (_, place) => ({
        ...honest,
        tiles: { ...honest.tiles, [path]: flipBit(bytes, place * 256 + ((place * 37) % 256)) },
      })),
    );
    expect(flipped.length).toBeGreaterThanOrEqual(size);
    expect(countAccepted([honest])).toBe(1);
    expect(countAccepted(flipped)).toBe(0);
  });

  test('refuses a flipped bit in tiles of three levels', () => {
    const size = 65_536 + 256 + 1;
    const honest = askTiles(createSampleTree(size), size);
    const paths = [
      ...['tile/0/000', 'tile/0/128', 'tile/0/256', 'tile/0/257.p/1'],
      ...['tile/1/000', 'tile/1/001.p/1', 'tile/2/000.p/1'],
    ];
    const flipped = paths.map((path) => ({
      ...honest,
      tiles: { ...honest.tiles, [path]: flipBit(honest.tiles[path]!, 100) },
    }));
    expect(countAccepted([honest])).toBe(1);
    expect(countAccepted(flipped)).toBe(0);
  });

  test('reads our golden paths as we do, after the height that its own carry', () => {
    type PathVector = { path: string; level: number; index: number; width: number };
    const vectors = readVectors<PathVector>('tile-path', 'valid').map(([, vector]) => vector);
    const answers = verifier.ask(vectors.map(({ path }) => ({ ask: 'path', path })));
    expect(answers.map(({ accepted, index, width }) => ({ accepted, index, width }))).toEqual(
      vectors.map(({ index, width }) => ({ accepted: true, index, width })),
    );
    // Records are level -1 to Go, and no level to the layout.
    expect(answers.map(({ level }) => Math.max(level, 0))).toEqual(vectors.map(({ level }) => level));
    expect(vectors.map(({ path }) => parseTilePath(path)?.index)).toEqual(vectors.map(({ index }) => index));
  });

  function askRecord(index: number, size: number) {
    const proof = tree.inclusionProof(index, size);
    return { ask: 'record' as const, proof, size, root: tree.root(size), index, body: tree.bodies[index]! };
  }

  function askTree(fromSize: number, toSize: number) {
    const proof = tree.consistencyProof(fromSize, toSize);
    const [root, fromRoot] = [tree.root(toSize), tree.root(fromSize)];
    return { ask: 'tree' as const, proof, size: toSize, root, index: fromSize, fromRoot };
  }

  function askTiles(source: typeof tree, size: number) {
    return { ask: 'tiles' as const, size, root: source.root(size), tiles: source.tiles(size) };
  }
});
