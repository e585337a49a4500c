import type pg from 'pg';
import { concatBytes, decodeHex, encodeHex } from '../core/bytes.js';
import type { BreakList } from '../core/log-breaks.js';
import { CompactRange, foldNodes, hashSubtree, type Hash } from '../core/merkle-tree.js';
import { tileWidth } from '../core/tile-path.js';
import type { LogName } from './rows.js';
import { toBigintText, type CheckpointHead } from './verify-checkpoints.js';
import type { RangeFinding, RangeTask } from './verify-range.js';
import type { StoredTile } from './verify-range-tree.js';

const tileHeight = 8;
/** Highest level that the table of tiles holds. */
const levelMax = 6;

/** A tile that is being filled from the roots of the tiles below it. */
interface UpperTile {
  readonly hashes: Hash[];
  /** Whether a break below it was reported, so that the same one is not reported again. */
  readonly reported: boolean[];
}

/** A checkpoint, stored or published, whose root is to be that of the entries. */
export interface ExpectedHead extends CheckpointHead {
  /** Called in order of size with the root (hex) of so many entries; null where an entry before it is missing. */
  readonly judge: (computed: string | null) => void;
}

/**
 * Builds the tree over a log's ranges, in order, from nothing but what their entries gave; compares the stored tiles above
 * the leaves with it, and tells each checkpoint its root. After a missing entry there is no tree to compare with.
 */
export class TreeVerifier {
  readonly #tree = new CompactRange();
  readonly #upper: UpperTile[] = Array.from({ length: levelMax + 1 }, () => ({ hashes: [], reported: [] }));
  #size = 0;
  #rootHash = encodeHex(this.#tree.root());
  #isComplete = true;
  #tiles = 0;

  constructor(
    private readonly client: pg.ClientBase,
    private readonly log: LogName,
    /** A full tile that ends at or before this size must be stored. */
    private readonly tilesRequiredTo: number,
    private readonly breaks: BreakList,
  ) {}

  /** Entries in the tree: all of the log's up to the first one that is missing. */
  get size(): number {
    return this.#size;
  }

  /** Root of those entries as hex. */
  get rootHash(): string {
    return this.#rootHash;
  }

  /** Stored tiles that were compared. */
  get tiles(): number {
    return this.#tiles;
  }

