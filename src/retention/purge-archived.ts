import pg from 'pg';
import { ledgerConnection } from '../db/pool.js';
import type { CallOrigin } from '../ledger/new-entries.js';
import { readSelectedArchives } from './read-archives.js';
import { readArchive } from './restore-archives.js';
import type { RetentionServices } from './retention-services.js';

/** Entries of one transaction at most, rounded up to a whole archive: it holds the ledger lock at its end alone. */
const entriesPerPurge = 65_536;

/** What was removed. Indexes are numbers of entries. */
export interface Purged {
  readonly entries: number;
  /** Index of the first entry that is left. */
  readonly firstKept: number;
}

/**
 * Removes archived entries that are old enough, delivered and under no hold, oldest first; the database decides which, and
 * leaves a receipt with each step. Each archive is read back and verified first. Throws RETENTION_REFUSED where a hold was
 * placed meanwhile, what the store throws, and NOT_FOUND or OBJECT_CHANGED for an archive that was lost or altered.
 */
export async function purgeArchived(
  services: RetentionServices,
  origin: CallOrigin,
  signal: AbortSignal,
  onPurged: (purged: Purged) => void = () => undefined,
): Promise<Purged> {
  const client = new pg.Client(ledgerConnection(services.url, 'daybook purge'));
  // What breaks it is reported by the query that finds it broken.
  client.on('error', () => undefined);
  await client.connect();
  let entries = 0;
  try {
    for (;;) {
      signal.throwIfAborted();
      const { first, next } = await readNextEnd(client);
      if (next <= first) return { entries, firstKept: first };
      await verifyBefore(services, first, next, signal);
      const purged = await client.query<{ removed: string }>('SELECT daybook.purge_entries($1, $2) AS removed', [
        next,
        origin.actor ?? 'unknown',
      ]);
      entries += Number(purged.rows[0]?.removed ?? 0);
      services.log.info({ firstKept: next }, 'archived audit entries were removed from the database');
      onPurged({ entries, firstKept: next });
    }
  } finally {
    await client.end();
  }
}

/**
 * Reads each archive of the entries once more: between the day it was made and the day they go, a hold may have kept them for
 * years, and the store may have lost it or be another one by now. Throws NOT_FOUND, OBJECT_CHANGED.
 */
async function verifyBefore(
  services: RetentionServices,
  first: number,
  next: number,
  signal: AbortSignal,
): Promise<void> {
  const selection = { firstIndex: String(first), lastIndex: String(next - 1) };
  for (const archive of await readSelectedArchives(services.database, selection)) {
    signal.throwIfAborted();
    await readArchive(services, archive);
  }
}

/** `next`: where the next removal ends; not behind `first` where nothing may be removed. */
async function readNextEnd(client: pg.Client): Promise<{ readonly first: number; readonly next: number }> {
  const found = await client.query<{ first: string; next: string | null }>(
    `WITH online AS (SELECT coalesce(min(chain_index), 0) AS first FROM public.audit_entries),
       allowed AS (SELECT daybook.first_kept_index() AS up_to)
     SELECT first, coalesce(
       (SELECT min(last_index) + 1 FROM public.log_archives WHERE last_index + 1 >= first + $1 AND last_index < up_to),
       up_to) AS next
     FROM online, allowed`,
    [entriesPerPurge],
  );
  const [row] = found.rows;
  return { first: Number(row?.first ?? 0), next: Number(row?.next ?? 0) };
}
