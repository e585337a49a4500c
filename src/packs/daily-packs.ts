import { randomUUID } from 'node:crypto';
import type { PackServices } from './pack-services.js';
import { createPack } from './create-packs.js';
import { dayAfter } from './pack-range.js';
import { removeStoredPacks, storePacks, type PackStoreOptions } from './store-packs.js';

export interface DailyPackOptions {
  readonly services: PackServices;
  /** Null where nothing is kept outside the node: then nothing is removed from it either. */
  readonly store: PackStoreOptions | null;
  readonly keepDays: number;
}

/** The daily job: makes the packs of all days that have ended, copies them to the store and removes old copies here. */
export async function runDailyPacks(
  { services, store, keepDays }: DailyPackOptions,
  signal: AbortSignal,
): Promise<void> {
  const found = await services.database.query<{ today: string }>(
    "SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date::text AS today",
  );
  const today = found.rows[0]?.today;
  if (today === undefined) return;
  const first = await services.sources.readFirstRootDate();
  const yesterday = dayAfter(today, -1);
  if (first !== null && first <= yesterday) {
    const origin = {
      actor: 'daybook',
      role: null,
      ipAddress: null,
      userAgent: null,
      sessionId: 'daily-pack',
      requestId: randomUUID(),
    };
    await createPack(services, { date: yesterday, kind: 'DAY', origin, signal });
  }
  if (store === null) return;
  await storePacks(store, signal);
  const removed = await removeStoredPacks({ ...store, keepDays }, today);
  if (removed.length > 0) services.log.info({ removed }, 'packs that the store holds were removed from this node');
}
