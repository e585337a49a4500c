import { decodeUtf8 } from '../core/bytes.js';
import { logNames, type LogName } from '../ledger/rows.js';
import type { ObjectStore } from '../storage/object-store.js';
import type { CheckpointFiles } from './known-checkpoints.js';
import { checkpointKey } from './publish-log.js';

/** A checkpoint that lies outside the database, for verification to compare the log with. */
export interface PublishedCheckpoint {
  readonly log: LogName;
  readonly note: string;
  /** Where it was found. */
  readonly from: string;
}

/** Roots read at a time. */
const readsAtOnce = 8;

/**
 * Every checkpoint of both logs that lies outside the database: this node's files, the published checkpoint, and each day's
 * root in the store. Whoever rewrites a database with all its proofs does not reach these. Throws what the store throws.
 */
export async function readPublishedCheckpoints(
  store: ObjectStore | null,
  files: CheckpointFiles | null,
): Promise<PublishedCheckpoint[]> {
  const found: PublishedCheckpoint[] = [];
  for (const log of logNames) {
    const kept = (await files?.read(log)) ?? null;
    if (kept !== null) found.push({ log, note: kept, from: files?.pathOf(log) ?? '' });
    if (store !== null) found.push(...(await readStore(store, log)));
  }
  return found;
}

async function readStore(store: ObjectStore, log: LogName): Promise<PublishedCheckpoint[]> {
  const keys = [checkpointKey(log)];
  for await (const key of store.list(`${log}/roots/`)) if (key.endsWith('.checkpoint')) keys.push(key);
  const found: PublishedCheckpoint[] = [];
  for (let from = 0; from < keys.length; from += readsAtOnce) {
    const objects = await Promise.all(
      keys.slice(from, from + readsAtOnce).map(async (key) => ({ key, object: await store.read(key) })),
    );
    for (const { key, object } of objects) {
      if (object !== null) found.push({ log, note: textOf(object.bytes), from: `${key} in ${store.description}` });
    }
  }
  return found;
}

/** Bytes that are no text cannot be a checkpoint either; verification says so. */
function textOf(bytes: Uint8Array): string {
  try {
    return decodeUtf8(bytes);
  } catch {
    return '';
  }
}
