import type { Hash, TreeNode } from '../core/merkle-tree.js';
import type { LogName } from './rows.js';

/** Only subtrees of whole tiles are kept: there is one for 256 entries, and every proof needs some of them. */
const levelMin = 8;
/** About 10 MiB; the upper subtrees of a log of eight million entries. */
const nodesMax = 65_536;

/**
 * Hashes of perfect subtrees that proofs were made of. Such a subtree never changes once a checkpoint covers it. Owned by
 * whoever proves; signing and verification read the tree itself.
 */
export class TreeNodeCache {
  /** In the order of use, the one unused for longest first. */
  readonly #hashes = new Map<string, Hash>();

  read(log: LogName, node: TreeNode): Hash | undefined {
    const name = nameOf(log, node);
    const hash = this.#hashes.get(name);
    if (hash === undefined) return undefined;
    this.#hashes.delete(name);
    this.#hashes.set(name, hash);
    return hash;
  }

  keep(log: LogName, node: TreeNode, hash: Hash): void {
    if (node.level < levelMin) return;
    // A copy: the hash may be a piece of a larger answer, which would stay in memory with it.
    this.#hashes.set(nameOf(log, node), hash.slice());
    for (const oldest of this.#hashes.keys()) {
      if (this.#hashes.size <= nodesMax) break;
      this.#hashes.delete(oldest);
    }
  }

  /** Forgets everything: what was proven from it did not lead to the signed root. */
  clear(): void {
    this.#hashes.clear();
  }
}

function nameOf(log: LogName, { level, index }: TreeNode): string {
  return `${log}/${level}/${index}`;
}
