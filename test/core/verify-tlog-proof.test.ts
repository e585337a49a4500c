import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { verifyEntry } from '../../src/client/verify-entry.js';
import { decodeUtf8, encodeUtf8 } from '../../src/core/bytes.js';
import { parseNote } from '../../src/core/signed-note.js';
import { encodeVerifierKey } from '../../src/core/verifier-key.js';
import { verifyTlogProof, type TlogProofVerdict } from '../../src/core/verify-tlog-proof.js';
import { flipBit } from '../support/flip-bits.js';
import { createNoteSigner } from '../support/note-signer.js';
import { cosign, cosignedSeconds, proofFile, sampleBodies, signHead, signText } from '../support/static-layout.js';

const origin = 'daybook.test/audit';
const signer = createNoteSigner(origin, 1);
const witness = createNoteSigner('witness.test', 2);
const bodies = sampleBodies(300);
const proof = proofFile(signer, bodies, 257);
const body = decodeUtf8(bodies[257]!);
const checkpoint = signHead(signer, bodies);
const witnessed = proof.replace(checkpoint, cosign(witness, checkpoint, cosignedSeconds));
const keys = [signer.key];

function codeOf(verdict: TlogProofVerdict): string {
  return verdict.valid ? 'valid' : verdict.code;
}

test('an entry is proven at every index of trees of many sizes', () => {
  for (const size of [1, 2, 3, 7, 8, 9, 33]) {
    const some = bodies.slice(0, size);
    for (const [index, each] of some.entries()) {
      const verdict = verifyTlogProof({ proof: proofFile(signer, some, index), body: each, keys });
      expect(verdict).toMatchObject({ valid: true, index, size, origin, signer: 'verified', signedBy: keys });
    }
  }
});

test('the body can be given as text or as its bytes', () => {
  expect(verifyTlogProof({ proof, body: encodeUtf8(body), keys })).toEqual(verifyTlogProof({ proof, body, keys }));
});

describe('a proof is refused', () => {
  test.each([
    ['for another body', { body: bodies[256]! }, 'NOT_INCLUDED'],
    ['for a body with a line break behind it', { body: `${body}\n` }, 'NOT_INCLUDED'],
    ['for a text that has no UTF-8', { body: '\ud800' }, 'PROOF_MALFORMED'],
    ['at another index', { proof: proof.replace('index 257', 'index 258') }, 'NOT_INCLUDED'],
    ['at an index beyond the tree', { proof: proof.replace('index 257', 'index 300') }, 'NOT_INCLUDED'],
    ['without one of its hashes', { proof: proof.replace(/(index \d+\n)[^\n]+\n/, '$1') }, 'NOT_INCLUDED'],
    ['with one hash too many', { proof: proof.replace(/(index \d+\n)([^\n]+\n)/, '$1$2$2') }, 'NOT_INCLUDED'],
    ['that is another file', { proof: 'index 257' }, 'PROOF_MALFORMED'],
    ['of another log than expected', { origin: 'daybook.test/signals' }, 'CHECKPOINT_MALFORMED'],
    [
      'when only a key of another log is pinned',
      { keys: [createNoteSigner('daybook.test/signals', 3).key] },
      'UNKNOWN_KEY',
    ],
    ['when only another key of this log is pinned', { keys: [createNoteSigner(origin, 3).key] }, 'UNKNOWN_KEY'],
  ])('%s', (_, changes, code) => {
    expect(codeOf(verifyTlogProof({ proof, body, keys, ...changes }))).toBe(code);
  });

  test('under a head that a key of another log signed, though that key is pinned too', () => {
    const other = createNoteSigner('daybook.test/signals', 3);
    const passedOff = proof.replace(checkpoint, signText(other, parseNote(checkpoint).text));
    expect(codeOf(verifyTlogProof({ proof: passedOff, body, keys: [signer.key, other.key] }))).toBe('UNKNOWN_KEY');
  });

  test('when its signature was changed', () => {
    const changed = proof.replace(/.....\n$/, (end) => (end.startsWith('A') ? 'B' : 'A') + end.slice(1));
    expect(codeOf(verifyTlogProof({ proof: changed, body, keys }))).toBe('BAD_SIGNATURE');
  });

  test('whichever bit of body or proof is flipped', () => {
    const files = { body: encodeUtf8(body), proof: encodeUtf8(proof) };
    const place = fc
      .constantFrom('body' as const, 'proof' as const)
      .chain((name) => fc.tuple(fc.constant(name), fc.nat(files[name].length * 8 - 1)));
    fc.assert(
      fc.property(place, ([name, bit]) => {
        const flipped = { ...files, [name]: flipBit(files[name], bit) };
        const text = Buffer.from(flipped.proof).toString('utf8');
        expect(verifyTlogProof({ proof: text, body: flipped.body, keys }).valid).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('whose word is taken', () => {
  test('without a key of the log the proof holds, but the signer is said to be unknown', () => {
    expect(verifyTlogProof({ proof, body, keys: [] })).toMatchObject({ valid: true, signer: 'not-pinned' });
    expect(verifyTlogProof({ proof, body, keys: [witness.witnessKey] })).toMatchObject({
      valid: true,
      signer: 'not-pinned',
    });
  });

  test('signatures of keys that are not pinned are ignored', () => {
    expect(verifyTlogProof({ proof: witnessed, body, keys })).toMatchObject({ valid: true, cosigners: [] });
  });

  test('a pinned witness is named with the time it gave', () => {
    expect(verifyTlogProof({ proof: witnessed, body, keys: [signer.key, witness.witnessKey] })).toMatchObject({
      valid: true,
      cosigners: [{ key: witness.witnessKey, seconds: cosignedSeconds }],
    });
  });

  test('a bad cosignature of a pinned witness refuses the proof', () => {
    const ofAnotherHead = cosign(witness, signHead(signer, bodies.slice(1)), cosignedSeconds);
    const line = ofAnotherHead.trimEnd().split('\n').at(-1)!;
    const forged = proof.replace(checkpoint, `${checkpoint}${line}\n`);
    expect(codeOf(verifyTlogProof({ proof: forged, body, keys: [signer.key, witness.witnessKey] }))).toBe(
      'BAD_SIGNATURE',
    );
  });
});

describe('the client library', () => {
  const options = { body, tlogProof: proof, verifierKeys: [encodeVerifierKey(signer.key)] };

  test('accepts an entry of the log and tells where it stands', () => {
    expect(verifyEntry({ ...options, origin })).toMatchObject({ valid: true, origin, index: 257, treeSize: 300 });
  });

  test('accepts nothing without a pinned key of the log', () => {
    const refused = { valid: false, code: 'UNKNOWN_KEY' };
    expect(verifyEntry({ ...options, verifierKeys: [] })).toMatchObject(refused);
    expect(verifyEntry({ ...options, verifierKeys: [encodeVerifierKey(witness.witnessKey)] })).toMatchObject(refused);
  });

  test('takes a verifier key that is none for a mistake of the caller', () => {
    expect(() => verifyEntry({ ...options, verifierKeys: ['no key'] })).toThrow(
      expect.objectContaining({ name: 'SyntaxError' }),
    );
  });
});
