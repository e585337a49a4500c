import { describe, expect, test } from '@jest/globals';
import { decodeHex, decodeUtf8, encodeUtf8 } from '../../src/core/bytes.js';
import { encodeCheckpoint, parseCheckpoint } from '../../src/core/checkpoint.js';
import { verifyInclusion } from '../../src/core/inclusion-proof.js';
import { hashLeafBytes } from '../../src/core/merkle-tree.js';
import { encodeNote, parseNote, verifyNote } from '../../src/core/signed-note.js';
import { encodeTlogProof, parseTlogProof } from '../../src/core/tlog-proof.js';
import { encodeVerifierKey, parseVerifierKey } from '../../src/core/verifier-key.js';
import { flipEachBit } from '../support/flip-bits.js';
import { createNoteSigner } from '../support/note-signer.js';
import { readVectors } from '../support/read-vectors.js';
import { createSampleTree } from '../support/sample-tree.js';

interface ProofVector {
  readonly text: string;
  readonly key: string;
  /** The entry it is said to prove. */
  readonly body: string;
}

/** What somebody does who has the file, the entry and a pinned key. Throws SyntaxError for a malformed file. */
function judge({ text, key, body }: ProofVector): string {
  const { index, hashes, checkpoint } = parseTlogProof(text);
  const note = parseNote(checkpoint);
  const verdict = verifyNote(note, [parseVerifierKey(key)]);
  if (verdict.status !== 'verified') return verdict.status;
  const { size, root } = parseCheckpoint(note.text);
  const leafHash = hashLeafBytes(encodeUtf8(body));
  return verifyInclusion({ leafHash, index, size, proof: hashes, root }) ? 'included' : 'not included';
}

describe('a proof as a file', () => {
  test.each(readVectors<ProofVector & { index: number; extra?: string }>('tlog-proof', 'valid'))(
    'is read, verified and written back: %s',
    (_, vector) => {
      const proof = parseTlogProof(vector.text);
      expect(proof.index).toBe(vector.index);
      expect(proof.extra).toEqual(vector.extra === undefined ? undefined : decodeHex(vector.extra));
      expect(encodeTlogProof(proof)).toBe(vector.text);
      expect(judge(vector)).toBe('included');
    },
  );

  test.each(readVectors<ProofVector & { refusal: string }>('tlog-proof', 'invalid'))('is refused: %s', (_, vector) => {
    if (vector.refusal === 'SyntaxError') expect(() => judge(vector)).toThrow(SyntaxError);
    else expect(judge(vector)).toBe(vector.refusal);
  });

  const tree = createSampleTree(300);
  const signer = createNoteSigner('log.example/audit', 8);

  function prove(index: number, size: number): ProofVector {
    const text = encodeCheckpoint({ origin: 'log.example/audit', size, root: tree.root(size), extensions: [] });
    const checkpoint = encodeNote({ text, signatures: [signer.sign(text)] });
    return {
      text: encodeTlogProof({ index, hashes: tree.inclusionProof(index, size), checkpoint }),
      key: encodeVerifierKey(signer.key),
      body: decodeUtf8(tree.bodies[index]!),
    };
  }

  test('is verified for leaves of trees up to 300', () => {
    for (let size = 1; size <= 300; size += 7) {
      for (const index of new Set([0, Math.floor(size / 2), size - 1]))
        expect(judge(prove(index, size))).toBe('included');
    }
  });

  test.each([
    [0, 1],
    [0, 2],
    [67, 70],
    [299, 300],
  ])('of leaf %p of %p is refused with any bit flipped of file or entry', (index, size) => {
    const vector = prove(index, size);
    for (const [, flipped] of flipEachBit(encodeUtf8(vector.text))) {
      expect(judgeBytes(flipped, vector)).not.toBe('included');
    }
    for (const [, flipped] of flipEachBit(encodeUtf8(vector.body))) {
      expect(judge({ ...vector, body: Buffer.from(flipped).toString('latin1') })).toBe('not included');
    }
  });

  test.each([
    ['an index below zero', { index: -1 }],
    ['an index that is no integer', { index: 0.5 }],
    ['a hash of 31 bytes', { hashes: [new Uint8Array(31)] }],
    ['54 hashes', { hashes: Array.from({ length: 54 }, () => new Uint8Array(32)) }],
    ['a checkpoint that is no note', { checkpoint: 'text\n' }],
    ['empty extra data', { extra: new Uint8Array() }],
  ])('is not written with %s', (_, changes) => {
    const proof = parseTlogProof(prove(67, 70).text);
    expect(() => encodeTlogProof({ ...proof, ...changes })).toThrow(SyntaxError);
  });
});

function judgeBytes(bytes: Uint8Array, vector: ProofVector): string {
  try {
    return judge({ ...vector, text: decodeUtf8(bytes) });
  } catch (err) {
    if (err instanceof SyntaxError) return 'malformed';
    throw err;
  }
}
