import { readNumberedPage, type NumberedPage, type NumberedPageRequest } from '../graphql/numbered-page.js';
import type { Queryable } from '../ledger/read-entries.js';
import { splitHashes } from '../ledger/tree-nodes.js';
import { encodeHex } from '../core/bytes.js';
import { tileWidth } from '../core/tile-path.js';
import { DaybookError } from '../errors.js';
import type { ExpectedArchive } from './archive-file.js';
import type { ArchivedRange } from './retention.type.js';

/** An archive as it stands on the record: indexes and bytes are decimal text, times canonical, hashes lower-case hex. */
export interface ArchiveRow {
  readonly number: string;
  readonly firstIndex: string;
  readonly lastIndex: string;
  readonly firstRecordedAt: string;
  readonly lastRecordedAt: string;
  readonly previousHash: string;
  readonly chainHash: string;
  /** Entries about signals are among its own. */
  readonly holdsSignals: boolean;
  readonly objectKey: string;
  readonly versionId: string | null;
  readonly bytes: string;
  readonly objectHash: string;
  readonly createdAt: string;
  readonly createdBy: string;
  /** Until when it is kept at least. */
  readonly keptUntil: string;
  readonly removedAt: string | null;
  /** ONLINE: its entries are still in the log; RESTORED: copies of them were brought back; ARCHIVED; REMOVED. */
  readonly state: 'ONLINE' | 'RESTORED' | 'ARCHIVED' | 'REMOVED';
}

export const archiveColumns = `number, first_index AS "firstIndex", last_index AS "lastIndex", first_recorded_at AS "firstRecordedAt",
  last_recorded_at AS "lastRecordedAt", previous_hash AS "previousHash", chain_hash AS "chainHash",
  holds_signals AS "holdsSignals", object_key AS "objectKey", version_id AS "versionId", bytes,
  object_hash AS "objectHash", created_at AS "createdAt", created_by AS "createdBy", removed_at AS "removedAt",
  last_recorded_at + (SELECT CASE WHEN holds_signals THEN greatest(archived, interval '7 years') ELSE archived END
                      FROM public.retention_policies) AS "keptUntil",
  CASE WHEN removed_at IS NOT NULL THEN 'REMOVED'
    WHEN EXISTS (SELECT FROM public.restored_entries WHERE archive = log_archives.number) THEN 'RESTORED'
    WHEN last_index < (SELECT max(first_kept_index) FROM public.ledger_purges) THEN 'ARCHIVED'
    ELSE 'ONLINE' END AS state`;

/** Archives, the newest first. */
export function readArchives(database: Queryable, request: NumberedPageRequest): Promise<NumberedPage<ArchiveRow>> {
  return readNumberedPage(
    database,
    { name: 'audit-archives', columns: archiveColumns, from: 'public.log_archives' },
    request,
  );
}

/** Which archives: by number, or all that hold entries between two indexes. */
export type ArchiveSelection =
  { readonly number: string } | { readonly firstIndex: string; readonly lastIndex: string };

/** By ascending index. Throws NOT_FOUND where there is none. */
export async function readSelectedArchives(database: Queryable, selection: ArchiveSelection): Promise<ArchiveRow[]> {
  const [condition, values] =
    'number' in selection
      ? ['number = $1', [selection.number]]
      : ['last_index >= $1 AND first_index <= $2', [selection.firstIndex, selection.lastIndex]];
  const found = await database.query<ArchiveRow>(
    `SELECT ${archiveColumns} FROM public.log_archives WHERE ${condition} ORDER BY first_index`,
    values,
  );
  if (found.rows.length === 0)
    throw new DaybookError('NOT_FOUND', 'there is no such archive: auditArchives lists them');
  return found.rows;
}

/** What the object of an archive has to be, with the leaves that the tree holds for it. Throws LEDGER_BROKEN. */
export async function readExpectedArchive(
  database: Queryable,
  archive: Pick<ArchiveRow, 'firstIndex' | 'lastIndex' | 'previousHash' | 'chainHash' | 'objectHash'>,
): Promise<ExpectedArchive> {
  const firstIndex = Number(archive.firstIndex);
  const lastIndex = Number(archive.lastIndex);
  const found = await database.query<{ hashes: string }>(
    `SELECT hashes FROM public.ledger_tiles WHERE log = 'audit' AND level = 0 AND tile >= $1 AND tile < $2 ORDER BY tile`,
    [firstIndex / tileWidth, (lastIndex + 1) / tileWidth],
  );
  const leafHashes = found.rows.flatMap(({ hashes }) => splitHashes(hashes).map(encodeHex));
  if (leafHashes.length !== lastIndex - firstIndex + 1) {
    throw new DaybookError(
      'LEDGER_BROKEN',
      `the tree lacks tiles of entries ${firstIndex} to ${lastIndex}: daybook verify`,
    );
  }
  return { ...archive, firstIndex, lastIndex, leafHashes };
}

/** What of a range is not in the log itself. */
export interface ArchivedExtent {
  readonly firstIndex: string;
  readonly lastIndex: string;
  readonly firstRecordedAt: string;
  readonly lastRecordedAt: string;
  readonly archives: number;
  /** Those of them that are brought back. */
  readonly restored: number;
}

/** Null where every entry of the range is online. */
export async function readArchivedExtent(database: Queryable, range: ArchivedRange): Promise<ArchivedExtent | null> {
  const found = await database.query<ArchivedExtent>(
    `SELECT min(first_index) AS "firstIndex", max(last_index) AS "lastIndex", min(first_recorded_at) AS "firstRecordedAt",
       max(last_recorded_at) AS "lastRecordedAt", count(*)::integer AS archives,
       count(*) FILTER (WHERE EXISTS (SELECT FROM public.restored_entries WHERE archive = log_archives.number))::integer
         AS restored
     FROM public.log_archives
     WHERE last_index < (SELECT max(first_kept_index) FROM public.ledger_purges)
       AND ($1::bigint IS NULL OR last_index >= $1) AND ($2::bigint IS NULL OR first_index <= $2)
       AND ($3::timestamptz IS NULL OR last_recorded_at >= $3) AND ($4::timestamptz IS NULL OR first_recorded_at <= $4)
     HAVING count(*) > 0`,
    [range.fromIndex, range.toIndex, range.from, range.to],
  );
  return found.rows[0] ?? null;
}
