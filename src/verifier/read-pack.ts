import { createReadStream } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { PackReader } from '../core/compare-pack-files.js';
import { manifestName, packFileNames } from '../core/pack-manifest.js';
import { RunError } from './exit-codes.js';

/** The folder of a pack. Symbolic links and what is no file are not followed. Throws RunError FILE_UNREADABLE. */
export async function readPackFolder(folder: string): Promise<PackReader> {
  const names = await listFolder(folder);
  const files = new Set<string>();
  for (const name of names) {
    if ((await lstat(join(folder, name))).isFile()) files.add(name);
  }
  return {
    description: folder,
    list: () => Promise.resolve(names),
    read: (name) => (files.has(name) ? readFile(join(folder, name)) : null),
  };
}

/**
 * The packs right below a folder, or the folder itself where it is one, or was one before its manifest was taken away. Throws
 * RunError FILE_UNREADABLE.
 */
export async function findPacks(folder: string): Promise<string[]> {
  const names = await listFolder(folder);
  if (names.includes(manifestName) || names.some(isOfPack)) return [folder];
  const packs: string[] = [];
  for (const name of names.filter((each) => !each.startsWith('.')).sort()) {
    const path = join(folder, name);
    if ((await lstat(path)).isDirectory()) packs.push(path);
  }
  if (packs.length === 0) throw new RunError('FILE_UNREADABLE', `${basename(folder)} holds no pack`);
  return packs;
}

/** As it is, or compressed or encrypted. */
function isOfPack(name: string): boolean {
  return packFileNames.some((known) => name === known || name.startsWith(`${known}.`));
}

async function* readFile(path: string): AsyncIterable<Uint8Array> {
  try {
    for await (const part of createReadStream(path)) yield part as Buffer;
  } catch (err) {
    throw new RunError('FILE_UNREADABLE', `${path} cannot be read: ${(err as Error).message}`);
  }
}

async function listFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (err) {
    throw new RunError('FILE_UNREADABLE', `${folder} cannot be opened: ${(err as Error).message}`);
  }
}
