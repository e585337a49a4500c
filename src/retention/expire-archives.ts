import { encodeCanonicalJson } from '../core/canonical-json.js';
import { entriesPath, tileWidth } from '../core/tile-path.js';
import { DaybookError } from '../errors.js';
import { serviceEntry, type CallOrigin } from '../ledger/new-entries.js';
import type { RetentionServices } from './retention-services.js';

/** A run removes objects again of archives that were given up so recently: a crash may have kept it from doing so. */
const lookBackDays = 7;

/** Asked again before an object goes: a row alone, whoever wrote it, gives none up. */
const isTimeOver = `last_recorded_at + (SELECT CASE WHEN holds_signals THEN greatest(archived, interval '7 years')
    ELSE archived END FROM public.retention_policies) <= clock_timestamp()`;

interface DueArchive {
  readonly number: string;
  readonly firstIndex: string;
  readonly lastIndex: string;
  readonly objectKey: string;
}

/**
 * Gives up archives whose time is over and that no hold may need, with an ArchiveRemoved entry each, then removes their objects
 * and what the published layout holds of their entries. The tree's hashes stay. Returns how many. Throws what the store
 * throws.
 */
export async function expireArchives(
  services: RetentionServices,
  origin: CallOrigin,
  signal: AbortSignal,
): Promise<number> {
  const { database, store } = services;
  if (store === null) return 0;
  const due = await database.query<DueArchive>(
    `SELECT number, first_index AS "firstIndex", last_index AS "lastIndex", object_key AS "objectKey"
     FROM public.log_archives AS archive
     WHERE removed_at IS NULL AND last_index < (SELECT max(first_kept_index) FROM public.ledger_purges)
       AND ${isTimeOver}
     ORDER BY first_index`,
  );
  let given = 0;
  for (const archive of due.rows) {
    signal.throwIfAborted();
    if (await giveUp(services, archive, origin)) given += 1;
  }
  const removed = await database.query<DueArchive>(
    `SELECT number, first_index AS "firstIndex", last_index AS "lastIndex", object_key AS "objectKey"
     FROM public.log_archives AS archive WHERE removed_at > clock_timestamp() - $1 * interval '1 day'
       AND ${isTimeOver}
       AND EXISTS (SELECT FROM public.audit_entries
                   WHERE event = 'ArchiveRemoved' AND resource = concat('archive/', archive.number))
     ORDER BY first_index`,
    [lookBackDays],
  );
  for (const archive of removed.rows) {
    signal.throwIfAborted();
    await store.remove([archive.objectKey, ...bundleKeys(archive)]);
  }
  return given;
}

/** False where a hold may need it. */
async function giveUp(services: RetentionServices, archive: DueArchive, origin: CallOrigin): Promise<boolean> {
  const { number, firstIndex, lastIndex, objectKey } = archive;
  const entry = serviceEntry({
    ...origin,
    category: 'BACKUP',
    event: 'ArchiveRemoved',
    action: 'DELETE',
    resource: `archive/${number}`,
    details: encodeCanonicalJson({ firstIndex, lastIndex, objectKey }),
  });
  try {
    await services.append({
      entries: [entry],
      alongside: async (client) => {
        await client.query('DELETE FROM public.restored_entries WHERE archive = $1', [number]);
        await client.query('UPDATE public.log_archives SET removed_by = $2 WHERE number = $1', [
          number,
          origin.actor ?? 'unknown',
        ]);
      },
    });
    return true;
  } catch (error) {
    if (!(error instanceof DaybookError && error.code === 'RETENTION_REFUSED')) throw error;
    services.log.info({ archive: number, reason: error.message }, 'an archive whose time is over stays');
    return false;
  }
}

/** Bundles of the published static layout that hold the bodies of an archive's entries. */
function bundleKeys({ firstIndex, lastIndex }: DueArchive): string[] {
  const [first, end] = [Number(firstIndex) / tileWidth, (Number(lastIndex) + 1) / tileWidth];
  return Array.from({ length: end - first }, (_, place) => `audit/${entriesPath(first + place)}`);
}
