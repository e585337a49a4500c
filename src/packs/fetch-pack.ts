import { createHash } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codingsOf, decodeFile, SealedFileError, type PackDecoders } from '../core/pack-encoding.js';
import { manifestName, parseManifestFile, type PackManifest } from '../core/pack-manifest.js';
import { DaybookError } from '../errors.js';
import type { ObjectStore } from '../storage/object-store.js';
import { packChanged, packObjectKey, readStoredFile } from './pack-objects.js';

export interface PackFetch {
  readonly store: ObjectStore;
  readonly date: string;
  /** Is not there yet. */
  readonly folder: string;
  /** With what the files are decompressed and decrypted; null: they stay as they are stored. */
  readonly decoders: PackDecoders | null;
}

/**
 * Brings a pack back from the store into a folder, each file checked against the manifest, the stored bytes and where they are
 * opened the plain ones. The folder gets its name last: a crash leaves one that ends in `.fetching`. Throws NOT_FOUND where
 * the store has none, OBJECT_CHANGED where what it has is not what the manifest names, BAD_USER_INPUT where the decoders do
 * not open it.
 */
export async function fetchPack({ store, date, folder, decoders }: PackFetch): Promise<void> {
  const found = await store.read(packObjectKey(date, manifestName));
  if (found === null) throw new DaybookError('NOT_FOUND', `${store.description} holds no pack of ${date}`);
  const { manifest } = parseManifestFile(Buffer.from(found.bytes).toString());
  const staging = `${folder}.fetching`;
  await rm(staging, { recursive: true, force: true });
  await mkdir(staging, { recursive: true, mode: 0o700 });
  for (const [name, file] of Object.entries(manifest.files)) {
    const stored = readStoredFile(store, date, file.stored);
    if (decoders === null) await writeChecked(join(staging, file.stored.name), stored, file.stored, date);
    else await writeChecked(join(staging, name), openFile(stored, name, manifest, decoders), file, date);
  }
  await using manifestFile = await open(join(staging, manifestName), 'wx', 0o600);
  await manifestFile.writeFile(found.bytes);
  await manifestFile.sync();
  await rename(staging, folder);
}

async function* openFile(
  stored: AsyncIterable<Uint8Array>,
  name: string,
  { encoding, export_date: date }: PackManifest,
  decoders: PackDecoders,
): AsyncIterable<Uint8Array> {
  const plain = decodeFile(stored, codingsOf(name, encoding), decoders);
  if (plain === null) throw new DaybookError('BAD_USER_INPUT', `the pack of ${date} is encrypted: give --identity`);
  try {
    yield* plain;
  } catch (error) {
    if (error instanceof SealedFileError) {
      throw new DaybookError(
        'BAD_USER_INPUT',
        `the pack of ${date} is encrypted to other keys than those of --identity`,
      );
    }
    if (error instanceof SyntaxError) throw packChanged(`what is in ${name} of ${date}`);
    throw error;
  }
}

async function writeChecked(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  expected: { readonly sha256: string },
  date: string,
): Promise<void> {
  const hash = createHash('sha256');
  await using file = await open(path, 'wx', 0o600);
  for await (const part of bytes) {
    hash.update(part);
    await file.write(part);
  }
  await file.sync();
  if (hash.digest('hex') !== expected.sha256) throw packChanged(`${path} of ${date}`);
}
