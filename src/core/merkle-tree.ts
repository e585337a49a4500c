import { concatBytes } from './bytes.js';
import { sha256 } from './digest.js';

/**
 * The Merkle tree of RFC 6962 §2.1 over SHA-256, computed from perfect subtrees: those never change once they are full,
 * so they alone are worth storing. Sizes and indexes are safe integers; bit operators would cut them to 32 bits.
 */

/** 32 bytes. */
export type Hash = Uint8Array;

const hashBytes = 32;

/** The perfect subtree over leaves [index·2^level, (index+1)·2^level). */
export interface TreeNode {
  readonly level: number;
  readonly index: number;
}

const leafPrefix = Uint8Array.of(0x00);

/** 0x01 ‖ left ‖ right, written anew for each node: an array of this size would be allocated outside of the heap. */
const nodeInput = Uint8Array.of(0x01, ...new Uint8Array(2 * hashBytes));

/** Root of the tree without leaves: SHA-256 of nothing. */
export const emptyRoot: Hash = sha256(new Uint8Array());

/** SHA-256(0x00 ‖ body). */
export function hashLeafBytes(body: Uint8Array): Hash {
  return sha256(concatBytes(leafPrefix, body));
}

/** SHA-256(0x01 ‖ left ‖ right). Throws RangeError for anything but two hashes. */
export function hashNode(left: Hash, right: Hash): Hash {
  if (left.length !== hashBytes || right.length !== hashBytes)
    throw new RangeError('a node has two hashes of 32 bytes');
  nodeInput.set(left, 1);
  nodeInput.set(right, 1 + hashBytes);
  return sha256(nodeInput);
}

/**
 * The largest perfect subtrees that cover leaves [begin, end), left to right. Where begin is 0, or where the recursion
 * of RFC 6962 splits a tree, folding their hashes gives the Merkle tree hash of the range. Throws RangeError for a range
 * that is none.
 */
export function decompose(begin: number, end: number): TreeNode[] {
  if (!isTreeSize(begin) || !isTreeSize(end) || begin > end) throw new RangeError(`no leaves ${begin} to ${end}`);
  const nodes: TreeNode[] = [];
  for (let first = begin; first < end;) {
    let [level, width] = [0, 1];
    while (first % (width * 2) === 0 && width * 2 <= end - first) {
      level += 1;
      width *= 2;
    }
    nodes.push({ level, index: first / width });
    first += width;
  }
  return nodes;
}

/**
 * Merkle tree hash of the leaves under perfect subtrees, each smaller than the one before it, as decompose gives them;
 * emptyRoot for none. For subtrees of one size, as in a tile, hashSubtree.
 */
export function foldNodes(hashes: readonly Hash[]): Hash {
  if (hashes.length === 0) return emptyRoot;
  return hashes.reduceRight((right, left) => hashNode(left, right));
}

/** The largest power of two below `size`, where RFC 6962 splits a tree; size is at least 2. */
export function splitPoint(size: number): number {
  let width = 1;
  while (width * 2 < size) width *= 2;
  return width;
}

/** Whether a number can be the size of a tree or the index of a leaf. */
export function isTreeSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** Whether each of these has the length of a hash; what hostile data may get wrong. */
export function areHashes(hashes: readonly Uint8Array[]): boolean {
  return hashes.every((hash) => hash.length === hashBytes);
}

/** The right edge of a growing tree: the hashes of its perfect subtrees, O(log n) of them. Owned by one caller. */
export class CompactRange {
  #size: number;
  readonly #hashes: Hash[];

  /** Starts from `size` leaves whose perfect subtrees, `decompose(0, size)`, have `hashes`. Throws RangeError if those do not fit. */
  constructor(size = 0, hashes: readonly Hash[] = []) {
    if (decompose(0, size).length !== hashes.length || !areHashes(hashes)) {
      throw new RangeError(`a tree of ${size} leaves does not have these ${hashes.length} perfect subtrees`);
    }
    this.#size = size;
    this.#hashes = [...hashes];
  }

  get size(): number {
    return this.#size;
  }

  /** Of `decompose(0, size)`, left to right; a copy. */
  get hashes(): readonly Hash[] {
    return [...this.#hashes];
  }

  append(leafHash: Hash): void {
    this.appendSubtree(0, leafHash);
  }

  /** Appends a perfect subtree of 2^level leaves. Throws RangeError where none can stand: the size must be a multiple of 2^level. */
  appendSubtree(level: number, hash: Hash): void {
    const width = 2 ** level;
    if (!isTreeSize(level) || !isTreeSize(this.#size + width) || this.#size % width !== 0 || !areHashes([hash])) {
      throw new RangeError(`no subtree of level ${level} can follow ${this.#size} leaves`);
    }
    let merged = hash;
    for (let index = this.#size / width; index % 2 === 1; index = (index - 1) / 2) {
      const left = this.#hashes.pop();
      if (left === undefined) throw new RangeError('a perfect subtree is missing');
      merged = hashNode(left, merged);
    }
    this.#hashes.push(merged);
    this.#size += width;
  }

  /** Merkle tree hash of all leaves so far. */
  root(): Hash {
    return foldNodes(this.#hashes);
  }
}

/** Hash of the perfect subtree over 2^n neighbours of one level, left to right, such as a tile holds. Throws RangeError for another number. */
export function hashSubtree(hashes: readonly Hash[]): Hash {
  if (decompose(0, hashes.length).length !== 1) throw new RangeError(`${hashes.length} nodes make no perfect subtree`);
  const range = new CompactRange();
  for (const hash of hashes) range.append(hash);
  return range.root();
}
