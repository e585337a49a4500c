import DataLoader from 'dataloader';
import { orTooBroad } from './audit-totals.js';
import { columnsOf, pageSize, readCursor, type Page, type Queryable } from './read-entries.js';
import { auditColumns, type AuditRow } from './rows.js';

/** Values answered by one statement. */
const valuesPerReadMax = 100;

/** The entries that share a value with what the caller already sees, oldest first. */
export interface NeighbourRequest {
  /** Of an index on (column, chain_index). */
  readonly by: 'requestId' | 'sessionId' | 'signalId';
  readonly value: string;
  /** At most 1,000; 50 where it is absent. */
  readonly first?: number | null | undefined;
  readonly after?: string | null | undefined;
  readonly properties: ReadonlySet<string>;
}

type NeighbourPage = Omit<NeighbourRequest, 'value'>;

/**
 * Reads neighbours for one request of the API: pages of many entries of a list are read by one statement, and a value that
 * several share is read once.
 */
export class NeighbourReader {
  readonly #database: Queryable;
  readonly #pages = new Map<string, DataLoader<string, Page<AuditRow>>>();

  constructor(database: Queryable) {
    this.#database = database;
  }

  /** Throws BAD_USER_INPUT for a cursor of another log or a size outside 0…1,000. */
  read({ value, ...page }: NeighbourRequest): Promise<Page<AuditRow>> {
    const key = JSON.stringify([page.by, page.first, page.after, [...page.properties].sort()]);
    const known = this.#pages.get(key) ?? loaderOf((values) => readPages(this.#database, page, values));
    this.#pages.set(key, known);
    return known.load(value);
  }
}

function loaderOf<Result>(read: (values: readonly string[]) => Promise<Result[]>): DataLoader<string, Result> {
  return new DataLoader(read, { maxBatchSize: valuesPerReadMax });
}

async function readPages(
  database: Queryable,
  { by, first, after, properties }: NeighbourPage,
  values: readonly string[],
): Promise<Page<AuditRow>[]> {
  const size = pageSize({ first });
  const position = readCursor('audit', 'after', after);
  const column = auditColumns[by];
  // The range with equal ends leaves the planner no choice but the index, as in bounded-page.ts.
  const found = await database.query<AuditRow & { place: string }>(
    `SELECT wanted.place, entry.* FROM unnest($1::text[]) WITH ORDINALITY AS wanted (value, place), LATERAL (
       SELECT ${columnsOf('audit', properties)} FROM public.audit_entries
       WHERE ${column} >= wanted.value AND ${column} <= wanted.value AND chain_index > $2::bigint
       ORDER BY ${column}, chain_index LIMIT ${size + 1}) AS entry
     ORDER BY wanted.place, entry."chainIndex"`,
    [values, position ?? '-1'],
  );
  const counts = loaderOf((wanted) => countNeighbours(database, column, null, wanted));
  const before = loaderOf((wanted) => countNeighbours(database, column, position ?? '-1', wanted));
  const rowsOf: AuditRow[][] = values.map(() => []);
  for (const row of found.rows) rowsOf[Number(row.place) - 1]?.push(row);
  return values.map((value, place) => {
    const rows = rowsOf[place] ?? [];
    return {
      rows: rows.slice(0, size),
      hasNextPage: () => Promise.resolve(rows.length > size),
      hasPreviousPage: async () => position !== null && (await before.load(value)) > 0,
      totalCount: () => counts.load(value),
    };
  });
}

/** How many entries each value has, or whether it has one up to an index: 1 or 0. */
async function countNeighbours(
  database: Queryable,
  column: string,
  upTo: string | null,
  values: readonly string[],
): Promise<number[]> {
  const entries = `SELECT chain_index FROM public.audit_entries WHERE ${column} >= wanted.value AND ${column} <= wanted.value`;
  const counted =
    upTo === null ? entries : `${entries} AND chain_index <= $2::bigint ORDER BY ${column}, chain_index LIMIT 1`;
  const found = await orTooBroad(() =>
    database.query<{ count: string }>(
      `SELECT (SELECT count(*) FROM (${counted}) AS entry) AS count
       FROM unnest($1::text[]) WITH ORDINALITY AS wanted (value, place) ORDER BY place`,
      upTo === null ? [values] : [values, upTo],
    ),
  );
  return found.rows.map(({ count }) => Number(count));
}
