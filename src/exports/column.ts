/**
 * How a column's text is to be taken: `text` and `json` as they are, `integer` as a number below 2^53, `index` as a place in
 * a log (up to 2^63, a string in JSON), `time` as a canonical time.
 */
export type ColumnKind = 'text' | 'json' | 'integer' | 'index' | 'time';

/** One column of a tabular file, as data: every format is encoded from the same list. */
export interface Column<Row> {
  readonly name: string;
  readonly kind: ColumnKind;
  readonly description: string;
  /** True where `value` may be null. */
  readonly nullable: boolean;
  /** The cell as text exactly as it is recorded; null where there is none. */
  readonly value: (row: Row) => string | null;
}

/** Rows as they are read, some at a time. */
export type RowPages<Row> = AsyncIterable<readonly Row[]> | Iterable<readonly Row[]>;
