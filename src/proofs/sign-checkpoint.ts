import type pg from 'pg';
import { encodeHex } from '../core/bytes.js';
import { encodeCheckpoint } from '../core/checkpoint.js';
import { consistencyProofNodes, verifyConsistency } from '../core/consistency-proof.js';
import type { Hash } from '../core/merkle-tree.js';
import { encodeNote } from '../core/signed-note.js';
import { tileWidth } from '../core/tile-path.js';
import { DaybookError } from '../errors.js';
import { integrateTiles } from '../ledger/integrate-tiles.js';
import { logs, type LogName } from '../ledger/rows.js';
import { readFoldedGroups, readTreeRoot } from '../ledger/tree-nodes.js';
import {
  assertSameRoot,
  readKnownCheckpoint,
  readStoredCheckpoint,
  type CheckpointFiles,
  type KnownCheckpoint,
} from './known-checkpoints.js';
import { readCheckpointOfSize, readNewestCheckpoint, type CheckpointRow } from './read-checkpoints.js';
import type { SigningKeys } from './signing-keys.js';

/** Held by the one signer of a log, to the end of its transaction. Nothing else on the database may use these numbers. */
const signerLocks: Readonly<Record<LogName, string>> = { signals: '7219460237150045', audit: '7219460237150046' };
/** Full tiles of one transaction: 262,144 entries, so that an old log's first integration shows progress and holds little. */
const tilesPerStepMax = 1_024;
/** How callers of the API hear of the node's own file; its path is the operator's affair. */
const ownFile = 'the file that this node keeps';

export interface SigningContext {
  readonly keys: SigningKeys;
  readonly files: CheckpointFiles;
  /** The checkpoint that the object store held last, as far as this node knows; null where none or no store. */
  readonly published: (log: LogName) => KnownCheckpoint | null;
  /** True while there is a store that this node could not read yet: what lies there is unknown. False where nothing is said. */
  readonly isStoreUnread?: (log: LogName) => boolean;
  /** Ends a long step between two batches of tiles; nothing of it is stored then. */
  readonly signal?: AbortSignal;
}

/** What is asked of a step; `tilesPerStep`: full tiles that one commit adds, 1,024 where nothing is said. */
interface WantedCheckpoint {
  readonly size?: number;
  readonly wait?: boolean;
  readonly tilesPerStep?: number;
}

/** What one attempt to sign did. `busy`: another session is at it. `behind`: tiles are still being filled, come again. */
export type SigningStep =
  { readonly state: 'signed' | 'current'; readonly checkpoint: CheckpointRow } | { readonly state: 'busy' | 'behind' };

/**
 * One step towards a checkpoint of `size` entries, of all there are where `size` is absent, in one transaction under the
 * signer's lock: fills tiles, compares the tree with every checkpoint known, signs, stores. Throws
 * LOG_INCONSISTENT without signing where a known checkpoint is contradicted, OBJECT_STORE_UNAVAILABLE on a node that knows
 * no checkpoint of its own and could not read the store yet.
 *
 * A crash leaves whole tiles that contradict no known checkpoint, and at most a file that is one consistent checkpoint
 * ahead. The lock and the row are one transaction: a signer that was stopped and comes back later cannot store anything.
 */
