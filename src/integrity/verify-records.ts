import type pg from 'pg';
import type { BreakList } from '../core/log-breaks.js';
import { recordedKinds, type Details, type RecordedKind } from './recorded-tables.js';

/** Rows and entries fetched at a time. */
const fetchedAtOnce = 500;
/** Longest value that a message repeats. */
const valueLengthMax = 100;

/** `isTold` is false where the entry may have been archived and removed. */
type StoredRow = { readonly key: string; readonly isTold: boolean } & Readonly<Record<string, string | boolean | null>>;

interface TellingEntry {
  readonly key: string;
  readonly index: string;
  readonly actor: string | null;
  readonly details: string;
}

/**
 * Checks that keys, incidents, checks, roots, archives, holds, the retention and baselines are what their entries tell, both ways, in the snapshot that
 * `client` is in: whoever may write into the database may have made a row without an entry, changed one, or removed one.
 * Rows and entries are read side by side in order, so memory does not grow with them.
 */
export async function verifyRecords(client: pg.ClientBase, breaks: BreakList): Promise<void> {
  const restored = await readRestoredEntries(client);
  for (const kind of recordedKinds) await verifyKind(client, kind, restored, breaks);
}

/**
 * How many entries a declared restore loaded, 0 where there was none: it brings back the logs, and not all that stood beside
 * them. Loading and the entry that ends it are one transaction, which nobody can join later.
 */
export async function readRestoredEntries(client: pg.ClientBase): Promise<number> {
  const found = await client.query<{ index: string }>(
    `SELECT chain_index::text AS index FROM public.audit_entries
     WHERE event = 'LedgerRestored' AND xid = (SELECT xid FROM public.audit_entries ORDER BY chain_index LIMIT 1)
     ORDER BY chain_index LIMIT 1`,
  );
  return Number(found.rows[0]?.index ?? 0);
}

async function verifyKind(
  client: pg.ClientBase,
  kind: RecordedKind,
  restored: number,
  breaks: BreakList,
): Promise<void> {
  await using rows = await Side.open<StoredRow>(client, 'stored_rows', orderedRows(kind));
  await using entries = await Side.open<TellingEntry>(client, 'telling_entries', orderedEntries(kind));
  for (;;) {
    const row = await rows.next();
    const entry = await entries.next();
    if (row === null && entry === null) return;
    const order = compareKeys(row?.key, entry?.key);
    if (order <= 0) rows.take();
    if (order >= 0) entries.take();
    // Of a first entry that was removed, a later one tells no more.
    if (row?.isTold === false && (order < 0 || (order === 0 && kind.firstOnly === true))) continue;
    if (row !== null && order < 0) {
      breaks.add('RECORD_UNEXPLAINED', null, `${kind.name}, ${row.key}: no entry tells of it`);
    } else if (entry !== null && order > 0) {
      if (Number(entry.index) < restored) continue;
      const message = `${kind.name}, ${shorten(entry.key)}: the entry tells of it, and it is not stored`;
      breaks.add('RECORD_MISSING', Number(entry.index), message);
    } else if (row !== null && entry !== null) {
      if (kind.newestOnly === true && Number(entry.index) < restored) continue;
      const difference = describeDifference(kind, row, entry);
      if (difference !== null) {
        breaks.add('RECORD_UNEXPLAINED', Number(entry.index), `${kind.name}, ${row.key}: ${difference}`);
      }
    }
  }
}

/**
 * "C" sorts by bytes, as compareKeys does, whatever the database's own order is. Of one key the newest come first, among rows
 * and entries alike: where a restore brought back entries without rows, theirs are left over. A row and its entry commit
 * together, so their times differ by seconds at most.
 */
function orderedRows({ rows }: RecordedKind): string {
  return `SELECT stored.*, at > coalesce((SELECT max(last_recorded_at) FROM public.ledger_purges), '-infinity')
      + interval '1 minute' AS "isTold" FROM (${rows}) AS stored ORDER BY key COLLATE "C", turn DESC`;
}

function orderedEntries({ events, firstOnly, newestOnly }: RecordedKind): string {
  const list = events.map((event) => `'${event}'`).join(', ');
  const key = `coalesce(resource, '') COLLATE "C"`;
  return `SELECT ${firstOnly === true || newestOnly === true ? `DISTINCT ON (${key})` : ''} ${key} AS key, chain_index::text AS index, actor,
      details::text AS details
    FROM public.audit_entries WHERE event IN (${list}) ORDER BY ${key}, chain_index ${firstOnly === true ? 'ASC' : 'DESC'}`;
}

/** Negative where the first comes first; what has ended comes last. */
function compareKeys(one: string | undefined, other: string | undefined): number {
  if (one === undefined || other === undefined) return Number(one === undefined) - Number(other === undefined);
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

function describeDifference(kind: RecordedKind, row: StoredRow, entry: TellingEntry): string | null {
  const told = kind.told(parseDetails(entry.details), entry.actor);
  const differing = Object.keys(told).filter((column) => told[column] !== row[column]);
  if (differing.length === 0) return null;
  return differing
    .map((column) => `${column} is ${shorten(row[column])}, the entry says ${shorten(told[column])}`)
    .join('; ');
}

/** The json column made sure that it is JSON; parsed here, for SQL refuses some texts that JSON allows. */
function parseDetails(text: string): Details {
  const value: unknown = JSON.parse(text);
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Details) : {};
}

function shorten(value: string | boolean | null | undefined): string {
  if (typeof value !== 'string') return 'absent';
  return value.length > valueLengthMax ? `${value.slice(0, valueLengthMax)}…` : value;
}

/** The rows of one query, in order, a few at a time, through a cursor of the transaction that `client` is in. */
class Side<Row extends pg.QueryResultRow> implements AsyncDisposable {
  #fetched: Row[] = [];
  #place = 0;
  #ended = false;

  private constructor(
    private readonly client: pg.ClientBase,
    private readonly cursor: string,
  ) {}

  static async open<Row extends pg.QueryResultRow>(
    client: pg.ClientBase,
    cursor: string,
    query: string,
  ): Promise<Side<Row>> {
    await client.query(`DECLARE ${cursor} NO SCROLL CURSOR FOR ${query}`);
    return new Side<Row>(client, cursor);
  }

  /** The row that is next, again and again until it is taken; null behind the last. */
  async next(): Promise<Row | null> {
    if (this.#place === this.#fetched.length && !this.#ended) {
      const fetched = await this.client.query<Row>(`FETCH ${fetchedAtOnce} FROM ${this.cursor}`);
      this.#fetched = fetched.rows;
      this.#place = 0;
      this.#ended = fetched.rows.length < fetchedAtOnce;
    }
    return this.#fetched[this.#place] ?? null;
  }

  take(): void {
    this.#place += 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // In a transaction that failed there is none any more.
    await this.client.query(`CLOSE ${this.cursor}`).catch(() => undefined);
  }
}
