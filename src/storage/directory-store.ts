import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { access, constants, mkdir, open, readdir, rename, rm, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { DaybookError } from '../errors.js';
import { lockFolder } from './folder-lock.js';
import {
  assertKeyPrefix,
  assertObjectKey,
  assertWrite,
  isObjectKey,
  OBJECT_BYTES_MAX,
  objectChanged,
  objectTooLarge,
  retentionEndMicros,
  type ObjectStore,
  type Retention,
  type StoredObject,
  type WriteOptions,
} from './object-store.js';

/** Not a key, so no object can have this name and `list` passes over it. */
const LOCK_FILE = '.daybook-lock';
/** Beside the object, so on its file system. One name is enough, for the holder of the lock alone writes. */
const STAGED_FILE = '.daybook-staged';

/**
 * Objects as files below `folder`, which is made by the first write. The etag is the SHA-256 of the bytes, in hex. There are
 * no versions, no locks and no media types.
 *
 * Writes of all processes on the folder go one after another, under a lock in it, so conditions hold between processes too.
 * Each is flushed to the disk before it returns. A crash at any point leaves the old object or the new one, and at most one
 * hidden file, which the next write into the same folder removes.
 */
export function openDirectoryStore(folder: string): ObjectStore {
  return new DirectoryStore(resolve(folder));
}

class DirectoryStore implements ObjectStore {
  readonly description: string;
  /** Settled when the last write of this store has ended. */
  #lastWrite: Promise<unknown> = Promise.resolve();

  constructor(private readonly folder: string) {
    this.description = `folder ${folder}`;
  }

  async read(key: string): Promise<StoredObject | null> {
    assertObjectKey(key);
    const bytes = await this.#mapErrors(() => this.#readFile(key));
    return bytes === null ? null : { bytes, etag: etagOf(bytes), versionId: null };
  }

  async write(key: string, bytes: Uint8Array, options: WriteOptions = {}): Promise<{ etag: string; versionId: null }> {
    assertWrite(key, bytes, options);
    await this.#exclusively(async () => {
      const current = options.ifAbsent || options.ifMatch !== undefined ? await this.#readFile(key) : null;
      if (options.ifAbsent && current !== null) {
        throw objectChanged(key, 'there is such an object already.');
      }
      if (options.ifMatch !== undefined && (current === null || etagOf(current) !== options.ifMatch)) {
        throw objectChanged(key, 'it is not the object that was to be replaced.');
      }
      await replaceFile(this.folder, this.#pathOf(key), bytes, 0o600);
    });
    return { etag: etagOf(bytes), versionId: null };
  }

  async *list(prefix: string): AsyncGenerator<string> {
    assertKeyPrefix(prefix);
    yield* this.#walk('', prefix);
  }

  async remove(keys: readonly string[]): Promise<void> {
    keys.forEach(assertObjectKey);
    if (keys.length === 0) return;
    await this.#exclusively(async () => {
      const folders = new Set<string>();
      for (const path of keys.map((key) => this.#pathOf(key))) {
        if ((await unless(isAbsence, unlink(path))) !== null) folders.add(dirname(path));
      }
      for (const folder of folders) await syncFolder(folder);
    });
  }

  async writeLocked(
    key: string,
    bytes: Uint8Array,
    retention: Retention,
  ): Promise<{ versionId: null; retention: null }> {
    assertWrite(key, bytes, {});
    retentionEndMicros(retention);
    await this.#exclusively(async () => {
      const current = await this.#readFile(key);
      if (current === null) {
        await replaceFile(this.folder, this.#pathOf(key), bytes, 0o444);
      } else if (etagOf(current) !== etagOf(bytes)) {
        throw objectChanged(key, 'another object has that name, and a folder keeps no versions.');
      }
    });
    return { versionId: null, retention: null };
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- async, so that a wrong key rejects as everywhere
  async readVersion(key: string, _versionId: string): Promise<null> {
    assertObjectKey(key);
    return null;
  }

  async describe(): Promise<{ versioning: boolean; objectLock: boolean }> {
    await this.#mapErrors(() => this.#prepareFolder());
    return { versioning: false, objectLock: false };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lastWrite;
  }

  #pathOf(key: string): string {
    return join(this.folder, ...key.split('/'));
  }

  async #prepareFolder(): Promise<void> {
    await makeFolder(this.folder);
    // Asked for by name, for the lock would only say that it cannot open its file.
    await access(this.folder, constants.R_OK | constants.W_OK | constants.X_OK);
  }

  async #readFile(key: string): Promise<Buffer | null> {
    await using file = await unless(isAbsence, open(this.#pathOf(key), 'r'));
    if (file === null) return null;
    const facts = await file.stat();
    if (!facts.isFile()) return null;
    if (facts.size > OBJECT_BYTES_MAX) throw objectTooLarge(key, this.description);
    return await file.readFile();
  }

  async *#walk(folderKey: string, prefix: string): AsyncGenerator<string> {
    const entries = await this.#mapErrors(() =>
      unless(isAbsence, readdir(join(this.folder, folderKey), { withFileTypes: true })),
    );
    // With its '/', a folder sorts as the keys in it do: `a-b` stands before `a/b`.
    for (const name of (entries ?? []).map(listedName).sort(byBytes)) {
      const key = folderKey + name;
      if (name.endsWith('/')) {
        if (key.startsWith(prefix) || prefix.startsWith(key)) yield* this.#walk(key, prefix);
      } else if (key.startsWith(prefix) && isObjectKey(key)) {
        yield key;
      }
    }
  }

  /** Runs `work` alone in this process and among processes. */
  #exclusively(work: () => Promise<void>): Promise<void> {
    const done = this.#lastWrite.then(() =>
      this.#mapErrors(async () => {
        await this.#prepareFolder();
        using lock = await lockFolder(join(this.folder, LOCK_FILE));
        if (lock === null) throw lockIsHeld(this.description);
        await work();
      }),
    );
    // The next write waits for the end of this one; how it ended is its own caller's affair.
    this.#lastWrite = done.catch(() => undefined);
    return done;
  }

  async #mapErrors<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (err) {
      throw mapFileError(err, this.description);
    }
  }
}

function etagOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Empty for what is neither a file nor a folder, or hidden: no key begins so. */
function listedName(entry: Dirent): string {
  if (entry.name.startsWith('.')) return '';
  return entry.isDirectory() ? `${entry.name}/` : entry.isFile() ? entry.name : '';
}

function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Puts `bytes` under `path`. The caller holds the lock.
 * 1. A hidden file beside it is written and flushed. _A crash leaves that file; the object is as before._
 * 2. It takes the object's name. _A crash leaves the old object or the new one, each whole._
 * 3. The folder is flushed. _From here on the new object stays._
 */
async function replaceFile(root: string, path: string, bytes: Uint8Array, mode: number): Promise<void> {
  const folder = dirname(path);
  const staged = join(folder, STAGED_FILE);
  if (folder !== root) await makeFolder(folder);
  // What a killed process left can be read-only: it is removed rather than written over.
  await rm(staged, { force: true });
  try {
    await using file = await open(staged, 'wx', mode);
    await writeFlushed(file, bytes, mode);
  } catch (err) {
    // The space is given back now; where even that fails, the next write tries again, and the first error is the cause.
    await rm(staged, { force: true }).catch(() => undefined);
    throw err;
  }
  await rename(staged, path);
  await syncFolder(folder);
}

async function writeFlushed(file: FileHandle, bytes: Uint8Array, mode: number): Promise<void> {
  await file.writeFile(bytes);
  await file.chmod(mode);
  await file.sync();
}

/** Makes `folder` and those above it where they are missing, and flushes each new name. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o700 });
  for (let made = folder; first !== undefined && made.length >= first.length; made = dirname(made)) {
    await syncFolder(dirname(made));
  }
}

async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, 'r');
  await handle.sync();
}

/** Null in place of an error that `isExpected`. */
async function unless<T>(isExpected: (err: unknown) => boolean, work: Promise<T>): Promise<T | null> {
  return work.catch((err: unknown) => {
    if (isExpected(err)) return null;
    throw err;
  });
}

/** Nothing is there, or a folder is, or a file is where the key has a folder. */
function isAbsence(err: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'EISDIR'].includes((err as NodeJS.ErrnoException).code ?? '');
}

function lockIsHeld(description: string): DaybookError {
  return new DaybookError(
    'OBJECT_STORE_UNAVAILABLE',
    `Another process has been writing to the ${description} for 30 s. See whether it hangs; if it does, end it.`,
  );
}

const remedies: Readonly<Record<string, string>> = {
  EACCES: 'Give this user the right to read and write there, or choose another folder.',
  EPERM: 'Give this user the right to read and write there, or choose another folder.',
  EROFS: 'It is mounted read-only: mount it for writing, or choose another folder.',
  ENOSPC: 'The disk is full: free some space there.',
  EDQUOT: "This user's quota is used up: free some space there.",
};

function mapFileError(err: unknown, description: string): unknown {
  const { code, errcode, message } = err as NodeJS.ErrnoException & { errcode?: number };
  if (err instanceof DaybookError || (code === undefined && errcode === undefined)) {
    return err;
  }
  if (['EISDIR', 'ENOTDIR', 'EEXIST'].includes(code ?? '')) {
    return new DaybookError(
      'OBJECT_STORE_REFUSED',
      `The ${description} cannot hold that object, for a file is where a folder has to be or the other way round (${message}). Move it out of the way.`,
      { cause: err },
    );
  }
  const remedy = remedies[code ?? ''] ?? 'See to the disk, then try again.';
  return new DaybookError('OBJECT_STORE_UNAVAILABLE', `The ${description} cannot be used (${message}). ${remedy}`, {
    cause: err,
  });
}
