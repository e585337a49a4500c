import { isTreeSize, type TreeNode } from './merkle-tree.js';

/** Where hashes and entries lie in the static layout (C2SP tlog-tiles). Tiles have height 8. */

/** Hashes in a full tile, entries in a full bundle. */
export const tileWidth = 256;

const tileHeight = 8;
const tileLevelMax = 63;

/** What a path of the layout points to; `width` is 256 for a full tile, 1–255 for a partial one. */
export interface TilePath {
  readonly kind: 'hashes' | 'entries';
  /** 0 for entries. */
  readonly level: number;
  readonly index: number;
  readonly width: number;
}

/** Path of a tile of hashes: `tile/0/x001/x234/067`, `….p/17` for a partial one. Throws RangeError for a tile that cannot be. */
export function hashTilePath(level: number, index: number, width = tileWidth): string {
  if (!isTreeSize(level) || level > tileLevelMax) throw new RangeError(`there is no tile level ${level}`);
  return `tile/${level}/${encodeIndex(index, width)}`;
}

/** Path of a bundle of entries: `tile/entries/x001/067`, `….p/3` for a partial one. Throws RangeError for a bundle that cannot be. */
export function entriesPath(index: number, width = tileWidth): string {
  return `tile/entries/${encodeIndex(index, width)}`;
}

function encodeIndex(index: number, width: number): string {
  if (!isTreeSize(index)) throw new RangeError(`there is no tile ${index}`);
  if (!isTreeSize(width) || width < 1 || width > tileWidth) throw new RangeError(`no tile is ${width} wide`);
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/\d{3}/g) ?? [];
  const path = groups.map((group, place) => (place < groups.length - 1 ? `x${group}` : group)).join('/');
  return width === tileWidth ? path : `${path}.p/${width}`;
}

/** Reads a path of the layout; null for anything that hashTilePath and entriesPath do not write. */
export function parseTilePath(path: string): TilePath | null {
  const match = /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/){0,5}\d{3})(?:\.p\/(\d{1,3}))?$/.exec(path);
  if (match === null) return null;
  const [, place = '', digits = '', partial] = match;
  const kind = place === 'entries' ? 'entries' : 'hashes';
  const level = kind === 'entries' ? 0 : Number(place);
  const index = Number(digits.replace(/[x/]/g, ''));
  const width = partial === undefined ? tileWidth : Number(partial);
  if (level > tileLevelMax || !isTreeSize(index) || width < 1 || width > tileWidth) return null;
  const canonical = kind === 'entries' ? entriesPath(index, width) : hashTilePath(level, index, width);
  return path === canonical ? { kind, level, index, width } : null;
}

/**
 * Where the hash of a perfect subtree comes from: it is hashSubtree of the `count` hashes (a power of two, at most 128)
 * that stand in tile `tile` of tile level `level` from place `offset` on.
 */
export function tileOf(node: TreeNode): { level: number; tile: number; offset: number; count: number } {
  const count = 2 ** (node.level % tileHeight);
  const first = node.index * count;
  return {
    level: Math.floor(node.level / tileHeight),
    tile: Math.floor(first / tileWidth),
    offset: first % tileWidth,
    count,
  };
}
