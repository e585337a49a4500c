import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  GetObjectRetentionCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  S3Client,
  type PutObjectCommandInput,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { timestampFromMs } from '../core/timestamp.js';
import { OBJECT_BYTES_MAX, objectTooLarge, type Retention, type StoredObject } from './object-store.js';
import { isAbsentHead, isAbsentObject, isAbsentVersion, isWithoutLock } from './s3-errors.js';

const CONNECT_TIMEOUT_MS = 10_000;
/** Of one call: all its tries and the whole answer. */
const ANSWER_TIMEOUT_MS = 30_000;
/** Tries of a request that can be repeated without a trace. */
const ATTEMPTS_MAX = 3;

/** Names the version that a conditional write replaced, or REPLACES_NOTHING. */
const REPLACES_KEY = 'daybook-replaces';
const REPLACES_NOTHING = 'none';

export interface S3StoreOptions {
  readonly bucket: string;
  /** Stands before every key, parted by '/'. */
  readonly prefix?: string;
  /** Of a store other than Amazon's, such as `https://s3.example.org:9000`; the bucket then stands in the path. */
  readonly endpoint?: string;
  /** Default: the AWS SDK's, or `us-east-1` where an endpoint is given. */
  readonly region?: string;
  /** Default: the AWS SDK's chain (AWS_ACCESS_KEY_ID and so on). */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Milliseconds for one call. Default: 30 s. */
  readonly answerTimeoutMs?: number;
}

/** What HEAD tells of an object. */
export interface ObjectFacts {
  readonly etag: string;
  readonly versionId: string | null;
  /** What it says that it replaced: a version id, 'nothing', or null where it was written without a condition. */
  readonly replaces: { readonly versionId: string | null } | null;
}

/** What stood under the key just before a version: another version, or the mark of a removal. */
export interface PrecedingVersion {
  readonly versionId: string;
  readonly isRemoval: boolean;
}

export interface PutInput {
  readonly bytes: Uint8Array;
  readonly contentType?: string;
  readonly condition?: { readonly ifMatch: string } | 'ifAbsent';
  /** See ObjectFacts. */
  readonly replaces?: { readonly versionId: string | null };
  readonly lock?: { readonly mode: Retention['mode']; readonly untilMs: number };
}

/** The requests to one bucket, in this service's terms. Rejects with the SDK's errors. Owns its connections. */
export class S3Bucket implements Disposable {
  readonly #client: S3Client;
  /** For writes that must not happen twice: after a lost answer, a second try would meet the first as a stranger's. */
  readonly #clientWithoutRetry: S3Client;
  readonly #prefix: string;

  constructor(private readonly options: S3StoreOptions) {
    const config: S3ClientConfig = {
      endpoint: options.endpoint,
      region: options.region ?? (options.endpoint === undefined ? undefined : 'us-east-1'),
      credentials: options.credentials,
      forcePathStyle: options.endpoint !== undefined,
      // Content-MD5 protects what is sent: every store checks it, and not every one knows the newer checksums.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS },
    };
    this.#client = new S3Client({ ...config, maxAttempts: ATTEMPTS_MAX });
    this.#clientWithoutRetry = new S3Client({ ...config, maxAttempts: 1 });
    this.#prefix = options.prefix === undefined ? '' : `${options.prefix}/`;
  }

  /** The key as the bucket has it. */
  fullKey(key: string): string {
    return this.#prefix + key;
  }

  /** For requests that this class has no name for. `Bucket` is left to the caller. */
  get client(): S3Client {
    return this.#client;
  }

  /** For each request: ends it when its time is up. */
  deadline(): { abortSignal: AbortSignal } {
    return { abortSignal: AbortSignal.timeout(this.options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS) };
  }

