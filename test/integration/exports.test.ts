import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { auditLogColumns } from '../../src/exports/audit-columns.js';
import type { Column, ColumnKind } from '../../src/exports/column.js';
import { encodeFile, encodeWholeFile, type FileForm } from '../../src/exports/export-formats.js';
import { csvChunks } from '../../src/exports/csv.js';
import { parseTimestamp } from '../../src/core/timestamp.js';
import { exportQuery, logsQuery, statsQuery } from '../../src/http/audit-route-query.js';
import { readTable } from '../support/markdown-table.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

type Cells = Readonly<Record<string, string | null>>;

const column = (name: string, kind: ColumnKind): Column<Cells> => ({
  name,
  kind,
  description: name,
  nullable: true,
  value: (row) => row[name] ?? null,
});
const columns = [
  column('note', 'text'),
  column('details', 'json'),
  column('status', 'integer'),
  column('place', 'index'),
  column('at', 'time'),
];
const hostile = [
  '',
  ' ',
  'plain',
  'a,b',
  'say "so"',
  '"',
  'CR\ralone',
  'LF\nalone',
  'both\r\nends',
  '\r\n',
  '=1+1',
  '=HYPERLINK("http://x","y")',
  '+1',
  '-1',
  '@SUM(A1)',
  '\t=1',
  '\r=1',
  "'quoted",
  '＝1',
  ' =1',
  '\\.',
  '\\N',
  'NULL',
  '\uFEFFmark',
  '\u2028line',
  '€ 😀 ü',
  '</script>',
];
const rows: Cells[] = hostile.map((note, number) => ({
  note,
  details: JSON.stringify({ note, list: [number, null] }),
  status: number % 3 === 0 ? null : String(200 + number),
  place: String(2n ** 53n + BigInt(number)),
  at: `2026-11-20T10:00:00.${String(number).padStart(6, '0')}Z`,
}));
rows.push({ note: null, details: null, status: null, place: null, at: null });

const form = (changes: Partial<FileForm>): FileForm => ({ format: 'csv', spreadsheet: false, facts: {}, ...changes });

async function encode(given: readonly Cells[], changes: Partial<FileForm>): Promise<string> {
  return (await encodeWholeFile(columns, given, form(changes))).toString();
}

let database: TestDatabase;
let session: SqlSession;
let folder: string;

beforeAll(async () => {
  database = await createTestDatabase();
  session = await openSession(database.urls.superuser);
  folder = await mkdtemp(join(tmpdir(), 'daybook-exports-'));
  // The server reads the files as another user.
  await chmod(folder, 0o755);
});

