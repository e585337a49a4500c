import type { CallOrigin } from '../ledger/new-entries.js';
import { createArchives } from './create-archives.js';
import { expireArchives } from './expire-archives.js';
import { purgeArchived } from './purge-archived.js';
import { releaseRestored } from './restore-archives.js';
import type { RetentionServices } from './retention-services.js';

/** The nightly job: archives what is old enough, removes what is archived, and gives up what was kept long enough. */
export async function runRetention(
  services: RetentionServices,
  origin: CallOrigin,
  signal: AbortSignal,
): Promise<{
  readonly archives: number;
  readonly purged: number;
  readonly expired: number;
  readonly released: number;
}> {
  const made = await createArchives(services, origin, signal);
  // Where the store cannot be written to, the archives in it may be out of reach as well: the run ended above then.
  const purged = services.store === null ? 0 : (await purgeArchived(services, origin, signal)).entries;
  const expired = await expireArchives(services, origin, signal);
  const released = await releaseRestored(services);
  return { archives: made.length, purged, expired, released };
}
