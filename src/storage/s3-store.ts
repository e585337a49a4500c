import {
  DeleteObjectsCommand,
  GetBucketVersioningCommand,
  GetObjectLockConfigurationCommand,
  ListObjectsV2Command,
} from '@aws-sdk/client-s3';
import { DaybookError } from '../errors.js';
import {
  assertKeyPrefix,
  assertObjectKey,
  assertWrite,
  confirmsRetention,
  isObjectKey,
  retentionEndMicros,
  type ObjectStore,
  type Retention,
  type StoredObject,
  type WriteOptions,
} from './object-store.js';
import { S3Bucket, type S3StoreOptions } from './s3-bucket.js';
import { writeConditionally } from './s3-conditional-write.js';
import { isWithoutLock, mapS3Error } from './s3-errors.js';

/** What DeleteObjects takes at once. */
const REMOVED_KEYS_MAX = 1_000;
/** With it and a '/' before it, a key keeps within the 1,024 bytes of S3. */
const PREFIX_BYTES_MAX = 500;

/**
 * Objects in a bucket of Amazon S3 or a store that speaks its protocol. Connects at the first call. Each call ends within
 * 30 seconds. Needs read-after-write consistency, which Amazon S3 and Ceph have.
 *
 * Conditions of a write hold as far as the store lets them: see `writeConditionally`, which says what is checked and what a
 * store that ignores conditions leaves open. `writeLocked` needs a bucket that was created with Object Lock.
 */
export function openS3Store(options: S3StoreOptions): ObjectStore {
  if (options.prefix !== undefined) {
    assertObjectKey(options.prefix);
    if (options.prefix.length > PREFIX_BYTES_MAX) {
      throw new TypeError(`a prefix has at most ${PREFIX_BYTES_MAX} bytes`);
    }
  }
  return new S3Store(options);
}

class S3Store implements ObjectStore {
  readonly description: string;
  readonly #bucket: S3Bucket;
  readonly #bucketName: string;

  constructor(options: S3StoreOptions) {
    this.description = describePlace(options);
    this.#bucket = new S3Bucket(options);
    this.#bucketName = options.bucket;
  }

  async read(key: string): Promise<StoredObject | null> {
    assertObjectKey(key);
    return this.#mapErrors(`read ${key}`, () => this.#bucket.get(key));
  }

  async write(
    key: string,
    bytes: Uint8Array,
    options: WriteOptions = {},
  ): Promise<{ etag: string; versionId: string | null }> {
    assertWrite(key, bytes, options);
    const input = { bytes, contentType: options.contentType };
    return this.#mapErrors(`write ${key}`, () =>
      options.ifAbsent || options.ifMatch !== undefined
        ? writeConditionally(this.#bucket, key, input, options)
        : this.#bucket.put(key, input),
    );
  }

