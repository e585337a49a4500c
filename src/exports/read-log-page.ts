import { countAuditEntries, findAfterNewest, orTooBroad } from '../ledger/audit-totals.js';
import type { Condition } from '../ledger/filter.js';
import { encodeCursor, readPage, type Queryable } from '../ledger/read-entries.js';
import type { AuditRow } from '../ledger/rows.js';
import { exportedProperties, toAuditLogRow, type AuditLogRow } from './audit-columns.js';

/** Bounded reads for one page: nearly every page is full by then. The rest of the log is looked through in one go. */
const boundedReadsMax = 3;

/** A page by its number, newest entries first; `condition` bounds the log by index, so that pages hold still as it grows. */
export interface LogPageRequest {
  readonly condition: Condition;
  /** From 1. */
  readonly page: number;
  /** 1 to 1,000. */
  readonly limit: number;
}

export interface LogPage {
  readonly rows: readonly AuditLogRow[];
  /** Exactly how many entries match, and how many pages that makes. */
  readonly total: number;
  readonly pages: number;
}

/**
 * Reads page `page` of the entries that match; only the last one has fewer than `limit`. Entries never change and are only
 * added at the end, so below a bound on the index all queries see the same without a snapshot. Throws QUERY_TOO_BROAD where
 * counting or looking takes too long.
 */
export async function readLogPage(database: Queryable, { condition, page, limit }: LogPageRequest): Promise<LogPage> {
  const total = Number(await countAuditEntries(database, condition));
  const pages = Math.ceil(total / limit);
  if (page > pages) return { rows: [], total, pages };
  const skipped = (page - 1) * limit;
  const first = skipped === 0 ? null : await findAfterNewest(database, condition, BigInt(skipped));
  const after = first === null ? null : encodeCursor('audit', (first + 1n).toString());
  const rows = await readRows(database, condition, after, Math.min(limit, total - skipped));
  return { rows: rows.map(toAuditLogRow), total, pages };
}

/** The `wanted` newest entries after a cursor, which are there. */
async function readRows(
  database: Queryable,
  condition: Condition,
  after: string | null,
  wanted: number,
): Promise<readonly AuditRow[]> {
  const rows: AuditRow[] = [];
  let from = after;
  for (let read = 0; read <= boundedReadsMax && rows.length < wanted; read += 1) {
    const found = await orTooBroad(() =>
      readPage(database, 'audit', {
        condition,
        newestFirst: true,
        first: wanted - rows.length,
        after: from,
        properties: exportedProperties,
        bounded: read < boundedReadsMax,
      }),
    );
    rows.push(...found.rows);
    if (found.lookedUpTo === undefined) break;
    from = encodeCursor('audit', found.lookedUpTo.chainIndex);
  }
  return rows;
}