  async get(key: string, versionId?: string): Promise<StoredObject | null> {
    const request = new GetObjectCommand({ ...this.#address(key), VersionId: versionId });
    const isNothing = versionId === undefined ? isAbsentObject : isAbsentVersion;
    const answer = await nullIf(isNothing, this.#client.send(request, this.deadline()));
    if (answer === null) return null;
    const body = answer.Body as Readable;
    if ((answer.ContentLength ?? Infinity) > OBJECT_BYTES_MAX) {
      body.destroy();
      throw objectTooLarge(key, `bucket ${this.options.bucket}`);
    }
    return { bytes: await buffer(body), etag: unquote(answer.ETag), versionId: versionOf(answer.VersionId) };
  }

  async head(key: string): Promise<ObjectFacts | null> {
    const request = new HeadObjectCommand(this.#address(key));
    const answer = await nullIf(isAbsentHead, this.#client.send(request, this.deadline()));
    if (answer === null) return null;
    const replaces = answer.Metadata?.[REPLACES_KEY];
    return {
      etag: unquote(answer.ETag),
      versionId: versionOf(answer.VersionId),
      replaces: replaces === undefined ? null : { versionId: replaces === REPLACES_NOTHING ? null : replaces },
    };
  }

  /** A condition or a lock makes it a write that is tried once. */
  async put(key: string, input: PutInput): Promise<{ etag: string; versionId: string | null }> {
    const { bytes, condition, replaces, lock } = input;
    const request: PutObjectCommandInput = {
      ...this.#address(key),
      Body: bytes,
      ContentMD5: createHash('md5').update(bytes).digest('base64'),
      ContentType: input.contentType,
      IfNoneMatch: condition === 'ifAbsent' ? '*' : undefined,
      IfMatch: typeof condition === 'object' ? condition.ifMatch : undefined,
      Metadata: replaces && { [REPLACES_KEY]: replaces.versionId ?? REPLACES_NOTHING },
      ObjectLockMode: lock?.mode,
      ObjectLockRetainUntilDate: lock && new Date(lock.untilMs),
    };
    const client = replaces === undefined && lock === undefined ? this.#client : this.#clientWithoutRetry;
    const answer = await client.send(new PutObjectCommand(request), this.deadline());
    return { etag: unquote(answer.ETag), versionId: versionOf(answer.VersionId) };
  }

  /** Null where nothing was under the key before. */
  async readPreceding(key: string, versionId: string): Promise<PrecedingVersion | null> {
    const fullKey = this.fullKey(key);
    const request = new ListObjectVersionsCommand({
      Bucket: this.options.bucket,
      Prefix: fullKey,
      KeyMarker: fullKey,
      VersionIdMarker: versionId,
      MaxKeys: 1,
    });
    const { Versions = [], DeleteMarkers = [] } = await this.#client.send(request, this.deadline());
    const found = [
      ...Versions.map((version) => ({ ...version, isRemoval: false })),
      ...DeleteMarkers.map((version) => ({ ...version, isRemoval: true })),
    ].find((version) => version.Key === fullKey);
    return found?.VersionId === undefined ? null : { versionId: found.VersionId, isRemoval: found.isRemoval };
  }

  /** For good: the version before it becomes the latest. */
  async removeVersion(key: string, versionId: string): Promise<void> {
    await this.#client.send(new DeleteObjectCommand({ ...this.#address(key), VersionId: versionId }), this.deadline());
  }

  /** Null where the version, or the bucket, has no lock. */
  async readRetention(key: string, versionId: string): Promise<Retention | null> {
    const request = new GetObjectRetentionCommand({ ...this.#address(key), VersionId: versionId });
    const answer = await nullIf(isWithoutLock, this.#client.send(request, this.deadline()));
    const seen = answer?.Retention;
    if (seen?.Mode === undefined || seen.RetainUntilDate === undefined) return null;
    return { mode: seen.Mode, until: timestampFromMs(seen.RetainUntilDate.getTime()) };
  }

  [Symbol.dispose](): void {
    this.#client.destroy();
    this.#clientWithoutRetry.destroy();
  }

  #address(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.options.bucket, Key: this.fullKey(key) };
  }
}

/** Null in place of the errors that say that there is nothing. */
async function nullIf<T>(isNothing: (err: unknown) => boolean, answer: Promise<T>): Promise<T | null> {
  return answer.catch((err: unknown) => {
    if (isNothing(err)) return null;
    throw err;
  });
}

function unquote(etag = ''): string {
  return etag.replace(/^"(.*)"$/, '$1');
}

/** 'null' is the id of the one version that a bucket without versioning keeps. */
function versionOf(versionId: string | undefined): string | null {
  return versionId === undefined || versionId === 'null' ? null : versionId;
}