afterAll(async () => {
  await session[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** What PostgreSQL's own reader of CSV takes the file for, in its order. */
async function readByPostgres(csv: string): Promise<Cells[]> {
  const file = join(folder, 'rows.csv');
  await writeFile(file, csv);
  await chmod(file, 0o644);
  return (await session.run(
    `DROP TABLE IF EXISTS pg_temp.read_back;
     CREATE TEMP TABLE read_back (note text, details text, status text, place text, at text,
       number int GENERATED ALWAYS AS IDENTITY);
     COPY pg_temp.read_back (note, details, status, place, at) FROM '${file}' (FORMAT csv, HEADER match);
     SELECT note, details, status, place, at FROM pg_temp.read_back ORDER BY number`,
  )) as unknown as Cells[];
}

/** RFC 4180 without mercy: CRLF between records, LF and CR only inside quotes. */
function parseRfc4180(csv: string): string[][] {
  const records: string[][] = [];
  let record: string[] = [];
  let rest = csv;
  while (rest !== '') {
    const match = /^(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/.exec(rest);
    if (match === null) throw new Error(`not RFC 4180: ${JSON.stringify(rest.slice(0, 40))}`);
    record.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '');
    if (match[3] === '\r\n') {
      records.push(record);
      record = [];
    }
    rest = rest.slice(match[0].length);
  }
  return records;
}

const textCell = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom(...hostile), fc.constant(null));

describe('CSV', () => {
  test('in its machine form is read by PostgreSQL as exactly what was recorded, null and empty text apart', async () => {
    expect(await readByPostgres(await encode(rows, {}))).toEqual(rows);
  });

  test('is RFC 4180 for any text, and comes back byte for byte', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(textCell, { maxLength: 20 }), async (notes) => {
        const given = notes.map((note) => ({ note }));
        const [header, ...records] = parseRfc4180(await encode(given, {}));
        expect(header).toEqual(columns.map(({ name }) => name));
        expect(records.map(([note]) => note)).toEqual(notes.map((note) => note ?? ''));
      }),
      { numRuns: 300 },
    );
  });

  test('has a header without rows, and none of the byte order mark in its machine form', async () => {
    expect(await encode([], {})).toBe('note,details,status,place,at\r\n');
    expect(await encode([], { spreadsheet: true })).toBe('\uFEFFnote,details,status,place,at\r\n');
  });

  test('for spreadsheets has no cell that starts a formula, and gives the machine form by removing one apostrophe', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(textCell, { minLength: 1, maxLength: 20 }), async (notes) => {
        const given = notes.map((note) => ({ note, details: note, place: '-7', status: '-1' }));
        const csv = await encode(given, { spreadsheet: true });
        const records = parseRfc4180(csv.slice(1)).slice(1);
        for (const [place, [note = '', details, status, index]] of records.entries()) {
          expect(note).not.toMatch(/^[=+\-@\t\r\n＝＋－＠]/);
          expect(note).not.toMatch(/^\s+[=+\-@]/);
          expect([note, details].map((cell) => cell?.replace(/^'/, ''))).toEqual([
            notes[place] ?? '',
            notes[place] ?? '',
          ]);
          // Numbers are the product's own and cannot run.
          expect([status, index]).toEqual(['-1', '-7']);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('takes the next page only when its reader asks for more', async () => {
    let read = 0;
    const pages = (function* () {
      for (;;) {
        read += 1;
        yield rows;
      }
    })();
    const chunks = csvChunks(columns, pages, { spreadsheet: false });
    await chunks.next();
    expect(read).toBe(0);
    await chunks.next();
    await chunks.next();
    expect(read).toBe(2);
    await chunks.return();
  });
});

describe('JSON and JSONL', () => {
  test('hold the same rows: recorded JSON byte for byte, indexes as texts, numbers as numbers', async () => {
    const facts = { count: rows.length, filter: { userId: 'ü' }, firstIndex: null };
    const text = await encode(rows, { format: 'json', facts });
    const lines = (await encode(rows, { format: 'jsonl', facts })).split('\n');
    const { logs, ...envelope } = JSON.parse(text);
    expect(envelope).toEqual(facts);
    expect(lines.pop()).toBe('');
    expect(lines.map((line) => JSON.parse(line))).toEqual(logs);
    expect(logs).toEqual(
      rows.map((row) => ({
        ...row,
        details: row.details === null ? null : JSON.parse(row.details ?? ''),
        status: row.status === null ? null : Number(row.status),
      })),
    );
    const odd = '{"z":1,"10":[],"a":"\\u0001"}';
    expect(await encode([{ details: odd }], { format: 'jsonl' })).toContain(`"details":${odd},`);
  });

  test('without rows are an empty list and an empty file', async () => {
    expect(JSON.parse(await encode([], { format: 'json', facts: {} }))).toEqual({ logs: [] });
    expect(await encode([], { format: 'jsonl' })).toBe('');
  });
});

describe('Parquet', () => {
  /** Another program's reader, with times left in microseconds. */
  async function readByHyparquet(bytes: Buffer) {
    const file = new Uint8Array(bytes).buffer;
    const metadata = await parquetMetadataAsync({
      byteLength: file.byteLength,
      slice: (from, to) => file.slice(from, to),
    });
    const parsers = {
      timestampFromMicroseconds: (micros: bigint) => micros,
      // Its own would take a leading U+FEFF for a mark and drop it.
      stringFromBytes: (text: Uint8Array | undefined) => text && Buffer.from(text).toString(),
    };
    const read = await parquetReadObjects({ file, metadata, parsers: parsers });
    return { metadata, read };
  }

  const asRead = ({ note, details, status, place, at }: Cells) => ({
    note,
    details,
    status: status === null || status === undefined ? null : Number(status),
    place: place === null || place === undefined ? null : BigInt(place),
    at: at === null || at === undefined ? null : parseTimestamp(at),
  });
  const plain = (objects: Record<string, unknown>[]) =>
    objects.map((object) => Object.fromEntries(Object.entries(object).map(([name, value]) => [name, value ?? null])));

  test('is read back as what was recorded, with its facts as key-value metadata', async () => {
    const facts = { count: rows.length, filter: { userId: 'ü' }, asOf: '12', firstIndex: null };
    const { metadata, read } = await readByHyparquet(
      await encodeWholeFile(columns, rows, form({ format: 'parquet', facts })),
    );
    expect(plain(read)).toEqual(rows.map(asRead));
    expect(Object.fromEntries((metadata.key_value_metadata ?? []).map(({ key, value }) => [key, value]))).toEqual({
      'daybook.count': String(rows.length),
      'daybook.filter': '{"userId":"ü"}',
      'daybook.asOf': '12',
    });
    expect(metadata.created_by).toBe('Daybook');
  });

  test('is written group by group, each before the next is read', async () => {
    let read = 0;
    const pages = (function* () {
      for (let page = 0; page < 30; page += 1) {
        read += 1;
        yield Array.from({ length: 500 }, (_, number) => ({ note: `n${page}`, place: String(page * 500 + number) }));
      }
    })();
    const chunks: Uint8Array[] = [];
    const readAt: number[] = [];
    for await (const chunk of encodeFile(columns, pages, form({ format: 'parquet' }))) {
      chunks.push(Buffer.from(chunk));
      readAt.push(read);
    }
    expect(readAt).toEqual([10, 20, 30, 30]);
    const { metadata, read: objects } = await readByHyparquet(Buffer.concat(chunks));
    expect(metadata.row_groups.map(({ num_rows }) => Number(num_rows))).toEqual([5000, 5000, 5000]);
    expect(objects.map(({ place }) => place)).toEqual(Array.from({ length: 15_000 }, (_, number) => BigInt(number)));
  });

  test('without rows is a file with its columns, and without its footer is none', async () => {
    const bytes = await encodeWholeFile(columns, [], form({ format: 'parquet' }));
    const { metadata, read } = await readByHyparquet(bytes);
    expect(read).toEqual([]);
    expect(metadata.schema.slice(1).map(({ name }) => name)).toEqual(columns.map(({ name }) => name));
    const whole = await encodeWholeFile(columns, rows, form({ format: 'parquet' }));
    await expect(readByHyparquet(whole.subarray(0, whole.length - 100))).rejects.toBeDefined();
  });
});

test('docs/exports.md lists every column with its kind, and every parameter with its paths', async () => {
  const page = await readFile('docs/exports.md', 'utf8');
  const inParquet = { text: 'string', json: 'string', integer: 'INT32', index: 'INT64', time: 'TIMESTAMP (micros)' };
  expect(readTable(page, 'Column').map(Object.values)).toEqual(
    auditLogColumns.map(({ name, kind, description }) => [`\`${name}\``, inParquet[kind], description]),
  );
  const paths = { logs: logsQuery, stats: statsQuery, export: exportQuery };
  expect(Object.fromEntries(readTable(page, 'Parameter').map((row) => [row.Parameter, row.Paths]))).toEqual(
    Object.fromEntries(
      Object.keys(logsQuery.shape).map((name) => [
        `\`${name}\``,
        Object.entries(paths)
          .filter(([, { shape }]) => name in shape)
          .map(([path]) => path)
          .join(', '),
      ]),
    ),
  );
});
