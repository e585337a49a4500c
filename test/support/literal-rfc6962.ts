import { createHash } from 'node:crypto';

/**
 * RFC 6962 §2.1, definition by definition, over the list of all entries: as slow as it is plain, and the oracle of
 * what `src/core` computes from perfect subtrees. It shares no code with it.
 */

function HASH(...parts: readonly Uint8Array[]): Uint8Array {
  const digest = createHash('sha256');
  for (const part of parts) digest.update(part);
  return Uint8Array.from(digest.digest());
}

/** "the largest power of two smaller than n (i.e., k < n <= 2k)" */
function largestPowerOfTwoBelow(n: number): number {
  let k = 1;
  while (2 * k < n) k = 2 * k;
  return k;
}

/** §2.1, the Merkle Tree Hash. */
export function MTH(D: readonly Uint8Array[]): Uint8Array {
  const n = D.length;
  if (n === 0) return HASH();
  if (n === 1) return HASH(Uint8Array.of(0x00), D[0]!);
  const k = largestPowerOfTwoBelow(n);
  return HASH(Uint8Array.of(0x01), MTH(D.slice(0, k)), MTH(D.slice(k, n)));
}

/** §2.1.1, the Merkle audit path of entry m. */
export function PATH(m: number, D: readonly Uint8Array[]): Uint8Array[] {
  const n = D.length;
  if (n === 1) return [];
  const k = largestPowerOfTwoBelow(n);
  if (m < k) return [...PATH(m, D.slice(0, k)), MTH(D.slice(k, n))];
  return [...PATH(m - k, D.slice(k, n)), MTH(D.slice(0, k))];
}

/** §2.1.2, the consistency proof of the first m entries. */
export function PROOF(m: number, D: readonly Uint8Array[]): Uint8Array[] {
  return SUBPROOF(m, D, true);
}

function SUBPROOF(m: number, D: readonly Uint8Array[], b: boolean): Uint8Array[] {
  const n = D.length;
  if (m === n) return b ? [] : [MTH(D)];
  const k = largestPowerOfTwoBelow(n);
  if (m <= k) return [...SUBPROOF(m, D.slice(0, k), b), MTH(D.slice(k, n))];
  return [...SUBPROOF(m - k, D.slice(k, n), false), MTH(D.slice(0, k))];
}
