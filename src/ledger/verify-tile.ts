import { hash } from 'node:crypto';
import { tileWidth } from '../core/tile-path.js';

const hashBytes = 32;
const nodePrefix = 0x01;

/**
 * The 256 leaves of one tile and every perfect subtree above them, one byte range: verification hashes each node once, as
 * its last leaf comes in. The same tree as src/core/merkle-tree.ts, without an object a hash: a log of a million entries
 * has a million nodes.
 */
export class TileHasher {
  /** Level l begins at node 512 − 512 / 2^l: 256 leaves, then 128 nodes, and so on to the root. */
  readonly #nodes = Buffer.alloc((2 * tileWidth - 1) * hashBytes);
  readonly #input = Buffer.alloc(1 + 2 * hashBytes, nodePrefix);
  readonly #present = new Uint8Array(tileWidth);
  #width = 0;

  /** Leaves from the first on without a gap: what hashes of subtrees are known of. */
  get width(): number {
    return this.#width;
  }

  clear(): void {
    this.#present.fill(0);
    this.#width = 0;
  }

  /** Takes the leaf hash (hex) of place 0…255. The first one given for a place stays. */
  set(place: number, leafHash: string): void {
    if (this.#present[place] !== 0) return;
    this.#present[place] = 1;
    this.#nodes.write(leafHash, place * hashBytes, hashBytes, 'hex');
    if (place !== this.#width) return;
    this.#width += 1;
    let index = place;
    for (let level = 0; index % 2 === 1; level += 1) {
      index = (index - 1) / 2;
      this.#nodes.copy(this.#input, 1, nodeStart(level, index * 2), nodeStart(level, index * 2 + 2));
      this.#nodes.write(hash('sha256', this.#input, 'binary'), nodeStart(level + 1, index), hashBytes, 'latin1');
    }
  }

  /** Merkle tree hash (hex) of the first `width` leaves, 1…256; null where one of them is missing. */
  root(width: number): string | null {
    if (width < 1 || width > this.#width) return null;
    let right: string | null = null;
    // From the smallest perfect subtree, the rightmost, to the largest.
    for (let level = 0; 2 ** level <= width; level += 1) {
      const index = Math.floor(width / 2 ** level) - 1;
      if (index % 2 === 1) continue;
      const start = nodeStart(level, index);
      if (right === null) {
        right = this.#nodes.toString('latin1', start, start + hashBytes);
        continue;
      }
      this.#nodes.copy(this.#input, 1, start, start + hashBytes);
      this.#input.write(right, 1 + hashBytes, hashBytes, 'latin1');
      right = hash('sha256', this.#input, 'binary');
    }
    return right === null ? null : Buffer.from(right, 'latin1').toString('hex');
  }

  /** The lowest place whose leaf is here and differs from that of `stored`, 256 hashes as hex; null where none does. */
  firstDifference(stored: string): number | null {
    const bytes = tileWidth * hashBytes;
    if (this.#width === tileWidth && this.#nodes.toString('hex', 0, bytes) === stored) return null;
    for (let place = 0; place < tileWidth; place += 1) {
      if (this.#present[place] === 0) continue;
      const leaf = this.#nodes.toString('hex', place * hashBytes, (place + 1) * hashBytes);
      if (leaf !== stored.slice(place * hashBytes * 2, (place + 1) * hashBytes * 2)) return place;
    }
    return stored.length === bytes * 2 ? null : 0;
  }
}

function nodeStart(level: number, index: number): number {
  return (2 * tileWidth - (2 * tileWidth) / 2 ** level + index) * hashBytes;
}
