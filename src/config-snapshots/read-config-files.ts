import { createHash, hash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, realpath, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Redactor } from '../access/redact.js';
import { codeOf, isInside, type FindOptions, type FoundFile } from './find-config-files.js';
import { redactConfigText } from './redact-config-text.js';
import { isSecretFile, type SecretNames } from './secret-names.js';
import { fileWithout, fileWithText, type CollectedFile } from './snapshot-file.js';

/** What is larger is not read to its end for its hash: a start must not wait for it. */
const hashedBytesMax = 64 * 1024 * 1024;
/** Longest line, in characters, that is searched for secrets; a text with a longer one is kept by its hash. */
const lineLengthMax = 16_384;

export interface ReadOptions extends FindOptions {
  /** Bytes of a file, and of all files together, up to which texts are stored. */
  readonly fileBytesMax: number;
  readonly totalBytesMax: number;
  readonly redactor: Redactor;
  readonly names: SecretNames;
}

/**
 * Reads configuration files one after another. Never throws for what it meets: a file that is gone, cannot be read or may not be
 * is in the result as such. A link is followed where it leads to a file inside the root.
 */
export async function readConfigFiles(options: ReadOptions, files: readonly FoundFile[]): Promise<CollectedFile[]> {
  const collected: CollectedFile[] = [];
  let bytesLeft = options.totalBytesMax;
  for (const found of files) {
    const one = await readConfigFile(options, found, bytesLeft);
    if (one.content !== null) bytesLeft -= one.file.size ?? 0;
    collected.push(one);
  }
  return collected;
}

async function readConfigFile(options: ReadOptions, found: FoundFile, bytesLeft: number): Promise<CollectedFile> {
  const { path, location } = found;
  try {
    const real = await realpath(location);
    if (!isInside(real, await realpath(options.root))) {
      return fileWithout(path, 'REFUSED', 'a link leads out of DAYBOOK_CONFIG_ROOT');
    }
    if (isInside(real, await realpath(options.dataDir).catch(() => options.dataDir))) {
      return fileWithout(path, 'REFUSED', 'the data folder is not read');
    }
    // Without waiting for a writer, where it is a pipe. Nothing may put a link there between the look and the opening.
    await using file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const { size, isRegular } = await file.stat().then((stats) => ({ size: stats.size, isRegular: stats.isFile() }));
    if (!isRegular) return fileWithout(path, 'REFUSED', 'not a regular file: name those of a folder as in config/*');
    const room = Math.min(options.fileBytesMax, bytesLeft);
    return await readOpenFile(options, path, file, { size, room });
  } catch (error) {
    const code = codeOf(error);
    const isAbsent = code === 'ENOENT' || code === 'ENOTDIR';
    if (isAbsent) return fileWithout(path, 'MISSING', 'not there');
    return fileWithout(path, 'UNREADABLE', code === 'unknown' ? String(error).slice(0, 200) : code);
  }
}

async function readOpenFile(
  options: ReadOptions,
  path: string,
  file: FileHandle,
  { size, room }: { readonly size: number; readonly room: number },
): Promise<CollectedFile> {
  if (size > hashedBytesMax) return fileWithout(path, 'LARGE', `over ${hashedBytesMax} bytes`, { size });
  const isSecret = isSecretFile(`${basename(options.root)}/${path}`);
  if (size > room && !isSecret) {
    const limit = room < options.fileBytesMax ? 'the room left for all files' : `${options.fileBytesMax} bytes`;
    return fileWithout(path, 'LARGE', `over ${limit}`, await hashStream(file));
  }
  // One byte more than it should have tells that it grew meanwhile.
  const buffer = Buffer.alloc(size + 1);
  const bytes = buffer.subarray(0, await readFully(file, buffer));
  const facts = { hash: hash('sha256', bytes, 'hex'), size: bytes.length };
  if (isSecret) return fileWithout(path, 'SECRET', 'named as a secret', { mark: options.redactor.mark(facts.hash) });
  if (bytes.length > size) return fileWithout(path, 'LARGE', 'it grew while it was read', await hashStream(file));
  const text = decodeText(bytes);
  if (text === null) return fileWithout(path, 'BINARY', 'not a text in UTF-8', facts);
  if (hasLongLine(text)) return fileWithout(path, 'LARGE', `a line of over ${lineLengthMax} characters`, facts);
  const redacted = redactConfigText(text, options.redactor, options.names);
  if (redacted.redactions === 0) return fileWithText(path, facts, redacted);
  // All but the secrets is stored: a plain hash of the whole would tell whoever guesses a short one that he is right.
  return fileWithText(path, { ...facts, hash: null, mark: options.redactor.mark(facts.hash) }, redacted);
}

/** How many bytes came before the end of the file or of the buffer. */
async function readFully(file: FileHandle, buffer: Buffer): Promise<number> {
  for (let read = 0; ;) {
    const { bytesRead } = await file.read(buffer, read, buffer.length - read, read);
    read += bytesRead;
    if (bytesRead === 0 || read === buffer.length) return read;
  }
}

async function hashStream(file: FileHandle): Promise<{ hash?: string; size: number }> {
  const sum = createHash('sha256');
  let size = 0;
  const buffer = Buffer.alloc(1024 * 1024);
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, size);
    if (bytesRead === 0) return { hash: sum.digest('hex'), size };
    if (size > hashedBytesMax) return { size };
    sum.update(buffer.subarray(0, bytesRead));
    size += bytesRead;
  }
}

/** Null where the bytes are no text: not UTF-8, or with a NUL in them. */
function decodeText(bytes: Buffer): string | null {
  if (bytes.includes(0)) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError || codeOf(error) === 'ERR_ENCODING_INVALID_ENCODED_DATA') return null;
    throw error;
  }
}

function hasLongLine(text: string): boolean {
  for (let start = 0; start < text.length;) {
    const end = text.indexOf('\n', start);
    if ((end === -1 ? text.length : end) - start > lineLengthMax) return true;
    if (end === -1) return false;
    start = end + 1;
  }
  return false;
}
