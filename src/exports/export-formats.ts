import { csvChunks } from './csv.js';
import type { Column, RowPages } from './column.js';
import { jsonChunks, jsonlChunks } from './json.js';
import { parquetChunks } from './parquet.js';

export const exportFormats = ['csv', 'json', 'jsonl', 'parquet'] as const;
export type ExportFormat = (typeof exportFormats)[number];

export const contentTypes: Readonly<Record<ExportFormat, string>> = {
  csv: 'text/csv; charset=utf-8; header=present',
  json: 'application/json; charset=utf-8',
  jsonl: 'application/jsonl; charset=utf-8',
  parquet: 'application/vnd.apache.parquet',
};

/** How one file is to be encoded. */
export interface FileForm {
  readonly format: ExportFormat;
  /** Of CSV only. */
  readonly spreadsheet: boolean;
  /** What the file says of itself: JSON's envelope, Parquet's key-value metadata. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** The bytes of a file, some at a time; nothing is read ahead of what is asked for. */
export function encodeFile<Row>(
  columns: readonly Column<Row>[],
  pages: RowPages<Row>,
  { format, spreadsheet, facts }: FileForm,
): AsyncGenerator<string | Uint8Array, void, undefined> {
  switch (format) {
    case 'csv':
      return csvChunks(columns, pages, { spreadsheet });
    case 'json':
      return jsonChunks(columns, pages, facts, 'logs');
    case 'jsonl':
      return jsonlChunks(columns, pages);
    case 'parquet':
      return parquetChunks(columns, pages, asMetadata(facts));
  }
}

/** The whole file, for as few rows as fit into memory. */
export async function encodeWholeFile<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  form: FileForm,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of encodeFile(columns, [rows], form)) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** `daybook.count` and so on; what is no text goes in as JSON, and what is null stays out. */
function asMetadata(facts: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(facts)
      .filter(([, value]) => value !== null)
      .map(([name, value]) => [`daybook.${name}`, typeof value === 'string' ? value : JSON.stringify(value)]),
  );
}
