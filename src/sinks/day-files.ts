import { createReadStream, createWriteStream } from 'node:fs';
import { open, readdir, rename, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';

/** Bytes read at a time from the end of a file. */
const blockBytes = 256 * 1024;
const lineBreak = 0x0a;
const dayFile = /^audit-(\d{8})\.jsonl(\.gz)?$/;

/** The file of one UTC day. */
export interface DayFile {
  /** As in 20261120. */
  readonly day: string;
  readonly path: string;
  readonly isCompressed: boolean;
}

/** Finds the index in a line; null where the line is none. */
export type ReadIndex = (line: string) => bigint | null;

export function dayFilePath(folder: string, day: string): string {
  return join(folder, `audit-${day}.jsonl`);
}

/**
 * The files of a folder by day. What a crash left half done is cleared up first: staged files are removed, and a compressed
 * file beside the plain one of its day, which was about to go or had just been unpacked.
 */
export async function listDayFiles(folder: string): Promise<DayFile[]> {
  const byDay = new Map<string, DayFile>();
  const outdated: string[] = [];
  for (const name of (await readdir(folder)).sort()) {
    if (name.startsWith('audit-') && name.endsWith('.staged')) outdated.push(name);
    const [, day, compressed] = dayFile.exec(name) ?? [];
    if (day === undefined) continue;
    // `audit-20261120.jsonl` sorts before `audit-20261120.jsonl.gz`.
    if (byDay.has(day)) outdated.push(name);
    else byDay.set(day, { day, path: join(folder, name), isCompressed: compressed !== undefined });
  }
  for (const name of outdated) await rm(join(folder, name));
  return [...byDay.values()];
}

/**
 * Cuts the files of a folder back to `position`, so that each index below it stands in one file once and none stands at or
 * above it; removes torn lines. Returns the index that follows the last one kept, `position` where no file is left. A crash
 * leaves files that end later; the next call cuts them.
 */
export async function cutDayFiles(folder: string, position: bigint, readIndex: ReadIndex): Promise<bigint> {
  const files = await listDayFiles(folder);
  for (let file = files.pop(); file !== undefined; file = files.pop()) {
    const first = await readFirstIndex(file, readIndex);
    if (first === null || first >= position) {
      await rm(file.path);
      continue;
    }
    const plain = file.isCompressed ? await unpack(folder, file) : file.path;
    await syncFolder(folder);
    return cutFile(plain, position, readIndex);
  }
  await syncFolder(folder);
  return position;
}

/** Compresses a finished day. A crash leaves the plain file, or both, of which the plain one counts. */
export async function compress(folder: string, path: string, signal?: AbortSignal): Promise<void> {
  await replaceThrough(folder, path, `${path}.gz`, createGzip(), signal);
}

async function unpack(folder: string, { day, path }: DayFile): Promise<string> {
  const plain = dayFilePath(folder, day);
  await replaceThrough(folder, path, plain, createGunzip());
  return plain;
}

async function replaceThrough(
  folder: string,
  from: string,
  to: string,
  transform: NodeJS.ReadWriteStream,
  signal?: AbortSignal,
): Promise<void> {
  const staged = `${to}.staged`;
  await pipeline(createReadStream(from), transform, createWriteStream(staged, { mode: 0o640, flush: true }), {
    ...(signal === undefined ? {} : { signal }),
  });
  await rename(staged, to);
  await syncFolder(folder);
  await rm(from);
}

async function readFirstIndex(file: DayFile, readIndex: ReadIndex): Promise<bigint | null> {
  const source = createReadStream(file.path);
  const input = file.isCompressed ? source.pipe(createGunzip()) : source;
  source.on('error', (error) => input.destroy(error));
  const parts: Buffer[] = [];
  try {
    for await (const part of input as AsyncIterable<Buffer>) {
      const end = part.indexOf(lineBreak);
      parts.push(end < 0 ? part : part.subarray(0, end));
      if (end >= 0) return readIndex(Buffer.concat(parts).toString('utf8'));
    }
    return null;
  } finally {
    source.destroy();
  }
}

async function cutFile(path: string, position: bigint, readIndex: ReadIndex): Promise<bigint> {
  const handle = await open(path, 'r+');
  try {
    const { size } = await handle.stat();
    for await (const { start, bytes } of linesFromEnd(handle, size)) {
      const index = bytes.at(-1) === lineBreak ? readIndex(bytes.toString('utf8', 0, bytes.length - 1)) : null;
      if (index === null || index >= position) continue;
      const end = start + bytes.length;
      if (end < size) {
        await handle.truncate(end);
        await handle.sync();
      }
      return index + 1n;
    }
    throw new Error(`${path} holds no line below ${position}, although its first one is`);
  } finally {
    await handle.close();
  }
}

/** The lines of a file from the last to the first, line breaks included; the last one may lack its own. */
async function* linesFromEnd(handle: FileHandle, size: number): AsyncGenerator<{ start: number; bytes: Buffer }> {
  let rest: Buffer = Buffer.alloc(0);
  let place = size;
  while (place > 0) {
    const block = Buffer.alloc(Math.min(blockBytes, place));
    place -= block.length;
    const { bytesRead } = await handle.read(block, 0, block.length, place);
    if (bytesRead < block.length) throw new Error('the file became shorter while it was read');
    rest = Buffer.concat([block, rest]);
    for (;;) {
      // The break at the end of the last line is not the one before it.
      const before = rest.length < 2 ? -1 : rest.lastIndexOf(lineBreak, rest.length - 2);
      if (before < 0) break;
      yield { start: place + before + 1, bytes: rest.subarray(before + 1) };
      rest = rest.subarray(0, before + 1);
    }
  }
  if (rest.length > 0) yield { start: 0, bytes: rest };
}

/** Makes names in the folder durable: new, renamed and removed ones. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