  async *list(prefix: string): AsyncGenerator<string> {
    assertKeyPrefix(prefix);
    const ours = this.#bucket.fullKey('').length;
    let token: string | undefined;
    do {
      const request = new ListObjectsV2Command({
        Bucket: this.#bucketName,
        Prefix: this.#bucket.fullKey(prefix),
        ContinuationToken: token,
      });
      const page = await this.#mapErrors(`list ${prefix}`, () =>
        this.#bucket.client.send(request, this.#bucket.deadline()),
      );
      yield* (page.Contents ?? []).map((object) => (object.Key ?? '').slice(ours)).filter(isObjectKey);
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async remove(keys: readonly string[]): Promise<void> {
    keys.forEach(assertObjectKey);
    for (let start = 0; start < keys.length; start += REMOVED_KEYS_MAX) {
      const part = keys.slice(start, start + REMOVED_KEYS_MAX);
      const request = new DeleteObjectsCommand({
        Bucket: this.#bucketName,
        Delete: { Quiet: true, Objects: part.map((key) => ({ Key: this.#bucket.fullKey(key) })) },
      });
      const { Errors: [refused] = [] } = await this.#mapErrors(`remove ${part[0]}`, () =>
        this.#bucket.client.send(request, this.#bucket.deadline()),
      );
      if (refused !== undefined) {
        // One request, an outcome for each key: the first that failed speaks for the others.
        const httpStatus = refused.Code === 'AccessDenied' ? 403 : 500;
        const failure = { name: refused.Code, $metadata: { httpStatusCode: httpStatus } };
        throw mapS3Error(failure, `remove ${refused.Key}`, this.description);
      }
    }
  }

  /**
   * 1. The version is written together with its lock. _A crash leaves it, locked, and the caller does not know its id._
   * 2. Its retention is read back by its id, for there are stores that take a lock and do not keep it.
   */
  async writeLocked(
    key: string,
    bytes: Uint8Array,
    retention: Retention,
  ): Promise<{ versionId: string; retention: Retention }> {
    assertWrite(key, bytes, {});
    // Stores that keep whole seconds would otherwise end the lock a moment too early.
    const untilMs = Math.ceil(Number(retentionEndMicros(retention)) / 1e6) * 1000;
    return this.#mapErrors(`write ${key} with a lock`, async () => {
      const { versionId } = await this.#bucket.put(key, { bytes, lock: { mode: retention.mode, untilMs } }).catch(
        // A bucket without Object Lock says so before it takes anything.
        (err: unknown) => {
          throw isWithoutLock(err) ? unconfirmed(this.description, key, null, err) : err;
        },
      );
      const seen = versionId === null ? null : await this.#bucket.readRetention(key, versionId);
      if (versionId === null || !confirmsRetention(retention, seen)) {
        throw unconfirmed(this.description, key, versionId);
      }
      return { versionId, retention: seen };
    });
  }

  async readVersion(key: string, versionId: string): Promise<(StoredObject & { retention: Retention | null }) | null> {
    assertObjectKey(key);
    return this.#mapErrors(`read version ${versionId} of ${key}`, async () => {
      const object = await this.#bucket.get(key, versionId);
      return object === null ? null : { ...object, retention: await this.#bucket.readRetention(key, versionId) };
    });
  }

  async describe(): Promise<{ versioning: boolean; objectLock: boolean }> {
    const bucket = { Bucket: this.#bucketName };
    const { client } = this.#bucket;
    return this.#mapErrors('say what it can do', async () => {
      const versioning = await client.send(new GetBucketVersioningCommand(bucket), this.#bucket.deadline());
      const lock = await client
        .send(new GetObjectLockConfigurationCommand(bucket), this.#bucket.deadline())
        .catch((err: unknown) => {
          if (isWithoutLock(err)) return null;
          throw err;
        });
      return {
        versioning: versioning.Status === 'Enabled',
        objectLock: lock?.ObjectLockConfiguration?.ObjectLockEnabled === 'Enabled',
      };
    });
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- nothing to wait for: every call has its own end
  async [Symbol.asyncDispose](): Promise<void> {
    this.#bucket[Symbol.dispose]();
  }

  async #mapErrors<T>(action: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (err) {
      throw mapS3Error(err, action, this.description);
    }
  }
}

/** An endpoint can carry a user and a password: both are left out. */
function describePlace({ bucket, prefix, endpoint, region }: S3StoreOptions): string {
  const place = prefix === undefined ? `s3://${bucket}` : `s3://${bucket}/${prefix}`;
  if (endpoint === undefined) {
    return `${place} at Amazon S3${region === undefined ? '' : ` in ${region}`}`;
  }
  const { origin, pathname } = new URL(endpoint);
  return `${place} at ${origin}${pathname === '/' ? '' : pathname}`;
}

function unconfirmed(description: string, key: string, versionId: string | null, cause?: unknown): DaybookError {
  const what = versionId === null ? `did not take a lock for ${key}` : `does not confirm the lock of ${key}`;
  return new DaybookError(
    'OBJECT_LOCK_UNCONFIRMED',
    `${description} ${what}. Use a bucket that was created with Object Lock, and a key that may set and read retention.`,
    { cause, details: { key, versionId } },
  );
}
