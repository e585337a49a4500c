import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256 as hash } from '@noble/hashes/sha2.js';

/** `digest.ts` for browsers, which have no synchronous SHA-256 of their own. Same names, same answers. */

/** SHA-256. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return hash(bytes);
}

/**
 * As in `digest.ts`. noble checks RFC 8032's equation times the cofactor 8, OpenSSL without it; the two agree wherever
 * neither point has a part of small order, so such points are refused here. What is left: a key that holds such a part
 * (none made as RFC 8032 says does) is always refused here, while OpenSSL may accept a signature by it.
 */
export function verifyEd25519(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  if (!ed25519.verify(signature, message, publicKey, { zip215: false })) return false;
  return [publicKey, signature.subarray(0, 32)].every((point) => ed25519.Point.fromBytes(point).isTorsionFree());
}
