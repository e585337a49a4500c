import pg from 'pg';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { ledgerConnection } from '../db/pool.js';
import { DaybookError } from '../errors.js';
import { serviceEntry, type CallOrigin } from '../ledger/new-entries.js';
import type { Append } from '../access/request-calls.js';
import { verifyArchive, type ArchivedEntry } from './archive-file.js';
import { readArchiveObject } from './archive-objects.js';
import { readExpectedArchive, readSelectedArchives, type ArchiveRow, type ArchiveSelection } from './read-archives.js';
import type { RetentionServices } from './retention-services.js';

/** Archives of one request: some million entries. */
const archivesMax = 100;
const rowsPerInsert = 2_000;

export interface RestoreRequest {
  readonly selection: ArchiveSelection;
  /** Why; goes on the record. */
  readonly reason: string;
  readonly origin: CallOrigin;
  /** Appends the entry about it; the caller's own where it is a call of the API. */
  readonly append: Append;
  readonly signal: AbortSignal;
  readonly onRestored?: (restored: number, total: number) => void;
}

/**
 * Brings copies of archived entries back, to be read beside the log. Each archive is held to the record, the tree and the chain
 * first, and each row once more by the database. The ArchiveRestored entry comes first, so that nobody reads unseen; a crash
 * leaves whole archives. Throws NOT_FOUND, BAD_USER_INPUT, OBJECT_CHANGED for an archive that was altered.
 */
export async function restoreArchives(services: RetentionServices, request: RestoreRequest): Promise<ArchiveRow[]> {
  const chosen = await readSelectedArchives(services.database, request.selection);
  if (chosen.length > archivesMax) {
    throw new DaybookError(
      'BAD_USER_INPUT',
      `${chosen.length} archives are too many at once: restore at most ${archivesMax}`,
    );
  }
  const removed = chosen.find(({ state }) => state === 'REMOVED');
  if (removed !== undefined) {
    throw new DaybookError('NOT_FOUND', `archive ${removed.number} was removed when its time was over`);
  }
  const missing = chosen.filter(({ state }) => state === 'ARCHIVED');
  if (missing.length > 0) {
    await recordReading(request, missing);
    await copyBack(services, missing, request);
  }
  return readSelectedArchives(services.database, request.selection);
}

/** Says on the record who reads archives and why, before anybody has read them. */
export async function recordReading(
  { origin, reason, append }: Pick<RestoreRequest, 'origin' | 'reason' | 'append'>,
  archives: readonly ArchiveRow[],
): Promise<void> {
  await append({ entries: [restoredEntry({ origin, reason }, archives)] });
}

async function copyBack(
  services: RetentionServices,
  archives: readonly ArchiveRow[],
  { signal, onRestored }: RestoreRequest,
): Promise<void> {
  const client = new pg.Client(ledgerConnection(services.url, 'daybook restore'));
  // What breaks it is reported by the query that finds it broken.
  client.on('error', () => undefined);
  await client.connect();
  try {
    for (const [place, archive] of archives.entries()) {
      signal.throwIfAborted();
      const entries = await readArchive(services, archive);
      await client.query('BEGIN');
      await insertEntries(client, archive.number, entries);
      await client.query('COMMIT');
      onRestored?.(place + 1, archives.length);
    }
  } finally {
    await client.end();
  }
}

/** The entries of an archive, verified. Throws NOT_FOUND, OBJECT_CHANGED, LEDGER_BROKEN. */
export async function readArchive(
  services: Pick<RetentionServices, 'database' | 'store'>,
  archive: ArchiveRow,
): Promise<ArchivedEntry[]> {
  const expected = await readExpectedArchive(services.database, archive);
  return verifyArchive(await readArchiveObject(services, archive), expected, archive.objectKey);
}

async function insertEntries(client: pg.Client, archive: string, entries: readonly ArchivedEntry[]): Promise<void> {
  for (let from = 0; from < entries.length; from += rowsPerInsert) {
    const rows = entries.slice(from, from + rowsPerInsert);
    // All other columns are taken from the body by the table's guard.
    await client.query(
      `INSERT INTO public.restored_entries (archive, chain_index, body, previous_hash)
       SELECT $1, chain_index, body, decode(previous_hash, 'hex')
       FROM unnest($2::bigint[], $3::text[], $4::text[]) AS entry (chain_index, body, previous_hash)
       ON CONFLICT (chain_index) DO NOTHING`,
      [
        archive,
        rows.map(({ chainIndex }) => chainIndex),
        rows.map(({ body }) => body),
        rows.map(({ previousHash }) => previousHash),
      ],
    );
  }
}

/** Removes copies that were brought back longer ago than they are to stay. Returns how many archives they were of. */
export async function releaseRestored(services: RetentionServices): Promise<number> {
  const { rows } = await services.database.query<{ archive: string }>(
    `WITH due AS (SELECT archive FROM public.restored_entries GROUP BY archive
       HAVING max(restored_at) < clock_timestamp() - $1 * interval '1 day')
     DELETE FROM public.restored_entries WHERE archive IN (SELECT archive FROM due) RETURNING archive`,
    [services.restoredDays],
  );
  return new Set(rows.map(({ archive }) => archive)).size;
}

function restoredEntry({ origin, reason }: Pick<RestoreRequest, 'origin' | 'reason'>, archives: readonly ArchiveRow[]) {
  return serviceEntry({
    ...origin,
    category: 'BACKUP',
    event: 'ArchiveRestored',
    action: 'READ',
    resource: `archive/${archives[0]?.number ?? ''}`,
    details: encodeCanonicalJson({
      archives: archives.map(({ number }) => number),
      firstIndex: archives[0]?.firstIndex,
      lastIndex: archives.at(-1)?.lastIndex,
      reason,
    }),
  });
}
