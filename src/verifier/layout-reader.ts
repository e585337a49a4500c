import { bodyBytesMax } from '../core/entry-bundle.js';
import { parseTilePath } from '../core/tile-path.js';

/**
 * Where a log lies in the static layout (C2SP tlog-tiles, and `roots/` with the days' roots); paths are relative to the
 * log's prefix. What comes from here is hostile: nothing of it is believed.
 */
export interface LayoutReader {
  /** The folder or address, for people. */
  readonly description: string;
  /**
   * The file's bytes; null where there is none. At most one byte more than `layoutFileBytesMax`, so that a file which is
   * too large is seen to be. Throws LayoutReadError where that cannot be told.
   */
  read(path: string): Promise<Uint8Array | null>;
  /** Paths of the files right below `prefix`, which ends in "/", in any order. Absent where a source cannot list. */
  list?(prefix: string): AsyncIterable<string>;
}

/** A file that may be there but could not be read: the check cannot go on. */
export class LayoutReadError extends Error {
  override readonly name = 'LayoutReadError';
  readonly code = 'LAYOUT_UNREADABLE';
}

const hashBytes = 32;

/** Of a signed note: a checkpoint with a hundred signatures stays far below. */
const noteBytesMax = 1_000_000;

/** The size that no valid file at this path exceeds, in bytes. */
export function layoutFileBytesMax(path: string): number {
  const tile = parseTilePath(path);
  if (tile === null) return noteBytesMax;
  return tile.width * (tile.kind === 'hashes' ? hashBytes : 2 + bodyBytesMax);
}
