import { decodeBase64, encodeBase64 } from './bytes.js';
import { areHashes, isTreeSize, type Hash } from './merkle-tree.js';
import { holdsControlCharacter } from './verifier-key.js';

/** The text of a signed tree head (C2SP tlog-checkpoint). */
export interface Checkpoint {
  /** Names the log; not empty. */
  readonly origin: string;
  /** Leaves in the tree. */
  readonly size: number;
  readonly root: Hash;
  /** Further lines, opaque and not empty; we write none. */
  readonly extensions: readonly string[];
}

/** Origin, size, base64 root and extensions, each on its line: the text of a note. Throws SyntaxError for one that cannot be written. */
export function encodeCheckpoint(checkpoint: Checkpoint): string {
  const { origin, size, root, extensions } = checkpoint;
  if (![origin, ...extensions].every(isLine))
    throw new SyntaxError('origin and extensions are lines that are not empty');
  if (!isTreeSize(size)) throw new SyntaxError(`${size} is not the size of a tree`);
  if (!areHashes([root])) throw new SyntaxError('the root has 32 bytes');
  return [origin, encodeSize(size), encodeBase64(root), ...extensions].map((line) => `${line}\n`).join('');
}

/** Reads a checkpoint's text, with its last line break. Throws SyntaxError for anything encodeCheckpoint would not write. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', size = '', root = '', ...rest] = text.split('\n');
  // What follows the last line break is the empty string, and nothing before it is empty.
  if (rest.pop() !== '' || ![origin, ...rest].every(isLine)) {
    throw new SyntaxError('a checkpoint is three or more lines, none of them empty');
  }
  const checkpoint = { origin, size: parseSize(size), root: decodeBase64(root), extensions: rest };
  if (!areHashes([checkpoint.root])) throw new SyntaxError('the root has 32 bytes');
  return checkpoint;
}

/** A size or index in decimal. */
export function encodeSize(size: number): string {
  // Up to 2^53 − 1 the shortest form of a double is its plain decimal.
  return String(size);
}

/** A size or index of up to 2^53 − 1 in decimal, without leading zeros. Throws SyntaxError. */
export function parseSize(text: string): number {
  const size = Number(text);
  if (!/^(0|[1-9]\d{0,15})$/.test(text) || !isTreeSize(size)) {
    throw new SyntaxError('not a decimal number of at most 2^53 - 1 without leading zeros');
  }
  return size;
}

function isLine(line: string): boolean {
  return line !== '' && line.isWellFormed() && !holdsControlCharacter(line);
}
