import type { Column, RowPages } from './column.js';

/** One row as a JSON object. Recorded JSON goes in as it stands, so that its bytes stay those that were hashed. */
export function jsonOfRow<Row>(columns: readonly Column<Row>[], row: Row): string {
  const members = columns.map(({ name, kind, value }) => {
    const cell = value(row);
    const isRaw = kind === 'json' || kind === 'integer';
    return `${JSON.stringify(name)}:${cell === null || isRaw ? (cell ?? 'null') : JSON.stringify(cell)}`;
  });
  return `{${members.join(',')}}`;
}

/** One JSON object a line, each ended by LF. */
export async function* jsonlChunks<Row>(
  columns: readonly Column<Row>[],
  pages: RowPages<Row>,
): AsyncGenerator<string, void, undefined> {
  for await (const rows of pages) {
    if (rows.length > 0) yield rows.map((row) => `${jsonOfRow(columns, row)}\n`).join('');
  }
}

/**
 * One JSON object: the members of `envelope` first, then the rows as the list `list`, which stands last because it is as
 * long as it gets.
 */
export async function* jsonChunks<Row>(
  columns: readonly Column<Row>[],
  pages: RowPages<Row>,
  envelope: Readonly<Record<string, unknown>>,
  list: string,
): AsyncGenerator<string, void, undefined> {
  const head = JSON.stringify(envelope).slice(1, -1);
  yield `{${head === '' ? '' : `${head},`}${JSON.stringify(list)}:[`;
  let separator = '\n';
  for await (const rows of pages) {
    if (rows.length === 0) continue;
    yield separator + rows.map((row) => jsonOfRow(columns, row)).join(',\n');
    separator = ',\n';
  }
  yield '\n]}\n';
}
