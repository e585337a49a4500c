import { stringify } from 'csv-stringify/sync';
import type { Column, ColumnKind, RowPages } from './column.js';

export interface CsvForm {
  /** True for the form that no spreadsheet takes for formulas; false for the byte-exact one. */
  readonly spreadsheet: boolean;
}

/** Without it Excel takes UTF-8 for the machine's own code page. */
const byteOrderMark = '\uFEFF';

/**
 * What a spreadsheet may run as a formula: = + - @, also full-width and behind white space, and what OWASP adds because it
 * is skipped on import: tab, CR, LF. The apostrophe is here so that removing one from the front undoes the rule exactly.
 */
const startsFormula = /^(?:\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]|[\t\r\n'])/;

/** Kinds whose cells are made of digits and signs of the product's own: nothing in them can run. */
const harmless: ReadonlySet<ColumnKind> = new Set(['integer', 'index', 'time']);

/**
 * CSV by RFC 4180: a header, CRLF, quotes where they are needed. Null is an empty cell and the empty text is `""`, so that
 * the two can be told apart. Nothing is kept between the texts it yields.
 */
export async function* csvChunks<Row>(
  columns: readonly Column<Row>[],
  pages: RowPages<Row>,
  { spreadsheet }: CsvForm,
): AsyncGenerator<string, void, undefined> {
  yield (spreadsheet ? byteOrderMark : '') + encodeRecords([columns.map(({ name }) => name)]);
  const cells = columns.map(({ kind, value }) =>
    spreadsheet && !harmless.has(kind) ? (row: Row) => neutralise(value(row)) : value,
  );
  for await (const rows of pages) {
    if (rows.length > 0) yield encodeRecords(rows.map((row) => cells.map((cell) => cell(row))));
  }
}

/** The cell with an apostrophe in front where a spreadsheet could take it for a formula. */
function neutralise(cell: string | null): string | null {
  return cell !== null && startsFormula.test(cell) ? `'${cell}` : cell;
}

/** The library would leave a lone CR or LF unquoted, at which readers end the record, and the empty text as null. */
const quoted = /^$|[\r\n]/;

function encodeRecords(records: readonly (readonly (string | null)[])[]): string {
  return stringify(records as (string | null)[][], { record_delimiter: '\r\n', quoted_match: quoted });
}
