import { DaybookError } from '../errors.js';
import { readNumberedPage, type NumberedPage, type NumberedPageRequest } from '../graphql/numbered-page.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { SnapshotFile } from './snapshot-file.js';

export const snapshotOccasions = { START: 'START', DEMAND: 'DEMAND', PACK: 'PACK' } as const;
/** Why a snapshot was taken: the node started, somebody asked, or an evidence pack was made. */
export type SnapshotOccasion = keyof typeof snapshotOccasions;

/** A snapshot as stored, without its files; times are RFC 3339, hashes lower-case hex. */
export interface ConfigSnapshotRow {
  readonly number: string;
  readonly id: string;
  readonly takenAt: string;
  readonly takenBy: string;
  readonly node: string;
  readonly occasion: SnapshotOccasion;
  readonly reason: string;
  readonly filesHash: string;
  readonly previousId: string | null;
  readonly changes: number;
}

const snapshotColumns = `number, id, taken_at AS "takenAt", taken_by AS "takenBy", node, occasion, reason,
  encode(files_hash, 'hex') AS "filesHash", previous_id AS "previousId", changes`;

/** Snapshots, newest first. Throws BAD_USER_INPUT for a bad cursor or size. */
export function readSnapshots(
  database: Queryable,
  page: NumberedPageRequest,
): Promise<NumberedPage<ConfigSnapshotRow>> {
  const list = { name: 'config-snapshots', columns: snapshotColumns, from: 'public.config_snapshots' };
  return readNumberedPage<ConfigSnapshotRow>(database, list, page);
}

/** Throws NOT_FOUND. */
export async function getSnapshot(database: Queryable, id: string): Promise<ConfigSnapshotRow> {
  const isId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id);
  const found = isId ? await readOne(database, 'WHERE id = $1', [id]) : null;
  if (found === null)
    throw new DaybookError('NOT_FOUND', `there is no configuration snapshot with id ${id.slice(0, 100)}`);
  return found;
}

/** The newest snapshot of a node, or where it has none the newest of any: a node may come back under another name. */
export async function readLatestSnapshot(database: Queryable, node: string): Promise<ConfigSnapshotRow | null> {
  const own = await readOne(database, 'WHERE node = $1 ORDER BY number DESC LIMIT 1', [node]);
  return own ?? (await readOne(database, 'ORDER BY number DESC LIMIT 1', []));
}

/** The newest snapshot of an occasion, of any node. */
export function readLatestOf(database: Queryable, occasion: SnapshotOccasion): Promise<ConfigSnapshotRow | null> {
  return readOne(database, 'WHERE occasion = $1 ORDER BY number DESC LIMIT 1', [occasion]);
}

/** The configuration that was known at a moment: the newest snapshot until then. `time`: RFC 3339. */
export function readSnapshotAt(database: Queryable, time: string): Promise<ConfigSnapshotRow | null> {
  return readOne(database, 'WHERE taken_at <= $1 ORDER BY taken_at DESC, number DESC LIMIT 1', [time]);
}

async function readOne(database: Queryable, clauses: string, values: unknown[]): Promise<ConfigSnapshotRow | null> {
  const found = await database.query<ConfigSnapshotRow>(
    `SELECT ${snapshotColumns} FROM public.config_snapshots ${clauses}`,
    values,
  );
  return found.rows[0] ?? null;
}

/** The files of lists by the hashes of the lists, in the order of their paths. */
export async function readFileLists(
  database: Queryable,
  filesHashes: readonly string[],
): Promise<Map<string, SnapshotFile[]>> {
  const lists = new Map<string, SnapshotFile[]>(filesHashes.map((filesHash) => [filesHash, []]));
  const found = await database.query<Omit<SnapshotFile, 'size'> & { filesHash: string; size: string | null }>(
    `SELECT encode(files_hash, 'hex') AS "filesHash", path, state, encode(hash, 'hex') AS hash, mark, size,
       encode(content_hash, 'hex') AS "contentHash", redactions, note
     FROM public.config_snapshot_files WHERE files_hash = ANY (SELECT decode(hash, 'hex') FROM unnest($1::text[]) AS hash)
     ORDER BY files_hash, path COLLATE "C"`,
    [[...lists.keys()]],
  );
  for (const { filesHash, size, ...file } of found.rows) {
    lists.get(filesHash)?.push({ ...file, size: size === null ? null : Number(size) });
  }
  return lists;
}

/** Stored texts by their hashes. */
export async function readContents(database: Queryable, hashes: readonly string[]): Promise<Map<string, string>> {
  if (hashes.length === 0) return new Map();
  const found = await database.query<{ hash: string; content: string }>(
    `SELECT encode(content_hash, 'hex') AS hash, content FROM public.config_contents
     WHERE content_hash = ANY (SELECT decode(hash, 'hex') FROM unnest($1::text[]) AS hash)`,
    [[...new Set(hashes)]],
  );
  return new Map(found.rows.map(({ hash, content }) => [hash, content]));
}
