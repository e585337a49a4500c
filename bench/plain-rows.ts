import pg from 'pg';
import { ledgerConnection } from '../src/db/pool.js';
import { businessSuffix, ledgerColumns, plainSchema } from './plain-tables.js';

/** A column of a table with its type as SQL writes it. */
interface Column {
  readonly name: string;
  readonly type: string;
}

/** Rows of one table by column, ready to be sent: one array a column. */
export interface ColumnArrays {
  readonly table: string;
  readonly columns: readonly Column[];
  readonly arrays: readonly (readonly unknown[])[];
}

/** Reads rows of the ledger as they are stored, hashes included, to have a baseline store the very same ones. */
export class LedgerRows {
  readonly #next = new Map<string, number>();

  constructor(private readonly client: pg.Client) {}

  /** Up to `count` rows of `table` that follow the last ones read. */
  async take(table: string, count: number): Promise<ColumnArrays> {
    const first = this.#next.get(table) ?? 0;
    const columns = await this.#columnsOf(table);
    const found = await this.client.query<unknown[]>({
      text: `SELECT ${columns.map(({ name, type }) => (type === 'bytea' ? `'\\x' || encode(${name}, 'hex')` : name)).join(', ')}
             FROM public.${table} WHERE chain_index BETWEEN $1 AND $2 ORDER BY chain_index`,
      values: [first, first + count - 1],
      rowMode: 'array',
    });
    if (found.rows.length !== count)
      throw new Error(`${table} has ${found.rows.length} rows from ${first}, not ${count}`);
    this.#next.set(table, first + count);
    return { table, columns, arrays: columns.map((_, place) => found.rows.map((row) => row[place])) };
  }

  /** Leaves the rows recorded so far to nobody. */
  async skip(table: string): Promise<void> {
    const found = await this.client.query<{ next: string }>(
      `SELECT coalesce(max(chain_index) + 1, 0) AS next FROM public.${table}`,
    );
    this.#next.set(table, Number(found.rows[0]?.next ?? 0));
  }

  async #columnsOf(table: string): Promise<Column[]> {
    const found = await this.client.query<Column>({
      name: 'columns_of',
      text: `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
             WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
      values: [`public.${table}`],
    });
    return found.rows;
  }
}

/** The part of the rows that a table of a program without a ledger would hold; it numbers its rows itself. */
export function businessColumns({ table, columns, arrays }: ColumnArrays): ColumnArrays {
  const kept = columns.map(({ name }) => name !== 'chain_index' && !ledgerColumns.includes(name));
  return {
    table: table + businessSuffix,
    columns: columns.filter((_, place) => kept[place]),
    arrays: arrays.filter((_, place) => kept[place]),
  };
}

/** Cuts rows into batches of `size`. */
export function inBatches({ table, columns, arrays }: ColumnArrays, size: number): ColumnArrays[] {
  const rows = arrays[0]?.length ?? 0;
  return Array.from({ length: Math.ceil(rows / size) }, (_, batch) => ({
    table,
    columns,
    arrays: arrays.map((array) => array.slice(batch * size, (batch + 1) * size)),
  }));
}

/** Inserts a batch of each table in one transaction, each by one prepared statement that takes an array a column. */
export async function insertPlainRows(client: pg.Client, batches: readonly ColumnArrays[]): Promise<void> {
  await client.query('BEGIN');
  for (const { table, columns, arrays } of batches) {
    const names = columns.map(({ name }) => name).join(', ');
    const casts = columns.map(({ type }, place) => `$${place + 1}::${type}[]`).join(', ');
    await client.query({
      name: `insert_plain_${table}`,
      text: `INSERT INTO ${plainSchema}.${table} (${names}) SELECT * FROM unnest(${casts})`,
      values: [...arrays],
    });
  }
  await client.query('COMMIT');
}

/** Inserts a batch of one row in a transaction of its own, by the prepared statement that is the plainest for it. */
export async function insertPlainRow(client: pg.Client, row: ColumnArrays | undefined): Promise<void> {
  if (row === undefined) throw new Error('there is no such row');
  const { table, columns, arrays } = row;
  const values = arrays.map((array) => array[0]);
  await client.query({
    name: `insert_plain_row_${table}`,
    text: `INSERT INTO ${plainSchema}.${table} (${columns.map(({ name }) => name).join(', ')})
           VALUES (${columns.map((_, place) => `$${place + 1}`).join(', ')})`,
    values,
  });
}

/** A connection with the settings that the ledger's own writer has. */
export async function connectAsWriter(url: string): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client(ledgerConnection(url, 'daybook bench'));
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}
