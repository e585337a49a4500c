import { consistencyProofNodes, verifyConsistency } from '../core/consistency-proof.js';
import { decodeHex, encodeHex } from '../core/bytes.js';
import { inclusionProofNodes, verifyInclusion } from '../core/inclusion-proof.js';
import type { Hash, TreeNode } from '../core/merkle-tree.js';
import { encodeTlogProof } from '../core/tlog-proof.js';
import { DaybookError } from '../errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import { logs, type LogName } from '../ledger/rows.js';
import type { TreeNodeCache } from '../ledger/tree-node-cache.js';
import { readFoldedGroups } from '../ledger/tree-nodes.js';
import type { CheckpointSigner } from './checkpoint-signer.js';
import { readCheckpointOfSize, type CheckpointRow } from './read-checkpoints.js';

/** Hashes are lower-case hex, numbers decimal text. */
export interface InclusionProof {
  readonly log: LogName;
  readonly index: string;
  readonly treeSize: string;
  readonly leafHash: string;
  readonly hashes: readonly string[];
  /** The signed note that the proof leads to. */
  readonly checkpoint: string;
  /** The same as a file of C2SP tlog-proof. */
  readonly tlogProof: string;
}

export interface ConsistencyProof {
  readonly log: LogName;
  readonly fromSize: string;
  readonly toSize: string;
  readonly hashes: readonly string[];
}

/** Where proofs are read from, and who signs the checkpoint that a fresh entry needs. */
export interface ProofSource {
  readonly database: Queryable;
  readonly signer: Pick<CheckpointSigner, 'coveringCheckpoint'>;
  readonly nodes: TreeNodeCache;
}

/**
 * Proves that entry `index` is in the tree of `treeSize` entries, of the newest checkpoint that covers it where no size is
 * given. Throws BAD_USER_INPUT for a size without a checkpoint, NOT_FOUND for an entry that the log does not have,
 * NOT_YET_SIGNED, and LEDGER_BROKEN rather than hand out a proof that does not verify.
 */
export async function proveInclusion(
  source: ProofSource,
  log: LogName,
  index: number,
  treeSize: number | null,
): Promise<InclusionProof> {
  const [proof] = await proveInclusions(source, log, [index], treeSize);
  if (proof instanceof DaybookError) throw proof;
  if (proof === undefined) throw new DaybookError('INTERNAL', 'a proof was asked for and none was made');
  return proof;
}

/**
 * Proofs of several entries under one checkpoint, in the order of `indexes`, from one read of the tree: neighbours share
 * most of their hashes. An entry that cannot be proven has its error in its place. Throws as proveInclusion for the rest.
 */
export async function proveInclusions(
  source: ProofSource,
  log: LogName,
  indexes: readonly number[],
  treeSize: number | null,
): Promise<(InclusionProof | DaybookError)[]> {
  const present = await findEntries(source.database, log, indexes);
  if (present.size === 0) return indexes.map((index) => missing(log, index));
  const checkpoint =
    treeSize === null
      ? await source.signer.coveringCheckpoint(log, Math.max(...present) + 1)
      : await getCheckpointOfSize(source.database, log, treeSize);
  const size = Number(checkpoint.treeSize);
  const provable = indexes.filter((index) => present.has(index) && index < size);
  const groups = provable.flatMap((index): TreeNode[][] => [
    [{ level: 0, index }],
    ...inclusionProofNodes(index, size),
  ]);
  const hashes = await readFoldedGroups(source.database, log, groups, source.nodes);
  let from = 0;
  return indexes.map((index) => {
    if (!present.has(index)) return missing(log, index);
    if (index >= size) {
      return new DaybookError(
        'BAD_USER_INPUT',
        `entry ${index} is not among the first ${size}: give a larger treeSize`,
      );
    }
    const to = from + 1 + inclusionProofNodes(index, size).length;
    const [leafHash, ...proof] = hashes.slice(from, to);
    from = to;
    return toInclusionProof(source, log, index, checkpoint, leafHash, proof);
  });
}

