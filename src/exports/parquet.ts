import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { parseTimestamp } from '../core/timestamp.js';
import type { Column, ColumnKind, RowPages } from './column.js';

/** A row group is written once it has this many rows or characters: what one export holds in memory. */
const groupRowsMax = 5_000;
const groupCharactersMax = 8 * 1024 * 1024;

type SchemaElement = ConstructorParameters<typeof ParquetWriter>[0]['schema'][number];

/**
 * JSON is stored as a UTF-8 text: the library's own JSON type would parse and rewrite what was hashed. Times are UTC
 * microseconds, which is all that PostgreSQL keeps.
 */
const physical: Readonly<Record<ColumnKind, Partial<SchemaElement>>> = {
  text: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
  json: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
  integer: { type: 'INT32' },
  index: { type: 'INT64' },
  time: { type: 'INT64', converted_type: 'TIMESTAMP_MICROS' },
};

const encodeCell: Readonly<Record<ColumnKind, (cell: string) => string | number | bigint>> = {
  text: (cell) => cell,
  json: (cell) => cell,
  integer: Number,
  index: BigInt,
  time: encodeTime,
};

/**
 * A Parquet file, row group by row group, Snappy-compressed; `metadata` becomes its key-value metadata. Yields the bytes of
 * each group as it is full and the footer at the end: without the footer no reader takes the file.
 */
export async function* parquetChunks<Row>(
  columns: readonly Column<Row>[],
  pages: RowPages<Row>,
  metadata: Readonly<Record<string, string>>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const bytes = new ChunkWriter();
  const file = new ParquetWriter({
    writer: bytes,
    schema: schemaOf(columns),
    kvMetadata: Object.entries(metadata).map(([key, value]) => ({ key, value })),
    createdBy: 'Daybook',
  });
  let group = new RowGroup(columns);
  for await (const rows of pages) {
    for (const row of rows) {
      group.add(row);
      if (!group.isFull) continue;
      await group.writeTo(file);
      yield bytes.take();
      group = new RowGroup(columns);
    }
  }
  if (group.rows > 0) await group.writeTo(file);
  await file.finish();
  yield bytes.take();
}

class RowGroup<Row> {
  readonly #cells: (string | number | bigint | null)[][];
  #characters = 0;
  rows = 0;

  constructor(private readonly columns: readonly Column<Row>[]) {
    this.#cells = columns.map(() => []);
  }

  get isFull(): boolean {
    return this.rows >= groupRowsMax || this.#characters >= groupCharactersMax;
  }

  add(row: Row): void {
    this.rows += 1;
    for (const [place, { kind, value }] of this.columns.entries()) {
      const cell = value(row);
      this.#cells[place]?.push(cell === null ? null : encodeCell[kind](cell));
      this.#characters += cell?.length ?? 0;
    }
  }

  async writeTo(file: ParquetWriter): Promise<void> {
    const columnData = this.columns.map(({ name }, place) => ({ name, data: this.#cells[place] ?? [] }));
    await file.write({ columnData, rowGroupSize: this.rows });
  }
}

/** Hands over what was written since the last time; offsets in the file go on counting. */
class ChunkWriter extends ByteWriter {
  take(): Uint8Array {
    const chunk = new Uint8Array(this.getBuffer());
    this.index = 0;
    return chunk;
  }
}

function schemaOf<Row>(columns: readonly Column<Row>[]): SchemaElement[] {
  const root = { name: 'root', num_children: columns.length };
  const leaves = columns.map(({ name, kind, nullable }) => ({
    name,
    repetition_type: nullable ? ('OPTIONAL' as const) : ('REQUIRED' as const),
    ...physical[kind],
  }));
  return [root, ...leaves];
}

/** A time that is none, which only tampering brings into a log, fails the export rather than being left out. */
function encodeTime(cell: string): bigint {
  const micros = parseTimestamp(cell);
  if (micros === null) throw new RangeError('a recorded time is not one');
  return micros;
}
