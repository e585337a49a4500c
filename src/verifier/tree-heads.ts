import { CompactRange, emptyRoot, type Hash } from '../core/merkle-tree.js';

/** A tree of the first `size` entries. */
export interface TreeHead {
  readonly size: number;
  readonly root: Hash;
}

/** First ten characters of a recording time. */
type Day = string;

/**
 * The heads that the log had at each midnight UTC, by recording time. Holds one head for each day that has entries. A time
 * that runs backwards, which is a break of its own, moves no entry to an earlier day.
 */
export class DayHeads {
  #day: Day | null = null;
  #firstDay: Day | null = null;
  readonly #ended: { readonly day: Day; readonly head: TreeHead }[] = [];

  /** Of the first and the last entry seen; null before any. */
  get firstDay(): Day | null {
    return this.#firstDay;
  }

  get lastDay(): Day | null {
    return this.#day;
  }

  /** Tells of an entry's recording time. `headBefore` gives the tree before that entry, and is asked only at a new day. */
  observe(time: string, headBefore: () => TreeHead): void {
    const day = time.slice(0, 10);
    if (this.#day !== null && day <= this.#day) return;
    if (this.#day !== null) this.#ended.push({ day: this.#day, head: headBefore() });
    this.#firstDay ??= day;
    this.#day = day;
  }

  /**
   * The tree of the entries recorded until the end of `day`; `whole` is that of all entries, null where not all were read.
   * Null where it cannot be told.
   */
  at(day: Day, whole: TreeHead | null): TreeHead | null {
    // Entries whose times cannot be read could be of any day.
    if (this.#day === null) return whole?.size === 0 ? whole : null;
    if (day >= this.#day) return whole;
    let [low, high] = [0, this.#ended.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const ended = this.#ended[middle];
      if (ended !== undefined && ended.day <= day) low = middle + 1;
      else high = middle;
    }
    return this.#ended[low - 1]?.head ?? { size: 0, root: emptyRoot };
  }
}

/** Roots of the tree at sizes within one bundle, asked by ascending size; costs nothing while nobody asks. */
export class BundleHeads {
  #range: CompactRange | null = null;

  /** `leaves` may still grow; `before` is the tree before the bundle. */
  constructor(
    private readonly before: CompactRange,
    private readonly leaves: readonly Hash[],
  ) {}

  /** The tree of the first `size` entries. Throws RangeError for a size that the bundle does not reach. */
  at(size: number): TreeHead {
    const begin = this.before.size;
    const range = (this.#range ??= new CompactRange(begin, this.before.hashes));
    while (range.size < size) {
      const leaf = this.leaves[range.size - begin];
      if (leaf === undefined) throw new RangeError(`the bundle does not reach size ${size}`);
      range.append(leaf);
    }
    return { size, root: range.root() };
  }
}
