import { concatBytes } from '../core/bytes.js';
import type { BreakList } from '../core/log-breaks.js';
import { CompactRange, type Hash } from '../core/merkle-tree.js';
import { hashTilePath, tileWidth } from '../core/tile-path.js';
import { listPartials } from './entry-bundles.js';
import type { LayoutReader } from './layout-reader.js';

const hashBytes = 32;

/** A tile of hashes as it is published. */
export interface PublishedTile {
  readonly path: string;
  /** Null where it is not published. */
  readonly bytes: Uint8Array | null;
}

/** Tile `index` of `level` with its first `width` hashes; a partial tile may have been replaced by the full one. */
export async function readTile(
  reader: LayoutReader,
  level: number,
  index: number,
  width: number,
): Promise<PublishedTile> {
  const path = hashTilePath(level, index, width);
  const exact = await reader.read(path);
  if (exact !== null || width === tileWidth) return { path, bytes: exact };
  const fullPath = hashTilePath(level, index);
  const full = await reader.read(fullPath);
  // A full tile of another length is wrong as a whole, and compares as such.
  if (full?.length === tileWidth * hashBytes) return { path: fullPath, bytes: full.subarray(0, width * hashBytes) };
  return full === null ? { path, bytes: null } : { path: fullPath, bytes: full };
}

/** The right edge of one level: hashes not yet in a full tile, and the first leaf found to differ below each. */
interface Edge {
  tile: number;
  hashes: Hash[];
  differing: (number | null)[];
}

/**
 * Builds the tiles of every level from leaves and compares each with the published one. A tile above one that differs is
 * built from the entries too; its break is reported at the leaf that differs below, not at its own first leaf.
 */
export class TileVerifier {
  readonly #edges: Edge[] = [];
  #compared = 0;
  readonly #absentPartials: string[] = [];

  constructor(
    private readonly reader: LayoutReader,
    private readonly breaks: BreakList,
  ) {}

  /** Published tiles that were compared, those left over from a smaller tree too. */
  get compared(): number {
    return this.#compared;
  }

  /** Partial tiles of the checkpoint's size that are not published. */
  get absentPartials(): readonly string[] {
    return this.#absentPartials;
  }

  /** Takes all leaves of level-0 tile `index`, the last of which may be partial. Answers the root over them. */
  async addTile(index: number, leaves: readonly Hash[], published: PublishedTile): Promise<Hash> {
    const none = leaves.map(() => null);
    return this.#closeTile(0, { tile: index, hashes: [...leaves], differing: none }, published);
  }

  /** Compares the first leaves of a tile whose other entries cannot be read. */
  compareBeginning(index: number, leaves: readonly Hash[], published: PublishedTile): void {
    if (published.bytes === null) return;
    const bytes = published.bytes.subarray(0, leaves.length * hashBytes);
    this.#compare(0, { tile: index, hashes: [...leaves], differing: [] }, { path: published.path, bytes });
  }

  /** Compares the partial tiles above level 0 at the right edge. To be called once, after all leaves. */
  async finish(): Promise<void> {
    for (let level = 1; level < this.#edges.length; level += 1) {
      const edge = this.#edges[level];
      if (edge === undefined || edge.hashes.length === 0) continue;
      const published = await readTile(this.reader, level, edge.tile, edge.hashes.length);
      this.#compare(level, edge, published);
      await this.#comparePartials(level, edge);
    }
  }

  async #closeTile(level: number, edge: Edge, published: PublishedTile): Promise<Hash> {
    const differing = this.#compare(level, edge, published);
    await this.#comparePartials(level, edge);
    const range = new CompactRange();
    for (const hash of edge.hashes) range.append(hash);
    const root = range.root();
    if (edge.hashes.length === tileWidth) await this.#push(level + 1, root, differing);
    return root;
  }

  async #push(level: number, hash: Hash, differing: number | null): Promise<void> {
    const edge = (this.#edges[level] ??= { tile: 0, hashes: [], differing: [] });
    edge.hashes.push(hash);
    edge.differing.push(differing);
    if (edge.hashes.length < tileWidth) return;
    await this.#closeTile(level, edge, await readTile(this.reader, level, edge.tile, tileWidth));
    this.#edges[level] = { tile: edge.tile + 1, hashes: [], differing: [] };
  }

  /** Answers the first leaf that differs in or below the tile, null when none does. */
  #compare(level: number, edge: Edge, { path, bytes }: PublishedTile): number | null {
    const below = edge.differing.find((leaf) => leaf !== null) ?? null;
    const firstLeaf = edge.tile * tileWidth ** (level + 1);
    if (bytes === null) {
      if (edge.hashes.length < tileWidth) this.#absentPartials.push(path);
      else this.breaks.add('TILE_MISSING', below ?? firstLeaf, `${path} is not published`);
      return below;
    }
    this.#compared += 1;
    const computed = concatBytes(...edge.hashes);
    const place = firstDifference(computed, bytes);
    if (place === null) return below;
    // A longer file differs behind its last hash; no leaf stands there, so the last one is named.
    const position = Math.min(Math.floor(place / hashBytes), edge.hashes.length - 1);
    const index = edge.differing[position] ?? firstLeaf + position * tileWidth ** level;
    this.breaks.add('TILE_MISMATCH', index, describeDifference(path, bytes.length, computed.length, position));
    return below === null ? index : Math.min(below, index);
  }

  /** Partial tiles of smaller trees hold the first hashes of this one; those of larger trees begin with all of it. */
  async #comparePartials(level: number, edge: Edge): Promise<void> {
    const current = edge.hashes.length;
    for await (const { path, width } of listPartials(this.reader, hashTilePath(level, edge.tile))) {
      if (width === current) continue;
      const bytes = await this.reader.read(path);
      if (bytes === null) continue;
      const shared = Math.min(width, current);
      const isWhole = bytes.length === width * hashBytes;
      this.#compare(
        level,
        { tile: edge.tile, hashes: edge.hashes.slice(0, shared), differing: edge.differing },
        { path, bytes: isWhole ? bytes.subarray(0, shared * hashBytes) : bytes },
      );
    }
  }
}

/** The first place at which two byte strings differ, where one ends too; null when they are equal. */
export function firstDifference(left: Uint8Array, right: Uint8Array): number | null {
  const shared = Math.min(left.length, right.length);
  for (let place = 0; place < shared; place += 1) if (left[place] !== right[place]) return place;
  return left.length === right.length ? null : shared;
}

function describeDifference(path: string, length: number, expectedLength: number, position: number): string {
  if (length !== expectedLength) return `${path} has ${length} bytes, not ${expectedLength}`;
  return `hash ${position} of ${path} is not what the entries give`;
}
