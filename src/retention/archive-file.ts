import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { hashChainLink, hashLeaf } from '../core/hash-entry.js';
import { DaybookError } from '../errors.js';

/** First line of an archive; the entries' bodies follow, one a line, in order of index. */
export interface ArchiveHeader {
  readonly format: 'daybook-archive-v1';
  /** Of the log, as in `daybook.example/audit`. */
  readonly origin: string;
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** `chain_hash` of the entry before the first, hex. */
  readonly previousHash: string;
}

export interface Archive {
  readonly header: ArchiveHeader;
  /** Exactly the bytes that were hashed, as text. */
  readonly bodies: readonly string[];
}

/** What unpacking may give: the bodies of 65,536 small entries, or of one tile of the largest. */
const plainBytesMax = 64 * 2 ** 20;

/** The same bytes for the same entries, so that a run after a crash writes what the one before wrote. */
export function encodeArchive({ header, bodies }: Archive): Uint8Array {
  return gzipSync([JSON.stringify(header), ...bodies, ''].join('\n'), { level: 6 });
}

/** Throws OBJECT_CHANGED for bytes that are no archive. */
function decodeArchive(bytes: Uint8Array, name: string): Archive {
  const lines = unpack(bytes, name).split('\n');
  const header = parseHeader(lines[0] ?? '');
  const bodies = lines.slice(1, -1);
  if (header === null || lines.at(-1) !== '' || bodies.length !== header.lastIndex - header.firstIndex + 1) {
    throw altered(name, 'it is not an archive, or is incomplete');
  }
  return { header, bodies };
}

/** What the record says that an archive holds. Hashes are lower-case hex. */
export interface ExpectedArchive {
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly previousHash: string;
  readonly chainHash: string;
  /** SHA-256 of the object. */
  readonly objectHash: string;
  /** Leaf hashes of the tree for its entries, in order. */
  readonly leafHashes: readonly string[];
}

/** An entry of an archive with its hashes. */
export interface ArchivedEntry {
  readonly chainIndex: number;
  readonly body: string;
  readonly previousHash: string;
}

/**
 * Checks an object against the record and the tree: its own hash, each body's leaf, and the chain from the entry before to its
 * last one. Returns its entries. Throws OBJECT_CHANGED with what differs first.
 */
export function verifyArchive(bytes: Uint8Array, expected: ExpectedArchive, name: string): ArchivedEntry[] {
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== expected.objectHash) throw altered(name, `its SHA-256 is ${found}, not ${expected.objectHash}`);
  const { header, bodies } = decodeArchive(bytes, name);
  const { firstIndex, lastIndex, previousHash } = header;
  if (
    firstIndex !== expected.firstIndex ||
    lastIndex !== expected.lastIndex ||
    previousHash !== expected.previousHash
  ) {
    throw altered(name, `it says it holds entries ${firstIndex} to ${lastIndex} after ${previousHash}`);
  }
  let link = previousHash;
  const entries = bodies.map((body, place): ArchivedEntry => {
    const leaf = hashLeaf(body);
    const entry = { chainIndex: firstIndex + place, body, previousHash: link };
    if (leaf !== expected.leafHashes[place]) {
      throw altered(name, `entry ${entry.chainIndex} is not what the tree holds at its index`);
    }
    link = hashChainLink(link, leaf);
    return entry;
  });
  if (link !== expected.chainHash) throw altered(name, `its last chain hash is ${link}, not ${expected.chainHash}`);
  return entries;
}

function unpack(bytes: Uint8Array, name: string): string {
  try {
    return gunzipSync(bytes, { maxOutputLength: plainBytesMax }).toString('utf8');
  } catch (error) {
    throw altered(name, `it does not unpack: ${(error as Error).message}`);
  }
}

function parseHeader(line: string): ArchiveHeader | null {
  try {
    const value = JSON.parse(line) as Partial<ArchiveHeader> | null;
    const isHeader =
      value?.format === 'daybook-archive-v1' &&
      Number.isSafeInteger(value.firstIndex) &&
      Number.isSafeInteger(value.lastIndex) &&
      typeof value.previousHash === 'string';
    return isHeader ? (value as ArchiveHeader) : null;
  } catch {
    // Not JSON: no header either.
    return null;
  }
}

function altered(name: string, reason: string): DaybookError {
  return new DaybookError('OBJECT_CHANGED', `the archive ${name} was altered: ${reason}`);
}
