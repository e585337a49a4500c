import { parseTimestamp } from '../core/timestamp.js';
import { DaybookError } from '../errors.js';

/** Objects pass through memory as a whole. Those of this service stay below 20 MB; a larger one is not one of ours. */
export const OBJECT_BYTES_MAX = 32 * 2 ** 20;
/** Leaves room for a store's own prefix within the 1,024 bytes that S3 allows. */
const KEY_BYTES_MAX = 512;
/** The longest name of a file on the usual file systems. */
const KEY_PART_BYTES_MAX = 255;

export interface StoredObject {
  readonly bytes: Uint8Array;
  /** Opaque; changes with the bytes. For `ifMatch`. */
  readonly etag: string;
  /** Null where the store keeps no versions. */
  readonly versionId: string | null;
}

/** Nobody may change or delete the version before `until`; GOVERNANCE can be lifted by those who are allowed to. */
export interface Retention {
  readonly mode: 'COMPLIANCE' | 'GOVERNANCE';
  /** RFC 3339, UTC. */
  readonly until: string;
}

export interface WriteOptions {
  /** Replace only an object with exactly this etag. */
  readonly ifMatch?: string;
  /** Write only where nothing is. */
  readonly ifAbsent?: true;
  /** A media type. A folder keeps none. */
  readonly contentType?: string;
}

/**
 * A place for whole objects of up to OBJECT_BYTES_MAX. A reader sees an object as it was before a write or after it, never
 * in between.
 *
 * A key is relative, its parts parted by '/', each 1 to 255 printable ASCII characters that do not begin with '.' (which
 * rules out '..', and leaves those names to the store), 512 in all. A key that is a beginning of another at a '/'
 * (`a` and `a/b`) is for S3 only: a folder refuses the second of them. Wrong keys and contradictory options are defects of
 * the caller: TypeError.
 *
 * Every call throws OBJECT_STORE_UNAVAILABLE where a retry may help, OBJECT_STORE_REFUSED where somebody has to mend
 * something first. Either says what.
 */
export interface ObjectStore extends AsyncDisposable {
  /** For people: `folder <path>` or `s3://<bucket>/<prefix> at <endpoint>`. Holds no secret. */
  readonly description: string;
  /** The latest version; null where nothing is. */
  read(key: string): Promise<StoredObject | null>;
  /** Creates or replaces. Throws OBJECT_CHANGED, and leaves the object, where a condition of `options` does not hold. */
  write(
    key: string,
    bytes: Uint8Array,
    options?: WriteOptions,
  ): Promise<{ readonly etag: string; readonly versionId: string | null }>;
  /** The keys that begin with `prefix`, ascending by their bytes. Objects with other keys than above are left out. */
  list(prefix: string): AsyncIterable<string>;
  /** Absent keys are no error. Where versions are kept, they stay, and locks hold. */
  remove(keys: readonly string[]): Promise<void>;
  /**
   * Writes a new version that nobody can change or delete before `retention.until`, and returns the retention that the
   * store then reports for that version: at least what was asked. Throws OBJECT_LOCK_UNCONFIRMED where it reports less;
   * `details.versionId` names a version that was written without the lock.
   * A store that knows no locks writes where nothing is, or where the same bytes are, and throws OBJECT_CHANGED elsewhere;
   * it returns null twice, and the caller says so to whoever relies on the lock.
   */
  writeLocked(
    key: string,
    bytes: Uint8Array,
    retention: Retention,
  ): Promise<{ readonly versionId: string | null; readonly retention: Retention | null }>;
  /** One version with the retention that the store reports for it. Null where there is no such version. */
  readVersion(
    key: string,
    versionId: string,
  ): Promise<(StoredObject & { readonly retention: Retention | null }) | null>;
  /** What the store can do, found out by asking it. Also tells whether it can be used at all. */
  describe(): Promise<{ readonly versioning: boolean; readonly objectLock: boolean }>;
}

export function isObjectKey(key: string): boolean {
  return (
    key.length <= KEY_BYTES_MAX &&
    key.split('/').every((part) => part.length <= KEY_PART_BYTES_MAX && /^(?!\.)[\x20-\x7e]+$/.test(part))
  );
}

export function assertObjectKey(key: string): void {
  if (!isObjectKey(key)) {
    throw new TypeError(`not a key of an object store: ${JSON.stringify(key.slice(0, KEY_BYTES_MAX))}`);
  }
}

/** The empty text, a key, the beginning of one, or a key with a '/' behind it. */
export function assertKeyPrefix(prefix: string): void {
  if (prefix !== '') {
    assertObjectKey(prefix.endsWith('/') ? prefix.slice(0, -1) : prefix);
  }
}

/** Checks the arguments of a write before anything is asked of the store. */
export function assertWrite(key: string, bytes: Uint8Array, options: WriteOptions): void {
  assertObjectKey(key);
  if (bytes.length > OBJECT_BYTES_MAX) {
    throw new TypeError(`an object holds at most ${OBJECT_BYTES_MAX} bytes, not ${bytes.length}`);
  }
  if (options.ifAbsent !== undefined && options.ifMatch !== undefined) {
    throw new TypeError('ifMatch asks for an object and ifAbsent for none: choose one');
  }
}

/** Microseconds since the Unix epoch of a retention's end. */
export function retentionEndMicros(retention: Retention): bigint {
  const micros = parseTimestamp(retention.until);
  if (micros === null) {
    throw new TypeError(`not an RFC 3339 time: ${JSON.stringify(retention.until)}`);
  }
  return micros;
}

/** True when a version that is kept as `seen` is kept at least as `asked`, in the very mode that was asked for. */
export function confirmsRetention(asked: Retention, seen: Retention | null): seen is Retention {
  return seen !== null && seen.mode === asked.mode && retentionEndMicros(seen) >= retentionEndMicros(asked);
}

export function objectChanged(key: string, reason: string): DaybookError {
  return new DaybookError('OBJECT_CHANGED', `${key} was not written: ${reason} Read it again and decide anew.`, {
    details: { key },
  });
}

/** The error for an object that this service cannot have written. */
export function objectTooLarge(key: string, description: string): DaybookError {
  return new DaybookError(
    'OBJECT_STORE_REFUSED',
    `${key} in ${description} exceeds ${OBJECT_BYTES_MAX} bytes, so it was not written by Daybook. Find out who writes there.`,
    { details: { key } },
  );
}
