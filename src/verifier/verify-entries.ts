import type { BreakList } from '../core/log-breaks.js';
import { CompactRange, hashLeafBytes, type Hash } from '../core/merkle-tree.js';
import { entriesPath, tileWidth } from '../core/tile-path.js';
import { BodyVerifier, type bodyKindOf } from './body-verifier.js';
import { listPartials, readBundle, readPartial, type ReadBundle } from './entry-bundles.js';
import type { LayoutReader } from './layout-reader.js';
import { readAhead } from './read-ahead.js';
import { firstDifference, readTile, TileVerifier, type PublishedTile } from './tile-verifier.js';
import { BundleHeads, DayHeads, type TreeHead } from './tree-heads.js';

/** Bundles read ahead: enough to hide round trips; at their largest, 16 MB each, they still fit in memory. */
const bundlesAheadMax = 8;

export interface EntriesInput {
  readonly reader: LayoutReader;
  /** Entries that the checkpoint claims. */
  readonly size: number;
  readonly kind: ReturnType<typeof bodyKindOf>;
  /** Sizes of which the root is wanted. */
  readonly sizes: readonly number[];
  readonly breaks: BreakList;
  readonly onProgress?: (progress: { readonly checked: number; readonly total: number }) => void;
  readonly signal?: AbortSignal;
}

export interface EntriesVerification {
  /** Entries that were read. */
  readonly count: number;
  /** The tree of all `size` entries; null when not all could be read. */
  readonly whole: TreeHead | null;
  readonly headChainHash: string;
  readonly days: DayHeads;
  /** Roots of the sizes asked for, as far as the entries reach; not of size 0. */
  readonly rootsAt: ReadonlyMap<number, Hash>;
  readonly tiles: number;
  readonly absentPartials: readonly string[];
}

/** Reads the entries in order, checks each, builds the tree from them and compares every published tile. */
export async function verifyEntries(input: EntriesInput): Promise<EntriesVerification> {
  const { reader, size, breaks, onProgress, signal } = input;
  const stream = new EntryStream(input);
  const bundles = readAhead(bundlesUpTo(size), bundlesAheadMax, async ({ index, width }) => {
    const [bundle, tile] = await Promise.all([readBundle(reader, index, width), readTile(reader, 0, index, width)]);
    return { index, bundle, tile };
  });
  for await (const { index, bundle, tile } of bundles) {
    signal?.throwIfAborted();
    if (bundle === null) {
      const message = `the bundle of entries from index ${index * tileWidth} on is not published`;
      breaks.add('INDEX_GAP', index * tileWidth, message);
      break;
    }
    const isComplete = await stream.take(index, bundle, tile);
    onProgress?.({ checked: stream.count, total: size });
    if (!isComplete) break;
  }
  return stream.finish();
}

/** Drawn one by one: a hostile size makes no list. */
function* bundlesUpTo(size: number): Generator<{ index: number; width: number }> {
  for (let index = 0; index * tileWidth < size; index += 1) {
    yield { index, width: Math.min(tileWidth, size - index * tileWidth) };
  }
}

/** What is known of the entries read so far. Owned by one verifyEntries. */
class EntryStream {
  readonly #range = new CompactRange();
  readonly #days = new DayHeads();
  readonly #bodies: BodyVerifier;
  readonly #tiles: TileVerifier;
  readonly #wanted: readonly number[];
  readonly #rootsAt = new Map<number, Hash>();
  #wantedPlace = 0;
  #count = 0;

  constructor(private readonly input: EntriesInput) {
    this.#bodies = new BodyVerifier(input.kind, input.breaks);
    this.#tiles = new TileVerifier(input.reader, input.breaks);
    this.#wanted = [...new Set(input.sizes)].filter((size) => size > 0).sort((left, right) => left - right);
  }

  get count(): number {
    return this.#count;
  }

  /** Takes the next bundle. Answers whether it is complete; nothing can be derived behind one that is not. */
  async take(index: number, bundle: ReadBundle, tile: PublishedTile): Promise<boolean> {
    const { size, breaks } = this.input;
    const begin = index * tileWidth;
    const leaves = this.#checkBodies(begin, bundle.bodies);
    await this.#comparePartials(index, bundle);
    if (bundle.fault !== null) breaks.add('INDEX_GAP', this.#count, bundle.fault);
    if (leaves.length < Math.min(tileWidth, size - begin)) {
      this.#tiles.compareBeginning(index, leaves, tile);
      return false;
    }
    const root = await this.#tiles.addTile(index, leaves, tile);
    if (leaves.length === tileWidth) this.#range.appendSubtree(Math.log2(tileWidth), root);
    else for (const leaf of leaves) this.#range.append(leaf);
    return true;
  }

  async finish(): Promise<EntriesVerification> {
    const isWhole = this.#count === this.input.size && this.#range.size === this.#count;
    if (isWhole) await this.#tiles.finish();
    return {
      count: this.#count,
      whole: isWhole ? { size: this.#count, root: this.#range.root() } : null,
      headChainHash: this.#bodies.headChainHash,
      days: this.#days,
      rootsAt: this.#rootsAt,
      tiles: this.#tiles.compared,
      absentPartials: this.#tiles.absentPartials,
    };
  }

  #checkBodies(begin: number, bodies: readonly Uint8Array[]): Hash[] {
    const leaves: Hash[] = [];
    const heads = new BundleHeads(this.#range, leaves);
    for (const body of bodies) {
      const index = begin + leaves.length;
      const leaf = hashLeafBytes(body);
      const time = this.#bodies.check(body, leaf, index);
      if (time !== null) this.#days.observe(time, () => heads.at(index));
      leaves.push(leaf);
      this.#count = index + 1;
      if (this.#wanted[this.#wantedPlace] === this.#count) {
        this.#rootsAt.set(this.#count, heads.at(this.#count).root);
        this.#wantedPlace += 1;
      }
    }
    return leaves;
  }

  /** Partial bundles of smaller trees are the beginning of this one; those of larger trees begin with all of it. */
  async #comparePartials(index: number, bundle: ReadBundle): Promise<void> {
    const { reader, breaks } = this.input;
    for await (const { path, width } of listPartials(reader, entriesPath(index))) {
      if (path === bundle.path) continue;
      const other = await readPartial(reader, path, width);
      if (other === null) continue;
      const shared = Math.min(other.bytes.length, bundle.bytes.length);
      const place = firstDifference(other.bytes.subarray(0, shared), bundle.bytes.subarray(0, shared));
      const count = place === null ? Math.min(other.bodies.length, bundle.bodies.length) : entryAt(bundle, place);
      if (place === null && other.fault === null) continue;
      const message = other.fault ?? `${path} is not what ${bundle.path} begins with`;
      breaks.add('TILE_MISMATCH', index * tileWidth + Math.min(count, tileWidth - 1), message);
    }
  }
}

/** The entry of the bundle that byte `place` belongs to. */
function entryAt({ bodies }: ReadBundle, place: number): number {
  let end = 0;
  const entry = bodies.findIndex((body) => {
    end += 2 + body.length;
    return place < end;
  });
  return entry < 0 ? bodies.length : entry;
}
