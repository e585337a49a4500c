import type pg from 'pg';
import type { LogName } from './rows.js';

/** A row whose xmin is not its own transaction's: all three are decimal text, `xmin` modulo 2^32. */
export interface ForeignRow {
  readonly chainIndex: string;
  readonly xid: string;
  readonly xmin: string;
}

interface Range {
  readonly first: number;
  readonly last: number;
  readonly xid: string;
  readonly subxid: string;
}

/** xmin holds the lower 32 bits of a transaction id. */
const xminModulus = 2n ** 32n;

/** True where the row was last written by the transaction that appended it, not by one of its savepoints. */
export function isWrittenByAppend(row: ForeignRow): boolean {
  return row.xmin === row.xid || (row.xid.length > 9 && row.xmin === (BigInt(row.xid) % xminModulus).toString());
}

/**
 * Rows inserted under a savepoint carry its id as xmin; the append recorded such ids in public.ledger_subxacts. Reads
 * them beside the log, by ascending index, and holds only those that reach into the rows at hand.
 */
export class Subtransactions {
  #ranges: Range[] = [];
  #loadedTo = -1;

  constructor(
    private readonly client: pg.ClientBase,
    private readonly log: LogName,
  ) {}

  /** Of `rows`, by ascending index across calls, those that no recorded savepoint explains. */
  async findUnexplained<Row extends ForeignRow>(rows: readonly Row[]): Promise<Row[]> {
    const from = Number(rows[0]?.chainIndex);
    const to = Number(rows.at(-1)?.chainIndex);
    this.#ranges = this.#ranges.filter((range) => range.last >= from);
    const found = await this.client.query<{ first: string; last: string; xid: string; subxid: string }>(
      `SELECT first_index AS first, last_index AS last, xid, subxid FROM public.ledger_subxacts
       WHERE log = $1 AND first_index > $2 AND first_index <= $3 AND last_index >= $4 ORDER BY first_index`,
      [this.log, this.#loadedTo, to, from],
    );
    this.#loadedTo = Math.max(this.#loadedTo, to);
    for (const row of found.rows) {
      this.#ranges.push({ first: Number(row.first), last: Number(row.last), xid: row.xid, subxid: row.subxid });
    }
    let upcoming = 0;
    let reaching: Range[] = [];
    return rows.filter((row) => {
      const index = Number(row.chainIndex);
      for (let range = this.#ranges[upcoming]; range && range.first <= index; range = this.#ranges[++upcoming]) {
        reaching.push(range);
      }
      reaching = reaching.filter((range) => range.last >= index);
      return !reaching.some((range) => range.subxid === row.xmin && range.xid === row.xid);
    });
  }
}
