/** What the ring needs of a row: its index as decimal text and the texts that make up nearly all of its size. */
interface SizedRow {
  readonly chainIndex: string;
  readonly body: string;
}

/** Bytes of a row in memory beside its body: objects, hashes, and the columns that repeat what the body holds. */
const rowOverheadBytes = 1_500;

/** Estimated bytes of a row in memory: its body, the columns that repeat it, and what every row costs. */
export function rowBytes(row: SizedRow): number {
  return rowOverheadBytes + 2 * row.body.length;
}

/**
 * The newest rows of a log, without a gap between them: a window [start, end) that moves with the head and is bounded
 * by count and by bytes. Owned by one tail; holds nothing that the database does not hold.
 */
export class RecentRows<Row extends SizedRow> {
  #rows: Row[] = [];
  /** Rows at the front of the array that were dropped already; the array is cut once they are half of it. */
  #dropped = 0;
  #bytes = 0;
  #end = 0n;

  constructor(
    private readonly rowsMax: number,
    private readonly bytesMax: number,
  ) {}

  /** Position of the oldest row held; equals `end` when none is. */
  get start(): bigint {
    return this.#end - BigInt(this.#rows.length - this.#dropped);
  }

  /** Position behind the newest row. */
  get end(): bigint {
    return this.#end;
  }

  get last(): Row | undefined {
    return this.#rows.length > this.#dropped ? this.#rows.at(-1) : undefined;
  }

  /** Drops all rows; the next one pushed is at `end`. */
  reset(end: bigint): void {
    this.#rows = [];
    this.#dropped = 0;
    this.#bytes = 0;
    this.#end = end;
  }

  /** Takes rows that follow the last one, and lets go of the oldest ones above the bounds. */
  push(rows: readonly Row[]): void {
    for (const row of rows) {
      this.#rows.push(row);
      this.#bytes += rowBytes(row);
    }
    this.#end += BigInt(rows.length);
    let oldest = this.#rows[this.#dropped];
    while (oldest !== undefined && (this.#rows.length - this.#dropped > this.rowsMax || this.#bytes > this.bytesMax)) {
      this.#bytes -= rowBytes(oldest);
      this.#dropped += 1;
      oldest = this.#rows[this.#dropped];
    }
    if (this.#dropped > this.#rows.length / 2) {
      this.#rows = this.#rows.slice(this.#dropped);
      this.#dropped = 0;
    }
  }

  /** At most `max` rows from `position` on, or null where the window does not hold `position`. */
  slice(position: bigint, max: number): readonly Row[] | null {
    if (position < this.start || position > this.#end) return null;
    const first = this.#dropped + Number(position - this.start);
    return this.#rows.slice(first, first + max);
  }
}
