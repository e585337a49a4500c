import { constants } from 'node:fs';
import { open, opendir, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { layoutFileBytesMax, LayoutReadError, type LayoutReader } from './layout-reader.js';

/** What says that there is no such file. */
const absentCodes = new Set(['ENOENT', 'ENOTDIR']);

/** A log's layout in a folder. Throws LayoutReadError when the folder cannot be entered. */
export async function readFolder(folder: string): Promise<LayoutReader> {
  let root: string;
  try {
    root = await realpath(folder);
  } catch (err) {
    throw new LayoutReadError(`${folder} cannot be opened: ${(err as Error).message}`);
  }
  return {
    description: root,
    read: (path) => readFile(root, path),
    list: (prefix) => listFolder(root, prefix),
  };
}

async function readFile(root: string, path: string): Promise<Uint8Array | null> {
  try {
    const place = await realpath(join(root, path));
    // Whoever made the folder must not choose which of the auditor's other files are read.
    if (!place.startsWith(root.endsWith(sep) ? root : root + sep)) {
      throw new LayoutReadError(`${path} is a symbolic link that leads out of ${root}`);
    }
    // Opening a named pipe would wait for a writer; O_NONBLOCK opens it at once, and then it is refused.
    await using file = await open(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stat = await file.stat();
    if (!stat.isFile()) throw new LayoutReadError(`${path} is not a file`);
    const buffer = new Uint8Array(Math.min(stat.size, layoutFileBytesMax(path) + 1));
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  } catch (err) {
    if (isAbsence(err)) return null;
    if (err instanceof LayoutReadError) throw err;
    throw new LayoutReadError(`${path} cannot be read: ${(err as Error).message}`);
  }
}

async function* listFolder(root: string, prefix: string): AsyncIterable<string> {
  try {
    for await (const entry of await opendir(join(root, prefix))) {
      if (!entry.isDirectory()) yield prefix + entry.name;
    }
  } catch (err) {
    if (!isAbsence(err)) throw new LayoutReadError(`${prefix} cannot be listed: ${(err as Error).message}`);
  }
}

function isAbsence(err: unknown): boolean {
  return absentCodes.has(String((err as NodeJS.ErrnoException).code));
}
