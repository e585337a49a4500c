import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { ed25519 } from '@noble/curves/ed25519.js';
import fc from 'fast-check';
import { concatBytes, decodeHex, encodeHex, encodeUtf8 } from '../../src/core/bytes.js';
import * as browser from '../../src/core/digest.browser.js';
import * as node from '../../src/core/digest.js';
import { flipEachBit } from '../support/flip-bits.js';
import { createNoteSigner } from '../support/note-signer.js';
import { readVectors } from '../support/read-vectors.js';

interface SignatureVector {
  readonly publicKey: string;
  readonly message: string;
  readonly signature: string;
}

const twins = [
  ['Node', node],
  ['browsers', browser],
] as const;

const bytes = fc.uint8Array({ maxLength: 200 });
const text = fc.string({ unit: 'grapheme', maxLength: 50 });

test('both twins have the same functions', () => {
  expect(Object.keys(browser).sort()).toEqual(Object.keys(node).sort());
});

test.each(twins)('in %s SHA-256 is that of OpenSSL, in bytes of its own', (_, digest) => {
  fc.assert(
    fc.property(bytes, (value) => {
      const hash = digest.sha256(value);
      expect(encodeHex(hash)).toBe(createHash('sha256').update(value).digest('hex'));
      expect(hash.constructor).toBe(Uint8Array);
    }),
  );
  expect(encodeHex(digest.sha256(encodeUtf8('abc')))).toBe(
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
  );
});

describe.each(twins)('in %s a signature', (_, { verifyEd25519 }) => {
  const verify = ({ publicKey, message, signature }: SignatureVector) =>
    verifyEd25519(decodeHex(publicKey), decodeHex(message), decodeHex(signature));

  test.each(readVectors<SignatureVector>('ed25519', 'valid'))('is accepted: %s', (_case, vector) => {
    expect(verify(vector)).toBe(true);
  });

  test.each(readVectors<SignatureVector>('ed25519', 'invalid'))('is refused: %s', (_case, vector) => {
    expect(verify(vector)).toBe(false);
  });

  test('is refused with any bit flipped of key, message or signature', () => {
    const [, vector] = readVectors<SignatureVector>('ed25519', 'valid')[2]!;
    const [publicKey, message, signature] = [vector.publicKey, vector.message, vector.signature].map(decodeHex) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    for (const [, flipped] of flipEachBit(publicKey)) expect(verifyEd25519(flipped, message, signature)).toBe(false);
    for (const [, flipped] of flipEachBit(message)) expect(verifyEd25519(publicKey, flipped, signature)).toBe(false);
    for (const [, flipped] of flipEachBit(signature)) expect(verifyEd25519(publicKey, message, flipped)).toBe(false);
  });
});

describe('both twins', () => {
  test('accept what node:crypto signs, and nothing else', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 255 }), text, text, (seed, message, other) => {
        const signer = createNoteSigner('signer', seed);
        const { signature } = signer.sign(message);
        for (const [, { verifyEd25519 }] of twins) {
          expect(verifyEd25519(signer.key.publicKey, encodeUtf8(message), signature)).toBe(true);
          expect(verifyEd25519(signer.key.publicKey, encodeUtf8(other), signature)).toBe(other === message);
        }
      }),
    );
  });

  test('agree on bytes of any kind, and throw on none', () => {
    const anyKey = fc.oneof(fc.uint8Array({ minLength: 32, maxLength: 32 }), bytes);
    const anySignature = fc.oneof(fc.uint8Array({ minLength: 64, maxLength: 64 }), bytes);
    fc.assert(
      fc.property(anyKey, bytes, anySignature, (publicKey, message, signature) => {
        expect(node.verifyEd25519(publicKey, message, signature)).toBe(false);
        expect(browser.verifyEd25519(publicKey, message, signature)).toBe(false);
      }),
    );
  });

  test('differ only on a key with a part of small order: Node may accept it, browsers never do', () => {
    const smallOrder = ed25519.Point.fromHex('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05');
    const { scalar } = ed25519.utils.getExtendedPublicKey(new Uint8Array(32).fill(7));
    const publicKey = ed25519.Point.BASE.multiply(scalar).add(smallOrder).toBytes();
    const nonce = 123_456_789n;
    const noncePoint = ed25519.Point.BASE.multiply(nonce).toBytes();
    const accepted = new Map<boolean, number>();
    for (let place = 0; place < 40; place += 1) {
      const message = encodeUtf8(`message ${place}`);
      const challenge = littleEndian(
        createHash('sha512').update(noncePoint).update(publicKey).update(message).digest(),
      );
      const response = ed25519.Point.Fn.create(nonce + challenge * scalar);
      const signature = concatBytes(noncePoint, ed25519.Point.Fn.toBytes(response));
      const byNode = node.verifyEd25519(publicKey, message, signature);
      expect(byNode).toBe((challenge % ed25519.Point.Fn.ORDER) % 8n === 0n);
      expect(browser.verifyEd25519(publicKey, message, signature)).toBe(false);
      accepted.set(byNode, (accepted.get(byNode) ?? 0) + 1);
    }
    expect(accepted.get(true)).toBeGreaterThan(0);
  });
});

function littleEndian(value: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(value).reverse().toString('hex')}`);
}
