import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { repeatable } from '../access/repeatable.js';
import { manifestName, parseManifestFile } from '../core/pack-manifest.js';
import { DaybookError } from '../errors.js';
import type { ObjectStore } from '../storage/object-store.js';
import { packFolderName } from './create-packs.js';
import type { PackRow } from './read-packs.js';
import { packObjectKey, packObjectKeys } from './pack-objects.js';

/** One file of a pack as it is stored, to be read once. `sha256` is null for the manifest itself. */
export interface PackFileSource {
  readonly size: number;
  readonly sha256: string | null;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/**
 * A file of a pack, by the name it is stored under, from this node, or from the object store where the node has it no more.
 * Throws NOT_FOUND for a name that the manifest does not have, and where neither place has the pack.
 */
export async function openPackFile(
  places: { readonly folder: string; readonly store: ObjectStore | null },
  pack: PackRow,
  name: string,
): Promise<PackFileSource> {
  const local = join(places.folder, packFolderName(pack));
  const manifest = await readIfThere(join(local, manifestName));
  if (manifest !== null) {
    const { size, sha256 } = fileOf(manifest, name);
    const found = name === manifestName ? manifest.length : (await stat(join(local, name))).size;
    if (found !== size) throw new DaybookError('NOT_FOUND', `${name} of this pack is damaged on this node: fetch-pack`);
    return { size, sha256, chunks: createReadStream(join(local, name)) };
  }
  const { store } = places;
  const kept = pack.kind === 'DAY' ? await store?.read(packObjectKey(pack.date, manifestName)) : null;
  if (store === null || kept === null || kept === undefined) {
    throw new DaybookError('NOT_FOUND', 'neither this node nor the object store holds this pack');
  }
  const bytes = Buffer.from(kept.bytes);
  const { size, sha256 } = fileOf(bytes, name);
  if (name === manifestName) return { size, sha256, chunks: oneChunk(bytes) };
  return { size, sha256, chunks: readParts(store, packObjectKeys(pack.date, name, size)) };
}

function fileOf(manifest: Buffer, name: string): { size: number; sha256: string | null } {
  if (name === manifestName) return { size: manifest.length, sha256: null };
  const files = Object.entries(parseManifestFile(manifest.toString()).manifest.files);
  const found = files.find(([, { stored }]) => stored.name === name)?.[1].stored;
  if (found !== undefined) return found;
  const [, plain] = files.find(([each]) => each === name) ?? [];
  const hint = plain === undefined ? '' : `: it is stored as ${plain.stored.name}`;
  throw new DaybookError('NOT_FOUND', `the pack has no file ${repeatable(name, 128)}${hint}`);
}

async function* readParts(store: ObjectStore, keys: readonly string[]): AsyncIterable<Uint8Array> {
  for (const key of keys) {
    const part = await store.read(key);
    if (part === null) throw new DaybookError('NOT_FOUND', `the object store lacks ${key}`);
    yield part.bytes;
  }
}

// eslint-disable-next-line @typescript-eslint/require-await -- the form of the other sources
async function* oneChunk(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

async function readIfThere(path: string): Promise<Buffer | null> {
  return readFile(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  });
}
