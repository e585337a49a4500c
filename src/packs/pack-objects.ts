import { createHash } from 'node:crypto';
import { isPackFileName, type PackFile } from '../core/pack-manifest.js';
import { DaybookError } from '../errors.js';
import type { ObjectStore } from '../storage/object-store.js';

/**
 * Bytes of one object. A larger file is stored in numbered parts, each written in one request: stores are known to take a
 * lock with an upload of several requests and not to keep it.
 */
export const partBytesMax = 16 * 2 ** 20;
const prefix = 'packs';

/** The objects that hold a file, in order. */
export function packObjectKeys(date: string, name: string, size: number): string[] {
  if (!isPackFileName(name)) throw new TypeError(`${name} is no file of a pack`);
  if (size < partBytesMax) return [packObjectKey(date, name)];
  const parts = Math.ceil(size / partBytesMax);
  return Array.from({ length: parts }, (_, part) =>
    packObjectKey(date, `${name}.${String(part + 1).padStart(5, '0')}`),
  );
}

export function packObjectKey(date: string, name: string): string {
  return `${prefix}/${date}/${name}`;
}

/**
 * A file's stored bytes, object by object. Throws NOT_FOUND where one is not there, and once it has seen all of them
 * OBJECT_CHANGED where they are not what the manifest names.
 */
export async function* readStoredFile(
  store: ObjectStore,
  date: string,
  stored: PackFile['stored'],
): AsyncIterable<Uint8Array> {
  const hash = createHash('sha256');
  for (const key of packObjectKeys(date, stored.name, stored.size)) {
    const part = await store.read(key);
    if (part === null) throw new DaybookError('NOT_FOUND', `${store.description} lacks ${key}`);
    hash.update(part.bytes);
    yield part.bytes;
  }
  if (hash.digest('hex') !== stored.sha256) throw packChanged(`${stored.name} of ${date} in ${store.description}`);
}

export function packChanged(what: string): DaybookError {
  return new DaybookError('OBJECT_CHANGED', `${what} is not what its manifest names`);
}
