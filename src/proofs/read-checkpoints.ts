import type { Queryable } from '../ledger/read-entries.js';
import type { LogName } from '../ledger/rows.js';

/** A stored checkpoint; `number` is its place in the order of signing, over both logs. */
export interface CheckpointRow {
  readonly log: LogName;
  readonly treeSize: string;
  readonly rootHash: string;
  readonly note: string;
  readonly signedAt: string;
  readonly number: string;
}

const columns = `log, tree_size AS "treeSize", root_hash AS "rootHash", note, signed_at AS "signedAt", number`;

/** The checkpoint of the largest size, null before the first. */
export async function readNewestCheckpoint(database: Queryable, log: LogName): Promise<CheckpointRow | null> {
  const found = await database.query<CheckpointRow>({
    name: 'read_newest_checkpoint',
    text: `SELECT ${columns} FROM public.checkpoints WHERE log = $1 ORDER BY tree_size DESC LIMIT 1`,
    values: [log],
  });
  return found.rows[0] ?? null;
}

/** The checkpoint of exactly this size, null where none was signed. */
export async function readCheckpointOfSize(
  database: Queryable,
  log: LogName,
  treeSize: number,
): Promise<CheckpointRow | null> {
  const found = await database.query<CheckpointRow>({
    name: 'read_checkpoint_of_size',
    text: `SELECT ${columns} FROM public.checkpoints WHERE log = $1 AND tree_size = $2`,
    values: [log, treeSize],
  });
  return found.rows[0] ?? null;
}

/** Checkpoints of a log signed after number `after`, in order of signing, at most `max`. */
export async function readCheckpointsAfter(
  database: Queryable,
  log: LogName,
  after: string,
  max: number,
): Promise<CheckpointRow[]> {
  const found = await database.query<CheckpointRow>({
    name: 'read_checkpoints_after',
    text: `SELECT ${columns} FROM public.checkpoints WHERE log = $1 AND number > $2 ORDER BY number LIMIT $3`,
    values: [log, after, max],
  });
  return found.rows;
}

/** Number of the last checkpoint signed for a log, "0" before the first. */
export async function readLastCheckpointNumber(database: Queryable, log: LogName): Promise<string> {
  const found = await database.query<{ last: string }>({
    name: 'read_last_checkpoint_number',
    text: 'SELECT coalesce(max(number), 0) AS last FROM public.checkpoints WHERE log = $1',
    values: [log],
  });
  return found.rows[0]?.last ?? '0';
}
