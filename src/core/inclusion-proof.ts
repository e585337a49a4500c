import { equalBytes } from './bytes.js';
import { areHashes, decompose, hashNode, isTreeSize, splitPoint, type Hash, type TreeNode } from './merkle-tree.js';

/** Inclusion proofs: that a leaf stands at an index of a tree (RFC 9162 §2.1.3). */

/**
 * Which perfect subtrees make each hash of the proof of leaf `index` in a tree of `size` leaves: one group a hash, the
 * leaf's sibling first; the hash is `foldNodes` of the group's hashes. Throws RangeError when there is no such leaf.
 */
export function inclusionProofNodes(index: number, size: number): TreeNode[][] {
  if (!isTreeSize(index) || !isTreeSize(size) || index >= size) {
    throw new RangeError(`a tree of ${size} leaves has no leaf ${index}`);
  }
  const groups: TreeNode[][] = [];
  let [begin, end] = [0, size];
  while (end - begin > 1) {
    const middle = begin + splitPoint(end - begin);
    if (index < middle) {
      groups.push(decompose(middle, end));
      end = middle;
    } else {
      groups.push(decompose(begin, middle));
      begin = middle;
    }
  }
  return groups.reverse();
}

/** Whether `proof` leads from the leaf at `index` to the root of a tree of `size` leaves (RFC 9162 §2.1.3.2). Never throws. */
export function verifyInclusion(input: {
  readonly leafHash: Hash;
  readonly index: number;
  readonly size: number;
  readonly proof: readonly Hash[];
  readonly root: Hash;
}): boolean {
  const { leafHash, index, size, proof, root } = input;
  if (!isTreeSize(index) || !isTreeSize(size) || index >= size) return false;
  if (!areHashes([leafHash, root]) || !areHashes(proof)) return false;
  let computed = leafHash;
  // The leaf's ancestor and the last node of its level, as indexes within that level.
  let [node, last] = [index, size - 1];
  for (const hash of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      computed = hashNode(hash, computed);
      // On the right edge a node without a sibling is its own parent.
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else {
      computed = hashNode(computed, hash);
    }
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && equalBytes(computed, root);
}