export async function signCheckpointStep(
  client: pg.ClientBase,
  log: LogName,
  context: SigningContext,
  wanted: WantedCheckpoint = {},
): Promise<SigningStep> {
  await client.query('BEGIN');
  try {
    if (!(await takeSignerLock(client, log, wanted.wait === true))) {
      await client.query('ROLLBACK');
      return { state: 'busy' };
    }
    const step = await signUnderLock(client, log, context, wanted);
    await client.query('COMMIT');
    return step;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

async function takeSignerLock(client: pg.ClientBase, log: LogName, wait: boolean): Promise<boolean> {
  if (wait) {
    await client.query(`SELECT pg_advisory_xact_lock(${signerLocks[log]})`);
    return true;
  }
  const answer = await client.query<{ taken: boolean }>(
    `SELECT pg_try_advisory_xact_lock(${signerLocks[log]}) AS taken`,
  );
  return answer.rows[0]?.taken === true;
}

async function signUnderLock(
  client: pg.ClientBase,
  log: LogName,
  context: SigningContext,
  wanted: WantedCheckpoint,
): Promise<SigningStep> {
  const entries = await readSize(client, log);
  const size = wanted.size ?? entries;
  const newest = await readNewestCheckpoint(client, log);
  const kept = await context.files.read(log);
  if (newest !== null && kept === null && context.isStoreUnread?.(log) === true) throw nothingToCompareWith(log);
  const known = listKnown(log, context, newest, kept);
  for (const { checkpoint, from } of known) {
    if (checkpoint.size > entries) throw setBack(log, entries, checkpoint.size, from);
  }
  if (size > entries) throw setBack(log, entries, size, 'this request');
  const existing = await readCheckpointOfSize(client, log, size);

  const largest = Math.max(size, ...known.map(({ checkpoint }) => checkpoint.size));
  const covered = await fillTiles(client, log, context, largest, known, wanted.tilesPerStep ?? tilesPerStepMax);
  const roots = new Map<number, Hash>();
  const rootAt = async (count: number): Promise<Hash> => {
    const root = roots.get(count) ?? (await readTreeRoot(client, log, count));
    roots.set(count, root);
    return root;
  };
  for (const one of known) assertSameRoot(one, await rootAt(one.checkpoint.size));
  if (covered < largest - (largest % tileWidth)) return { state: 'behind' };
  if (existing !== null) {
    if (newest !== null && kept !== newest.note) await keepNewest(log, context, newest.note, kept);
    return { state: 'current', checkpoint: existing };
  }

  const root = await rootAt(size);
  if (size < largest) await assertContinued(client, log, size, root, largest, await rootAt(largest));
  const text = encodeCheckpoint({ origin: context.keys.originOf(log), size, root, extensions: [] });
  const note = encodeNote({ text, signatures: context.keys.sign(log, text) });
  if (known.every(({ checkpoint }) => checkpoint.size < size)) await context.files.write(log, note);
  return { state: 'signed', checkpoint: await storeCheckpoint(client, log, size, encodeHex(root), note) };
}

/**
 * Throws LOG_INCONSISTENT unless the tree of `toSize` entries continues that of `size`: their nodes are read separately, and
 * a false hash inside a stored tile would give the smaller tree a root that the signed larger one contradicts.
 */
async function assertContinued(
  client: pg.ClientBase,
  log: LogName,
  size: number,
  root: Hash,
  toSize: number,
  toRoot: Hash,
): Promise<void> {
  const proof = await readFoldedGroups(client, log, consistencyProofNodes(size, toSize));
  if (verifyConsistency({ fromSize: size, fromRoot: root, toSize, toRoot, proof })) return;
  throw new DaybookError(
    'LOG_INCONSISTENT',
    `the stored tiles of the ${log} log give no tree of ${size} entries that the signed one of ${toSize} continues: run daybook verify`,
  );
}

/**
 * Fills tiles up to `size`, at most `tilesPerStep` where no known checkpoint covers more than they do. A stored tile cannot be
 * taken back, so none is left to be committed before every known checkpoint can be compared with it. Returns how many
 * entries full tiles cover.
 */
async function fillTiles(
  client: pg.ClientBase,
  log: LogName,
  { signal }: SigningContext,
  size: number,
  known: readonly KnownCheckpoint[],
  tilesPerStep: number,
): Promise<number> {
  for (;;) {
    const covered = await integrateTiles(client, log, size, tilesPerStep);
    if (covered >= size - (size % tileWidth) || known.every(({ checkpoint }) => checkpoint.size <= covered))
      return covered;
    signal?.throwIfAborted();
  }
}

/** The file never goes back: a note of a smaller tree does not replace one of a larger. */
async function keepNewest(log: LogName, context: SigningContext, note: string, kept: string | null): Promise<void> {
  const { keys, files } = context;
  const sizeOf = (text: string, from: string) =>
    readKnownCheckpoint(text, from, keys.originOf(log), keys.verifiersOf(log)).checkpoint.size;
  if (kept === null || sizeOf(kept, ownFile) < sizeOf(note, 'the table checkpoints')) {
    await files.write(log, note);
  }
}

function listKnown(
  log: LogName,
  { keys, published }: SigningContext,
  newest: CheckpointRow | null,
  kept: string | null,
): KnownCheckpoint[] {
  const origin = keys.originOf(log);
  const verifiers = keys.verifiersOf(log);
  const known: KnownCheckpoint[] = [];
  if (newest !== null) known.push(readStoredCheckpoint(newest, origin, verifiers));
  if (kept !== null) known.push(readKnownCheckpoint(kept, ownFile, origin, verifiers));
  const inStore = published(log);
  if (inStore !== null) known.push(inStore);
  return known;
}

async function readSize(client: pg.ClientBase, log: LogName): Promise<number> {
  const found = await client.query<{ size: string }>({
    name: `read_${log}_size`,
    text: `SELECT coalesce(max(chain_index) + 1, 0) AS size FROM public.${logs[log].table}`,
  });
  return Number(found.rows[0]?.size ?? 0);
}

async function storeCheckpoint(
  client: pg.ClientBase,
  log: LogName,
  size: number,
  rootHash: string,
  note: string,
): Promise<CheckpointRow> {
  const stored = await client.query<{ signedAt: string; number: string }>({
    name: 'insert_checkpoint',
    text: `INSERT INTO public.checkpoints (log, tree_size, root_hash, note) VALUES ($1, $2, decode($3, 'hex'), $4)
           RETURNING signed_at AS "signedAt", number`,
    values: [log, size, rootHash, note],
  });
  const { signedAt = '', number = '0' } = stored.rows[0] ?? {};
  return { log, treeSize: String(size), rootHash, note, signedAt, number };
}

function setBack(log: LogName, entries: number, size: number, from: string): DaybookError {
  return new DaybookError(
    'LOG_INCONSISTENT',
    `the ${log} log has ${entries} entries, but ${from} holds a checkpoint of ${size}: the database was set back or its tail removed`,
  );
}

/** Somebody who exchanged the database's checkpoints would find here the one signer who cannot know better. */
function nothingToCompareWith(log: LogName): DaybookError {
  return new DaybookError(
    'OBJECT_STORE_UNAVAILABLE',
    `this node never saw a checkpoint of the ${log} log and cannot read the object store: it signs once it could read it`,
  );
}
