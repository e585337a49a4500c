import type { Checkpoint } from '../core/checkpoint.js';
import { consistencyProofNodes, verifyConsistency } from '../core/consistency-proof.js';
import type { BreakCode } from '../core/log-breaks.js';
import { CompactRange, foldNodes, type Hash, type TreeNode } from '../core/merkle-tree.js';
import { tileOf, tileWidth } from '../core/tile-path.js';
import type { VerifierKey } from '../core/verifier-key.js';
import { judgeHead, type SignerStatus } from '../core/verify-tlog-proof.js';
import { LayoutReadError, type LayoutReader } from './layout-reader.js';
import { readHead } from './read-note.js';
import { readTile } from './tile-verifier.js';

export interface GrowthOptions {
  /** A signed note that the auditor kept. */
  readonly earlier: string;
  readonly reader: LayoutReader;
  readonly keys: readonly VerifierKey[];
  readonly origin?: string;
}

export type GrowthVerdict =
  | {
      readonly consistent: true;
      readonly origin: string;
      readonly fromSize: number;
      readonly toSize: number;
      /** Of the weaker of the two notes. */
      readonly signer: SignerStatus;
    }
  | { readonly consistent: false; readonly code: BreakCode; readonly message: string };

/**
 * Whether the published checkpoint's tree begins with the one that the auditor kept, by a consistency proof made from O(log n)
 * published tiles; no entry is read. Throws LayoutReadError where the source cannot be read or holds no checkpoint.
 */
export async function verifyGrowth(options: GrowthOptions): Promise<GrowthVerdict> {
  const { reader, keys } = options;
  const kept = judgeHead(options.earlier, options.origin === undefined ? { keys } : { keys, origin: options.origin });
  const fault = kept.faults[0];
  if (kept.checkpoint === null || fault !== undefined) {
    return refusal(fault?.code ?? 'CHECKPOINT_MALFORMED', `the earlier note: ${fault?.message ?? 'is no checkpoint'}`);
  }
  const published = await readHead(reader, 'checkpoint', { keys, origin: kept.checkpoint.origin });
  if (published === null) throw new LayoutReadError(`there is no checkpoint in ${reader.description}`);
  const [publishedFault] = published.faults;
  if (published.checkpoint === null || publishedFault !== undefined) {
    const message = `the published checkpoint: ${publishedFault?.message ?? 'is none'}`;
    return refusal(publishedFault?.code ?? 'CHECKPOINT_MALFORMED', message);
  }
  const refused = await compareHeads(reader, kept.checkpoint, published.checkpoint);
  if (refused !== null) return refused;
  const { origin, size: fromSize } = kept.checkpoint;
  const toSize = published.checkpoint.size;
  return { consistent: true, origin, fromSize, toSize, signer: published.signer };
}

async function compareHeads(reader: LayoutReader, from: Checkpoint, to: Checkpoint): Promise<GrowthVerdict | null> {
  if (from.size > to.size) {
    const message = `the earlier checkpoint covers ${from.size} entries, the published one ${to.size}`;
    return refusal('TAIL_TRUNCATED', message);
  }
  const proof: Hash[] = [];
  for (const group of consistencyProofNodes(from.size, to.size)) {
    const hashes: Hash[] = [];
    for (const node of group) {
      const hash = await readNode(reader, node, to.size);
      if (hash === null) return refusal('TILE_MISSING', `the tile with ${describeNode(node)} is not published whole`);
      hashes.push(hash);
    }
    proof.push(foldNodes(hashes));
  }
  if (verifyConsistency({ fromSize: from.size, fromRoot: from.root, toSize: to.size, toRoot: to.root, proof }))
    return null;
  const message =
    `the published tiles do not show that the tree of ${to.size} entries begins with the earlier one of ${from.size}; ` +
    '`daybook-verify log --earlier` tells whether the entries or only the tiles are wrong';
  return refusal('CHECKPOINT_INCONSISTENT', message);
}

/** The hash of a perfect subtree of a tree of `size` leaves; null where its tile is missing or has another length. */
async function readNode(reader: LayoutReader, node: TreeNode, size: number): Promise<Hash | null> {
  const { level, tile, offset, count } = tileOf(node);
  const hashesOfLevel = Math.floor(size / tileWidth ** level);
  const width = Math.min(tileWidth, hashesOfLevel - tile * tileWidth);
  const { bytes } = await readTile(reader, level, tile, width);
  if (bytes?.length !== width * 32) return null;
  const range = new CompactRange();
  for (let place = offset; place < offset + count; place += 1)
    range.append(bytes.subarray(place * 32, place * 32 + 32));
  return range.root();
}

function describeNode({ level, index }: TreeNode): string {
  return `the hash of entries ${index * 2 ** level} to ${(index + 1) * 2 ** level - 1}`;
}

function refusal(code: BreakCode, message: string): GrowthVerdict {
  return { consistent: false, code, message };
}
