import type { LogBreak } from '../core/log-breaks.js';
import { DaybookError } from '../errors.js';
import { archiveColumns, type ArchiveRow } from './read-archives.js';
import { readArchive } from './restore-archives.js';
import type { RetentionServices } from './retention-services.js';

/** Archives that one look reads: of a store that lost a twentieth, every third look notices it, and some MiB are read. */
const archivesPerLook = 8;

/**
 * Reads some archives, drawn at random, and holds each to the record, the tree and the chain. Throws what the store throws
 * where it cannot be read at all.
 */
export async function sampleArchives(
  source: Pick<RetentionServices, 'database' | 'store'>,
  signal: AbortSignal | undefined,
): Promise<LogBreak[]> {
  const drawn = await source.database.query<ArchiveRow>(
    `SELECT ${archiveColumns} FROM public.log_archives WHERE removed_at IS NULL ORDER BY random() LIMIT ${archivesPerLook}`,
  );
  const breaks: LogBreak[] = [];
  for (const archive of drawn.rows) {
    signal?.throwIfAborted();
    const found = await judge(source, archive);
    if (found !== null) breaks.push(found);
  }
  return breaks;
}

async function judge(
  source: Pick<RetentionServices, 'database' | 'store'>,
  archive: ArchiveRow,
): Promise<LogBreak | null> {
  try {
    await readArchive(source, archive);
    return null;
  } catch (error) {
    if (!(error instanceof DaybookError)) throw error;
    const index = Number(archive.firstIndex);
    if (error.code === 'NOT_FOUND') return { code: 'ARCHIVE_MISSING', index, message: error.message };
    if (error.code === 'OBJECT_CHANGED') return { code: 'ARCHIVE_MISMATCH', index, message: error.message };
    // That the tree lacks tiles is a break of its own.
    if (error.code === 'LEDGER_BROKEN') return null;
    throw error;
  }
}