  /** Adds the next range. `heads`: checkpoints above its first index up to its end, by ascending size. */
  async addRange(task: RangeTask, { tree }: RangeFinding, heads: readonly ExpectedHead[]): Promise<void> {
    this.#tiles += tree.tilesCompared;
    if (task.first !== this.#size) this.#isComplete = false;
    const prefix = this.#isComplete ? tree.prefix : 0;
    const end = task.first + prefix;
    const reported = new Set(tree.reportedTiles);
    for (const head of heads) {
      const isKnown = this.#isComplete && head.size >= task.first && head.size <= end;
      if (isKnown) await this.#growTo(head.size, task, tree.tileRoots, reported);
      head.judge(isKnown ? this.#rootOf(head.size, tree.partials) : null);
    }
    if (!this.#isComplete) return;
    await this.#growTo(end, task, tree.tileRoots, reported);
    this.#size = end;
    if (prefix < task.width) this.#rootHash = this.#rootOf(end, tree.partials) ?? this.#rootHash;
    else this.#rootHash = encodeHex(this.#tree.root());
  }

  /** Appends the range's full tiles that end at or before `size`. */
  async #growTo(
    size: number,
    task: RangeTask,
    tileRoots: readonly (string | null)[],
    reported: ReadonlySet<number>,
  ): Promise<void> {
    while (this.#tree.size + tileWidth <= size) {
      const tile = this.#tree.size / tileWidth;
      const root = tileRoots[tile - task.first / tileWidth];
      if (root === undefined || root === null) return;
      const hash = decodeHex(root);
      this.#tree.appendSubtree(tileHeight, hash);
      await this.#addToTile(1, tile, hash, reported.has(tile));
    }
  }

  #rootOf(size: number, partials: ReadonlyMap<number, string>): string | null {
    if (size % tileWidth === 0) return encodeHex(this.#tree.root());
    const partial = partials.get(size);
    return partial === undefined ? null : encodeHex(foldNodes([...this.#tree.hashes, decodeHex(partial)]));
  }

  /** Puts the root of tile `child` of the level below into its place; a tile that becomes full is compared. */
  async #addToTile(level: number, child: number, hash: Hash, isReported: boolean): Promise<void> {
    const upper = this.#upper[level];
    if (upper === undefined) return;
    upper.hashes.push(hash);
    upper.reported.push(isReported);
    if (upper.hashes.length < tileWidth) return;
    const tile = Math.floor(child / tileWidth);
    const filled = { hashes: upper.hashes.splice(0), reported: upper.reported.splice(0) };
    const root = hashSubtree(filled.hashes);
    const wasReported = await this.#compareTile(level, tile, filled, encodeHex(root));
    await this.#addToTile(level + 1, tile, root, wasReported);
  }

  /** True where a break of this tile, or of one below it, was reported. */
  async #compareTile(level: number, tile: number, filled: UpperTile, root: string): Promise<boolean> {
    const leavesOfHash = tileWidth ** level;
    const first = tile * tileWidth * leavesOfHash;
    const wasReported = filled.reported.includes(true);
    const stored = await this.#readTile(level, tile);
    if (stored === undefined) {
      if (first + tileWidth * leavesOfHash > this.tilesRequiredTo) return wasReported;
      this.breaks.add('TILE_MISSING', first, `tile ${tile} of level ${level} is not stored`);
      return true;
    }
    this.#tiles += 1;
    const place = filled.hashes.findIndex(
      (hash, index) => !filled.reported[index] && encodeHex(hash) !== hexAt(stored.hashes, index),
    );
    if (place !== -1) {
      const message = `tile ${tile} of level ${level} holds another hash at place ${place}`;
      this.breaks.add('TILE_MISMATCH', first + place * leavesOfHash, message);
      return true;
    }
    if (wasReported || (stored.root === root && stored.hashes === encodeHex(concatBytes(...filled.hashes)))) {
      return wasReported;
    }
    const message = `tile ${tile} of level ${level} has the root ${stored.root}, its entries give ${root}`;
    this.breaks.add('TILE_MISMATCH', first, message);
    return true;
  }

  async #readTile(level: number, tile: number): Promise<StoredTile | undefined> {
    const found = await this.client.query<StoredTile>(
      'SELECT root, hashes FROM public.ledger_tiles WHERE log = $1 AND level = $2 AND tile = $3',
      [this.log, level, tile],
    );
    return found.rows[0];
  }

  /** After the last range: tiles that hold more than the log does, of `entries` entries. */
  async checkTilesBeyond(entries: number): Promise<void> {
    const levels = Array.from({ length: levelMax + 1 }, (_, level) => level);
    const found = await this.client.query<{ level: number; tile: string; total: string }>(
      `SELECT stored.level, stored.tile, count(*) OVER () AS total
       FROM unnest($2::smallint[], $3::bigint[]) AS full_tiles (level, number)
         JOIN public.ledger_tiles AS stored ON stored.level = full_tiles.level AND stored.tile >= full_tiles.number
       WHERE stored.log = $1 ORDER BY stored.level, stored.tile LIMIT 1`,
      [this.log, levels, levels.map((level) => toBigintText(Math.floor(entries / tileWidth ** (level + 1))))],
    );
    const [row] = found.rows;
    if (row === undefined) return;
    this.breaks.add(
      'TILE_MISMATCH',
      entries,
      `tile ${row.tile} of level ${row.level} is stored, but the log does not fill it (${row.total} such tiles)`,
    );
  }
}

function hexAt(hashes: string, place: number): string {
  return hashes.slice(place * 64, (place + 1) * 64);
}
