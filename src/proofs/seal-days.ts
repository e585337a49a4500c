import type pg from 'pg';
import type { Append } from '../access/request-calls.js';
import { decodeHex, encodeHex } from '../core/bytes.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { consistencyProofNodes, verifyConsistency } from '../core/consistency-proof.js';
import type { Hash } from '../core/merkle-tree.js';
import { sqlState } from '../db/admin-connection.js';
import { DaybookError } from '../errors.js';
import { serviceEntry } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { logs, type LogName } from '../ledger/rows.js';
import { readFoldedGroups } from '../ledger/tree-nodes.js';
import type { CheckpointSigner } from './checkpoint-signer.js';
import type { CheckpointRow } from './read-checkpoints.js';
import { readDayEnds, type DayEnd } from './read-day-ends.js';
import { readLastMerkleRoot, readMerkleRoot, type MerkleRootRow } from './read-merkle-roots.js';

const notNullViolation = '23502';

/** An anchor that each root gets when it is sealed. */
interface AnchorPlan {
  readonly kind: string;
  /** Which store, authority or witness; at most 1,000 characters, never a secret. */
  readonly target: string;
  readonly mode: 'best-effort' | 'required';
}

export interface SealOptions {
  readonly pool: Queryable & Pick<pg.Pool, 'connect'>;
  readonly signer: CheckpointSigner;
  readonly append: Append;
  readonly anchors: readonly AnchorPlan[];
  /** Who asked: an actor, or `schedule`. */
  readonly sealedBy: string;
  readonly signal?: AbortSignal;
}

/**
 * Seals every day of a log that has ended and has no root yet, oldest first, up to `until` (a date) where it is given.
 * Returns the roots it sealed; a day that another node seals meanwhile is left to it. Throws DAY_NOT_OVER, also where the
 * database's clock is set back before midnight meanwhile, and as the signer.
 *
 * For each day: 1. its size is read under the ledger lock, 2. that size is signed, also where larger checkpoints are out
 * already, 3. root, anchors to come and the audit entry are stored in one transaction. A crash between two steps leaves
 * nothing that the next run does not find and use.
 */
export async function sealDays(
  options: SealOptions,
  log: LogName,
  until: string | null = null,
): Promise<MerkleRootRow[]> {
  const sealed: MerkleRootRow[] = [];
  for (;;) {
    const last = await readLastMerkleRoot(options.pool, log);
    const ends = await readDayEnds(options.pool, log, last?.date ?? null, until);
    if (ends.length === 0) return sealed;
    let before = last;
    for (const end of ends) {
      options.signal?.throwIfAborted();
      const root = await sealDay(options, log, end, before);
      before = root ?? (await readMerkleRoot(options.pool, log, end.date));
      if (root !== null) sealed.push(root);
      // Another node goes on with this log: what it sealed is read anew.
      else break;
    }
  }
}

async function sealDay(
  options: SealOptions,
  log: LogName,
  end: DayEnd,
  before: MerkleRootRow | null,
): Promise<MerkleRootRow | null> {
  const checkpoint = await options.signer.checkpointOfSize(log, end.treeSize);
  const proof = await proveGrowth(options.pool, log, checkpoint, before);
  const entriesOfDay = end.treeSize - Number(before?.treeSize ?? 0);
  const entry = serviceEntry({
    category: 'INTEGRITY',
    event: 'MerkleRootSealed',
    action: 'CREATE',
    actor: options.sealedBy,
    resource: `${log}/${end.date}`,
    details: encodeCanonicalJson({
      date: end.date,
      entriesOfDay: String(entriesOfDay),
      log,
      rootHash: checkpoint.rootHash,
      treeSize: String(end.treeSize),
    }),
  });
  try {
    await options.append({
      entries: [entry],
      alongside: (client) => storeRoot(client, options, { log, ...end, entriesOfDay, proof }),
    });
  } catch (error) {
    if ((await readMerkleRoot(options.pool, log, end.date)) !== null) return null;
    if (sqlState(error) === notNullViolation) {
      throw new DaybookError('DAY_NOT_OVER', `the database's clock was set back into ${end.date}: seal it later`, {
        cause: error,
      });
    }
    throw error;
  }
  return readMerkleRoot(options.pool, log, end.date);
}

/** The hashes that lead from the root of the day before to this one, checked before anybody relies on them. */
async function proveGrowth(
  database: Queryable,
  log: LogName,
  checkpoint: CheckpointRow,
  before: MerkleRootRow | null,
): Promise<Hash[]> {
  if (before === null) return [];
  const fromSize = Number(before.treeSize);
  const toSize = Number(checkpoint.treeSize);
  const proof = await readFoldedGroups(database, log, consistencyProofNodes(fromSize, toSize));
  const input = {
    fromSize,
    fromRoot: decodeHex(before.rootHash),
    toSize,
    toRoot: decodeHex(checkpoint.rootHash),
    proof,
  };
  if (!verifyConsistency(input)) {
    throw new DaybookError(
      'LOG_INCONSISTENT',
      `the ${log} log does not continue its root of ${before.date}: nothing was sealed, run daybook verify`,
    );
  }
  return proof;
}

/**
 * Under the ledger lock, which the MerkleRootSealed entry before it took, it looks at the times once more: where the clock
 * was set back since the size was read, entries of the day may have come after it or may still come. The size is NULL then,
 * which the table refuses, and nothing of this request is stored.
 */
async function storeRoot(
  client: pg.Client,
  options: SealOptions,
  root: DayEnd & { readonly log: LogName; readonly entriesOfDay: number; readonly proof: readonly Hash[] },
): Promise<void> {
  const { table, recordedColumn } = logs[root.log];
  await client.query(
    `INSERT INTO public.merkle_roots (log, date, tree_size, entries_of_day, consistency_proof, sealed_by)
     SELECT $1, $2, CASE WHEN midnight <= all (times) THEN $3::bigint END, $4::bigint, decode($5, 'hex'), $6
     FROM (SELECT ($2::date + 1)::timestamp AT TIME ZONE 'UTC' AS midnight, ARRAY(
       (SELECT recorded_at FROM public.audit_entries ORDER BY chain_index DESC LIMIT 1) UNION ALL
       (SELECT ${recordedColumn} FROM public.${table} WHERE chain_index = $3)) AS times) AS clock`,
    [root.log, root.date, root.treeSize, root.entriesOfDay, root.proof.map(encodeHex).join(''), options.sealedBy],
  );
  await client.query(
    `INSERT INTO public.anchors (log, date, kind, target, mode)
     SELECT $1, $2, kind, target, mode FROM unnest($3::text[], $4::text[], $5::text[]) AS plan (kind, target, mode)`,
    [
      root.log,
      root.date,
      options.anchors.map(({ kind }) => kind),
      options.anchors.map(({ target }) => target),
      options.anchors.map(({ mode }) => mode),
    ],
  );
}
