import { consistencyProofNodes } from '../../src/core/consistency-proof.js';
import { inclusionProofNodes } from '../../src/core/inclusion-proof.js';
import { decompose, foldNodes, hashLeafBytes, hashNode, type Hash, type TreeNode } from '../../src/core/merkle-tree.js';
import { hashTilePath, tileWidth } from '../../src/core/tile-path.js';

/** A log of distinct entries with every perfect subtree's hash at hand, as a store would serve them. */
export interface SampleTree {
  readonly bodies: readonly Uint8Array[];
  readonly leafHashes: readonly Hash[];
  root(size: number): Hash;
  inclusionProof(index: number, size: number): Hash[];
  consistencyProof(fromSize: number, toSize: number): Hash[];
  /** The hashes of a tile as the tree of `size` leaves has it, one behind the other. */
  tile(level: number, index: number, size: number): Uint8Array;
  /** All tiles of the tree of `size` leaves, by their paths in the static layout. */
  tiles(size: number): Record<string, Uint8Array>;
}

export function createSampleTree(size: number): SampleTree {
  const bodies = Array.from({ length: size }, (_, index) => new TextEncoder().encode(`{"entry":"${index}"}`));
  const levels: Hash[][] = [bodies.map(hashLeafBytes)];
  for (let below = levels[0]!; below.length > 1; below = levels.at(-1)!) {
    const pairs = Math.floor(below.length / 2);
    levels.push(Array.from({ length: pairs }, (_, pair) => hashNode(below[pair * 2]!, below[pair * 2 + 1]!)));
  }
  const hashOf = ({ level, index }: TreeNode) => levels[level]![index]!;
  const hashOfGroup = (group: readonly TreeNode[]) => foldNodes(group.map(hashOf));
  const tile = (level: number, index: number, end: number) => {
    const hashes = Math.floor(end / tileWidth ** level);
    const last = Math.min((index + 1) * tileWidth, hashes);
    return Uint8Array.from((levels[level * 8] ?? []).slice(index * tileWidth, last).flatMap((hash) => [...hash]));
  };
  return {
    bodies,
    leafHashes: levels[0]!,
    root: (end) => hashOfGroup(decompose(0, end)),
    inclusionProof: (index, end) => inclusionProofNodes(index, end).map(hashOfGroup),
    consistencyProof: (fromSize, toSize) => consistencyProofNodes(fromSize, toSize).map(hashOfGroup),
    tile,
    tiles: (end) => {
      const tiles: Record<string, Uint8Array> = {};
      for (let level = 0; tileWidth ** level <= end; level += 1) {
        const hashes = Math.floor(end / tileWidth ** level);
        for (let index = 0; index * tileWidth < hashes; index += 1) {
          const width = Math.min(hashes - index * tileWidth, tileWidth);
          tiles[hashTilePath(level, index, width)] = tile(level, index, end);
        }
      }
      return tiles;
    },
  };
}