function toInclusionProof(
  { nodes }: ProofSource,
  log: LogName,
  index: number,
  checkpoint: CheckpointRow,
  leafHash: Hash | undefined,
  proof: readonly Hash[],
): InclusionProof {
  const size = Number(checkpoint.treeSize);
  if (
    leafHash === undefined ||
    !verifyInclusion({ leafHash, index, size, proof, root: decodeHex(checkpoint.rootHash) })
  ) {
    nodes.clear();
    throw broken(log, `entry ${index} does not lead to the checkpoint of ${size} entries`);
  }
  return {
    log,
    index: String(index),
    treeSize: checkpoint.treeSize,
    leafHash: encodeHex(leafHash),
    hashes: proof.map(encodeHex),
    checkpoint: checkpoint.note,
    tlogProof: encodeTlogProof({ index, hashes: proof, checkpoint: checkpoint.note }),
  };
}

/**
 * Proves that the tree of `toSize` entries, of the newest checkpoint where no size is given, continues that of `fromSize`.
 * Any two sizes may be asked for; those with a checkpoint are checked against it. Throws BAD_USER_INPUT for sizes that are
 * not in order or beyond the newest checkpoint, and LEDGER_BROKEN as proveInclusion.
 */
export async function proveConsistency(
  source: ProofSource,
  log: LogName,
  fromSize: number,
  toSize: number | null,
): Promise<ConsistencyProof> {
  const { database, signer } = source;
  const newest = await signer.coveringCheckpoint(log, 0);
  const size = toSize ?? Number(newest.treeSize);
  if (fromSize > size) throw new DaybookError('BAD_USER_INPUT', `fromSize ${fromSize} is larger than toSize ${size}`);
  if (size > Number(newest.treeSize)) {
    throw new DaybookError('BAD_USER_INPUT', `the newest checkpoint covers ${newest.treeSize} entries, not ${size}`);
  }
  const [from, to] = await Promise.all([
    readCheckpointOfSize(database, log, fromSize),
    readCheckpointOfSize(database, log, size),
  ]);
  const proof: Hash[] = await readFoldedGroups(database, log, consistencyProofNodes(fromSize, size));
  if (from !== null && to !== null) {
    const fromRoot = decodeHex(from.rootHash);
    if (!verifyConsistency({ fromSize, fromRoot, toSize: size, toRoot: decodeHex(to.rootHash), proof })) {
      throw broken(log, `the checkpoints of ${fromSize} and ${size} entries contradict each other`);
    }
  }
  return { log, fromSize: String(fromSize), toSize: String(size), hashes: proof.map(encodeHex) };
}

async function getCheckpointOfSize(database: Queryable, log: LogName, treeSize: number): Promise<CheckpointRow> {
  const checkpoint = await readCheckpointOfSize(database, log, treeSize);
  if (checkpoint !== null) return checkpoint;
  throw new DaybookError(
    'BAD_USER_INPUT',
    `no checkpoint of exactly ${treeSize} entries was signed: leave treeSize out, or take it from checkpoint or merkleRoots`,
  );
}

/** Those that were archived and removed are in the tree as before. */
async function findEntries(database: Queryable, log: LogName, indexes: readonly number[]): Promise<Set<number>> {
  const found = await database.query<{ index: string }>({
    name: `find_${log}_entries`,
    text: `SELECT chain_index AS index FROM public.${logs[log].table} WHERE chain_index = ANY ($1::bigint[])
           UNION SELECT index FROM unnest($1::bigint[]) AS asked (index)
           WHERE index >= 0 AND index < (SELECT max(first_kept_index) FROM public.ledger_purges WHERE log = '${log}')`,
    values: [indexes],
  });
  return new Set(found.rows.map(({ index }) => Number(index)));
}

function missing(log: LogName, index: number): DaybookError {
  return new DaybookError('NOT_FOUND', `the ${log} log has no entry ${index}`);
}

function broken(log: LogName, reason: string): DaybookError {
  return new DaybookError('LEDGER_BROKEN', `the tree of the ${log} log is broken: ${reason}. Run daybook verify`);
}
