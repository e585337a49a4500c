import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeHex, decodeUtf8, encodeUtf8 } from '../../src/core/bytes.js';
import { cosignedMessage, verifyCosignature } from '../../src/core/cosignature.js';
import type { NoteSignature } from '../../src/core/signed-note.js';
import { parseVerifierKey } from '../../src/core/verifier-key.js';
import { flipEachBit } from '../support/flip-bits.js';
import { createNoteSigner } from '../support/note-signer.js';
import { readVectors } from '../support/read-vectors.js';

interface CosignatureVector {
  readonly text: string;
  readonly signature: { readonly name: string; readonly keyId: string; readonly signature: string };
  readonly key: string;
}

function verify({ text, signature, key }: CosignatureVector): { seconds: number } | null {
  return verifyCosignature(text, { ...signature, signature: decodeHex(signature.signature) }, parseVerifierKey(key));
}

const witness = createNoteSigner('witness.example/w1', 3);

describe('a cosignature', () => {
  test.each(readVectors<CosignatureVector & { seconds: number }>('cosignature', 'valid'))(
    'is verified and tells its time: %s',
    (_, vector) => {
      expect(verify(vector)).toEqual({ seconds: vector.seconds });
    },
  );

  test.each(readVectors<CosignatureVector>('cosignature', 'invalid'))('is refused: %s', (_, vector) => {
    expect(verify(vector)).toBeNull();
  });

  test('covers header, time and text', () => {
    expect(decodeUtf8(cosignedMessage('log\n1\nroot\n', 1_679_315_147))).toBe(
      'cosignature/v1\ntime 1679315147\nlog\n1\nroot\n',
    );
  });

  test('of any text at any time is verified', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.maxSafeNat(), (text, seconds) => {
        const signature = witness.cosign(text, seconds);
        expect(verifyCosignature(text, signature, witness.witnessKey)).toEqual({ seconds });
      }),
    );
  });

  test('is refused with any bit flipped of its bytes, its name, the text or the key', () => {
    const text = 'log.example/signals\n70\nkxxgLn1cjwHD8LNA7wWPwdoO4S4xI+0ZOz2cbeYYN38=\n';
    const key = witness.witnessKey;
    const line = witness.cosign(text, 1_790_000_000);
    const refuse = (changed: Partial<NoteSignature>) =>
      expect(verifyCosignature(text, { ...line, ...changed }, key)).toBeNull();
    for (const [, signature] of flipEachBit(line.signature)) refuse({ signature });
    for (const [, name] of flipEachBit(encodeUtf8(line.name))) refuse({ name: Buffer.from(name).toString('latin1') });
    for (const [, keyId] of flipEachBit(decodeHex(line.keyId))) refuse({ keyId: Buffer.from(keyId).toString('hex') });
    for (const [, flipped] of flipEachBit(encodeUtf8(text))) {
      expect(verifyCosignature(Buffer.from(flipped).toString('latin1'), line, key)).toBeNull();
    }
    for (const [, publicKey] of flipEachBit(key.publicKey)) {
      expect(verifyCosignature(text, line, { ...key, publicKey })).toBeNull();
    }
  });

  test('under bytes that are part of a larger buffer is verified', () => {
    const line = witness.cosign('text\n', 5);
    const larger = new Uint8Array(100);
    larger.set(line.signature, 13);
    const signature = larger.subarray(13, 13 + line.signature.length);
    expect(verifyCosignature('text\n', { ...line, signature }, witness.witnessKey)).toEqual({ seconds: 5 });
  });

  test('of a text that has no UTF-8 is refused without a throw', () => {
    expect(verifyCosignature('\ud800\n', witness.cosign('text\n', 5), witness.witnessKey)).toBeNull();
  });

  test.each([-1, 0.5, 2 ** 53, Number.NaN])('has no message for the time %p', (seconds) => {
    expect(() => cosignedMessage('text\n', seconds)).toThrow(SyntaxError);
  });
});
