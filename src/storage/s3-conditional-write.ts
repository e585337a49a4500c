import { DaybookError } from '../errors.js';
import { objectChanged, type WriteOptions } from './object-store.js';
import type { ObjectFacts, PrecedingVersion, PutInput, S3Bucket } from './s3-bucket.js';
import { isPreconditionFailed } from './s3-errors.js';

type Written = { etag: string; versionId: string | null };

/**
 * A write under `ifMatch` or `ifAbsent` that does not rely on the store's word where it can check.
 *
 * Amazon S3 decides If-Match and If-None-Match in one step with the write. Not every store does: Ceph 16 does so in a bucket
 * without versions (and takes an etag without its quotes only), but in one with versions it ignores If-None-Match and refuses
 * every If-Match. So in a bucket with versions:
 * 1. The latest version is looked at; where it contradicts the condition, nothing is written. _A crash leaves nothing._
 * 2. The object is written, under the condition where the store can hold it, and its metadata names the version that it
 *    replaces. _A crash leaves the new version as the latest, even where it should have lost._
 * 3. The version that the store lists directly before the new one must be the named one. Of writers that race for one
 *    version, only the first finds it so. The others delete the version they wrote and throw OBJECT_CHANGED.
 * Step 1 runs the same check on the version to be replaced, so that nobody builds on one that is about to be withdrawn: no
 * confirmed write is lost. What remains on such a store: between 2 and 3 a reader can see bytes that are then withdrawn.
 *
 * In a bucket without versions nothing can be checked afterwards; there the store is trusted to hold the condition, beyond
 * step 1. Amazon S3 and Ceph do.
 */
export async function writeConditionally(
  bucket: S3Bucket,
  key: string,
  input: PutInput,
  options: WriteOptions,
): Promise<Written> {
  const before = await bucket.head(key);
  if (options.ifAbsent ? before !== null : before?.etag !== options.ifMatch) {
    throw objectChanged(key, 'the store holds something else than the condition asks for.');
  }
  if (before !== null) {
    await assertConfirmed(bucket, key, before);
  }
  const put = { ...input, replaces: { versionId: before?.versionId ?? null } };
  const written = before === null ? await putIfAbsent(bucket, key, put) : await putIfMatch(bucket, key, put, before);
  if (written.versionId !== null) {
    await withdrawIfOvertaken(bucket, key, written.versionId, before);
  }
  return written;
}

function putIfAbsent(bucket: S3Bucket, key: string, put: PutInput): Promise<Written> {
  return bucket.put(key, { ...put, condition: 'ifAbsent' });
}

async function putIfMatch(bucket: S3Bucket, key: string, put: PutInput, before: ObjectFacts): Promise<Written> {
  try {
    return await bucket.put(key, { ...put, condition: { ifMatch: `"${before.etag}"` } });
  } catch (err) {
    if (!isPreconditionFailed(err)) throw err;
  }
  if (before.versionId === null) {
    return bucket.put(key, { ...put, condition: { ifMatch: before.etag } });
  }
  const now = await bucket.head(key);
  if (now?.versionId !== before.versionId) {
    throw objectChanged(key, 'another writer was faster.');
  }
  // The condition holds and the store refuses it: the order of the versions decides.
  return bucket.put(key, put);
}

/** Throws OBJECT_CHANGED where `latest` was written under a condition of which its writer cannot have found that it held. */
async function assertConfirmed(bucket: S3Bucket, key: string, latest: ObjectFacts): Promise<void> {
  if (latest.versionId === null || latest.replaces === null) return;
  const preceding = await bucket.readPreceding(key, latest.versionId);
  // Where nothing precedes it any more, a life-cycle rule has removed what it replaced: the race is long over.
  if (preceding === null || replacedBy(latest.replaces.versionId, preceding)) return;
  throw objectChanged(
    key,
    `its latest version ${latest.versionId} lost against another and is about to be withdrawn. Should this last, its writer ended before that: delete that version.`,
  );
}

async function withdrawIfOvertaken(
  bucket: S3Bucket,
  key: string,
  versionId: string,
  before: ObjectFacts | null,
): Promise<void> {
  const preceding = await bucket.readPreceding(key, versionId);
  if (before === null && preceding === null) return;
  if (replacedBy(before?.versionId ?? null, preceding)) return;
  try {
    await bucket.removeVersion(key, versionId);
  } catch (err) {
    throw new DaybookError(
      'OBJECT_STORE_REFUSED',
      `Another writer of ${key} was faster, and version ${versionId}, written after it, could not be withdrawn. Delete that version; for this store, allow s3:DeleteObjectVersion and use a bucket without a default retention.`,
      { cause: err, details: { key, versionId } },
    );
  }
  throw objectChanged(key, 'another writer was faster.');
}

/** Whether `preceding` is the version that was to be replaced, or, for null, leaves nothing under the key. */
function replacedBy(versionId: string | null, preceding: PrecedingVersion | null): boolean {
  if (versionId === null) return preceding === null || preceding.isRemoval;
  return preceding !== null && !preceding.isRemoval && preceding.versionId === versionId;
}
