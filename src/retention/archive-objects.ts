import { DaybookError } from '../errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { ObjectStore } from '../storage/object-store.js';
import type { ArchiveHeader } from './archive-file.js';
import type { RetentionServices } from './retention-services.js';

/** Where an archive lies in the store. */
export interface ArchiveObject {
  readonly objectKey: string;
  readonly versionId: string | null;
}

/** Digits of an index in a key, so that keys sort as their entries. */
const indexDigits = 12;
/** Digits of the object's SHA-256 in its key. */
const keyHashDigits = 16;

/**
 * Writes an archive, locked until the day before which it is not removed where the store can lock. Throws what the store
 * throws.
 */
export async function writeArchiveObject(
  services: RetentionServices,
  database: Queryable,
  { header, bytes, hash }: { readonly header: ArchiveHeader; readonly bytes: Uint8Array; readonly hash: string },
): Promise<ArchiveObject> {
  const store = storeOf(services);
  const { firstIndex, lastIndex } = header;
  // With its hash in the key, a node that was thought dead never overwrites what another has on record by now.
  const objectKey = `archives/audit/${padded(firstIndex)}-${padded(lastIndex)}-${hash.slice(0, keyHashDigits)}.jsonl.gz`;
  const { objectLock } = await store.describe();
  if (!objectLock) return { objectKey, versionId: (await store.write(objectKey, bytes)).versionId };
  const until = await readKeptUntil(database, firstIndex, lastIndex);
  const { versionId } = await store.writeLocked(objectKey, bytes, { mode: 'COMPLIANCE', until });
  return { objectKey, versionId };
}

/** Throws NOT_FOUND where the store lacks it. */
export async function readArchiveObject(
  services: Pick<RetentionServices, 'store'>,
  object: ArchiveObject,
): Promise<Uint8Array> {
  const store = storeOf(services);
  const { objectKey, versionId } = object;
  const found = versionId === null ? await store.read(objectKey) : await store.readVersion(objectKey, versionId);
  if (found === null) throw new DaybookError('NOT_FOUND', `${store.description} lacks the archive ${objectKey}`);
  return found.bytes;
}

/** Throws BAD_USER_INPUT where this node has none. */
function storeOf({ store }: Pick<RetentionServices, 'store'>): ObjectStore {
  if (store !== null) return store;
  throw new DaybookError('BAD_USER_INPUT', 'this node has no object store: set DAYBOOK_ANCHOR_STORE to other than off');
}

/** The same rule as the database's, which decides in the end. */
async function readKeptUntil(database: Queryable, firstIndex: number, lastIndex: number): Promise<string> {
  const found = await database.query<{ until: string }>(
    `SELECT max(recorded_at) + CASE WHEN bool_or(signal_id IS NOT NULL)
       THEN greatest((SELECT archived FROM public.retention_policies), interval '7 years')
       ELSE (SELECT archived FROM public.retention_policies) END AS until
     FROM public.audit_entries WHERE chain_index BETWEEN $1 AND $2`,
    [firstIndex, lastIndex],
  );
  const until = found.rows[0]?.until;
  if (until === undefined)
    throw new DaybookError('LEDGER_BROKEN', `the log lacks entries ${firstIndex} to ${lastIndex}`);
  return until;
}

function padded(index: number): string {
  return String(index).padStart(indexDigits, '0');
}
