import { equalBytes } from './bytes.js';
import {
  areHashes,
  decompose,
  emptyRoot,
  hashNode,
  isTreeSize,
  splitPoint,
  type Hash,
  type TreeNode,
} from './merkle-tree.js';

/** Consistency proofs: that a tree only grew (RFC 9162 §2.1.4). */

/**
 * Which perfect subtrees make each hash of the proof that the first `fromSize` leaves of a tree of `toSize` leaves are
 * the earlier tree: one group a hash, deepest first; the hash is `foldNodes` of the group's hashes. Empty for the empty
 * tree and for equal sizes. Throws RangeError where the tree shrank.
 */
export function consistencyProofNodes(fromSize: number, toSize: number): TreeNode[][] {
  if (!isTreeSize(fromSize) || !isTreeSize(toSize) || fromSize > toSize) {
    throw new RangeError(`a tree of ${fromSize} leaves does not grow to ${toSize}`);
  }
  if (fromSize === 0) return [];
  const groups: TreeNode[][] = [];
  let [begin, end] = [0, toSize];
  while (end !== fromSize) {
    const middle = begin + splitPoint(end - begin);
    if (fromSize <= middle) {
      groups.push(decompose(middle, end));
      end = middle;
    } else {
      groups.push(decompose(begin, middle));
      begin = middle;
    }
  }
  // Whoever checks has the earlier root itself; only a part of the earlier tree must be told.
  if (begin !== 0) groups.push(decompose(begin, end));
  return groups.reverse();
}

/**
 * Whether `proof` shows that the tree of `toSize` leaves begins with that of `fromSize` leaves (RFC 9162 §2.1.4.2).
 * Every tree begins with the empty one, and equal sizes need equal roots; both take no proof but an empty one. Never throws.
 */
export function verifyConsistency(input: {
  readonly fromSize: number;
  readonly fromRoot: Hash;
  readonly toSize: number;
  readonly toRoot: Hash;
  readonly proof: readonly Hash[];
}): boolean {
  const { fromSize, fromRoot, toSize, toRoot, proof } = input;
  if (!isTreeSize(fromSize) || !isTreeSize(toSize) || fromSize > toSize) return false;
  if (!areHashes([fromRoot, toRoot]) || !areHashes(proof)) return false;
  if (fromSize === 0 && !equalBytes(fromRoot, emptyRoot)) return false;
  if (fromSize === toSize) return proof.length === 0 && equalBytes(fromRoot, toRoot);
  if (fromSize === 0) return proof.length === 0;
  // The last leaf of the earlier tree and of the later one; then their ancestors, as indexes within one level.
  let [node, last] = [fromSize - 1, toSize - 1];
  while (node % 2 === 1) [node, last] = [(node - 1) / 2, Math.floor(last / 2)];
  // node is 0 when the earlier tree is perfect: then its root is where the proof starts.
  const [start, ...rest] = node === 0 ? [fromRoot, ...proof] : proof;
  if (start === undefined) return false;
  let [earlier, later] = [start, start];
  for (const hash of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      [earlier, later] = [hashNode(hash, earlier), hashNode(hash, later)];
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else {
      later = hashNode(later, hash);
    }
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && equalBytes(earlier, fromRoot) && equalBytes(later, toRoot);
}
