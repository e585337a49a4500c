import type pg from 'pg';
import { DaybookError } from '../errors.js';
import { pageRowsDefault, type Page, type Queryable } from '../ledger/read-entries.js';

/** Most rows of one page. */
const pageRowsMax = 1_000;

/** A list whose rows carry a growing `number`, newest first. Everything in it is ours: no caller's text goes into SQL. */
export interface NumberedList {
  /** Stands in the cursors, so that a cursor of one list is refused by another. */
  readonly name: string;
  /** The select list with `number` in it, as in `number, id, opened_at AS "openedAt"`. */
  readonly columns: string;
  /** What stands after FROM; its column `number` orders the list. */
  readonly from: string;
  /** Conditions that all hold, over `$1`, `$2`, …, and their values. */
  readonly conditions?: readonly string[];
  readonly values?: readonly unknown[];
}

/** A caller's request for a page. */
export interface NumberedPageRequest {
  readonly first?: number | null;
  readonly after?: string | null;
}

export interface NumberedPage<Row> extends Page<Row> {
  readonly list: string;
}

/**
 * Reads one page by keyset on `number`, newest first. Throws BAD_USER_INPUT for a cursor of another list and for sizes
 * outside 0…1,000.
 */
export async function readNumberedPage<Row extends pg.QueryResultRow & { readonly number: string }>(
  database: Queryable,
  list: NumberedList,
  request: NumberedPageRequest,
): Promise<NumberedPage<Row>> {
  const size = request.first ?? pageRowsDefault;
  if (size < 0 || size > pageRowsMax) {
    throw new DaybookError('BAD_USER_INPUT', `first must lie between 0 and ${pageRowsMax}: page with cursors`);
  }
  const after = decodeNumberCursor(list.name, request.after);
  const conditions = list.conditions ?? [];
  const values = list.values ?? [];
  const bounded = after === null ? conditions : [...conditions, `number < $${values.length + 1}`];
  const found = await database.query<Row>(
    `SELECT ${list.columns} FROM ${list.from}${where(bounded)} ORDER BY number DESC LIMIT ${size + 1}`,
    after === null ? [...values] : [...values, after],
  );
  const rows = found.rows.slice(0, size);
  return {
    list: list.name,
    rows,
    hasNextPage: () => Promise.resolve(found.rows.length > size),
    hasPreviousPage: async () => {
      const edge = rows[0]?.number ?? after;
      if (edge === null) return false;
      const newer = await database.query(
        `SELECT FROM ${list.from}${where([...conditions, `number > $${values.length + 1}`])} LIMIT 1`,
        [...values, edge],
      );
      return newer.rows.length > 0;
    },
    totalCount: async () => {
      const counted = await database.query<{ count: string }>(
        `SELECT count(*) AS count FROM ${list.from}${where(conditions)}`,
        [...values],
      );
      return Number(counted.rows[0]?.count ?? 0);
    },
  };
}

/** Opaque cursor of a row in the named list. */
export function encodeNumberCursor(list: string, number: string): string {
  return Buffer.from(`${list}:${number}`).toString('base64url');
}

function decodeNumberCursor(list: string, cursor: string | null | undefined): string | null {
  if (cursor === undefined || cursor === null) return null;
  const match = /^([a-z-]+):(\d{1,18})$/.exec(Buffer.from(cursor, 'base64url').toString());
  if (match?.[1] !== list || match[2] === undefined) {
    throw new DaybookError('BAD_USER_INPUT', 'after is not a cursor of this list: use pageInfo or edges.cursor');
  }
  return match[2];
}

function where(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : ` WHERE ${conditions.map((condition) => `(${condition})`).join(' AND ')}`;
}
