import { createPublicKey, hash, verify } from 'node:crypto';
import { concatBytes, decodeHex, encodeHex } from './bytes.js';

/**
 * The two primitives everything else rests on, as Node has them. Browsers get `digest.browser.ts` in place of this file
 * (package.json, `browser`); a test holds the two together.
 */

/**
 * SHA-256. A proof or a verification spends its time here: the one-shot form that answers in text is five times as fast
 * as one that allocates a Buffer outside of the heap.
 */
export function sha256(bytes: Uint8Array): Uint8Array {
  const text = hash('sha256', bytes, 'binary');
  const digest = new Uint8Array(32);
  for (let place = 0; place < digest.length; place += 1) digest[place] = text.charCodeAt(place);
  return digest;
}

/**
 * Whether `signature` (64 bytes) of `message` is by `publicKey` (32 bytes), as RFC 8032 §5.1.7 has it without the
 * cofactor: false for anything malformed, never a throw.
 */
export function verifyEd25519(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64 || isWeakKey(publicKey)) return false;
  const key = createPublicKey({
    key: Buffer.from(concatBytes(keyInfoPrefix, publicKey)),
    format: 'der',
    type: 'spki',
  });
  return verify(null, message, key, signature);
}

/** RFC 8410: what stands before the 32 bytes of the key in a SubjectPublicKeyInfo. */
const keyInfoPrefix = decodeHex('302a300506032b6570032100');

/**
 * The y of the points whose order divides 8, little-endian: under such a key one signature fits every message, and
 * OpenSSL takes it. (0, 1 and −1; the last two belong to the four points of order 8.)
 */
const smallOrderPoints = new Set([
  `00${'00'.repeat(31)}`,
  `01${'00'.repeat(31)}`,
  `ec${'ff'.repeat(30)}7f`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
]);

/** A key of small order, or one written as y ≥ 2^255 − 19, which RFC 8032 §5.1.3 refuses and OpenSSL reduces. */
function isWeakKey(publicKey: Uint8Array): boolean {
  const y = Uint8Array.from(publicKey);
  y[31] = (y[31] ?? 0) & 0x7f;
  const hex = encodeHex(y);
  return smallOrderPoints.has(hex) || (hex.endsWith(`${'ff'.repeat(30)}7f`) && hex >= 'ed');
}
