import type { BreakList } from '../core/log-breaks.js';
import { tileWidth } from '../core/tile-path.js';
import { TileHasher } from './verify-tile.js';

/** A tile of level 0 as it is stored; both are hex. */
export interface StoredTile {
  readonly root: string;
  readonly hashes: string;
}

/** What a tree is built from: the leaves of one range, told in hashes of its tiles. */
export interface RangeTree {
  /** Entries from the range's first index on without a gap. */
  readonly prefix: number;
  /** Roots (hex) of its tiles in order; null for one that lacks an entry. */
  readonly tileRoots: readonly (string | null)[];
  /** Numbers of tiles that a break was reported for. */
  readonly reportedTiles: readonly number[];
  /** Full tiles that were stored. */
  readonly tilesCompared: number;
  /** By size of the whole tree: the hash (hex) of the leaves behind the last full tile below that size. */
  readonly partials: ReadonlyMap<number, string>;
}

interface RangeTreeOptions {
  /** Index of the range's first entry, a multiple of 256. */
  readonly first: number;
  readonly stored: ReadonlyMap<number, StoredTile>;
  /** Sizes to tell partial hashes of. */
  readonly sizes: Iterable<number>;
  /** A full tile that ends at or before this size must be stored. */
  readonly tilesRequiredTo: number;
  readonly breaks: BreakList;
}

/** Computes a range's tiles from leaf hashes of its bodies and compares each with the stored one. Owned by one pass. */
export class RangeTreeBuilder {
  readonly #options: RangeTreeOptions;
  readonly #hasher = new TileHasher();
  readonly #sizesByTile = new Map<number, number[]>();
  readonly #tileRoots: (string | null)[] = [];
  readonly #reportedTiles: number[] = [];
  readonly #partials = new Map<number, string>();
  #compared = 0;
  #next: number;
  #tile: number;
  #tileEnd: number;

  constructor(options: RangeTreeOptions) {
    this.#options = options;
    this.#next = options.first;
    this.#tile = options.first / tileWidth;
    this.#tileEnd = options.first + tileWidth;
    for (const size of options.sizes) {
      const tile = Math.floor(size / tileWidth);
      this.#sizesByTile.set(tile, [...(this.#sizesByTile.get(tile) ?? []), size]);
    }
  }

  /** Takes the leaf hash (hex) of an entry of this range; indexes ascend. */
  take(index: number, leafHash: string): void {
    while (index >= this.#tileEnd) this.#finishTile();
    this.#hasher.set(index - this.#tileEnd + tileWidth, leafHash);
    if (index === this.#next) this.#next += 1;
  }

  finish(): RangeTree {
    if (this.#hasher.width > 0) this.#finishTile();
    return {
      prefix: this.#next - this.#options.first,
      tileRoots: this.#tileRoots,
      reportedTiles: this.#reportedTiles,
      tilesCompared: this.#compared,
      partials: this.#partials,
    };
  }

  #finishTile(): void {
    const tile = this.#tile;
    const root = this.#hasher.root(tileWidth);
    if (this.#compareTile(tile, root)) this.#reportedTiles.push(tile);
    this.#tileRoots.push(root);
    const end = tile * tileWidth + this.#hasher.width;
    for (const size of [...(this.#sizesByTile.get(tile) ?? []), end]) {
      const partial = this.#hasher.root(size - tile * tileWidth);
      if (partial !== null && size % tileWidth !== 0) this.#partials.set(size, partial);
    }
    this.#hasher.clear();
    this.#tile += 1;
    this.#tileEnd += tileWidth;
  }

  /** True where a break was reported. Leaves that are missing are an INDEX_GAP, or the end of the log. */
  #compareTile(tile: number, root: string | null): boolean {
    const { stored, breaks, tilesRequiredTo } = this.#options;
    const first = tile * tileWidth;
    const found = stored.get(tile);
    if (found === undefined) {
      if (root === null || first + tileWidth > tilesRequiredTo) return false;
      breaks.add('TILE_MISSING', first, `tile ${tile} of level 0 is not stored`);
      return true;
    }
    if (root !== null) this.#compared += 1;
    const place = this.#hasher.firstDifference(found.hashes);
    if (place !== null) {
      breaks.add('TILE_MISMATCH', first + place, `tile ${tile} of level 0 holds another leaf hash at place ${place}`);
    } else if (root !== null && found.root !== root) {
      breaks.add(
        'TILE_MISMATCH',
        first,
        `tile ${tile} of level 0 has the root ${found.root}, its entries give ${root}`,
      );
    } else {
      return false;
    }
    return true;
  }
}
