/** Every copy of `bytes` with exactly one bit changed, with the number of that bit. */
export function* flipEachBit(bytes: Uint8Array): Generator<[bit: number, flipped: Uint8Array]> {
  for (let bit = 0; bit < bytes.length * 8; bit += 1) {
    yield [bit, flipBit(bytes, bit)];
  }
}

/** A copy with one bit changed. */
export function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const flipped = Uint8Array.from(bytes);
  flipped[Math.floor(bit / 8)]! ^= 1 << (bit % 8);
  return flipped;
}

/** Every list of hashes that has one bit of one hash changed. */
export function* flipEachBitOfAll(hashes: readonly Uint8Array[]): Generator<Uint8Array[]> {
  for (const [place, hash] of hashes.entries()) {
    for (const [, flipped] of flipEachBit(hash)) yield hashes.with(place, flipped);
  }
}
