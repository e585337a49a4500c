import { conditionToSql, type Condition } from '../ledger/filter.js';
import { encodeCursor, readPage, type Queryable } from '../ledger/read-entries.js';
import { exportedProperties, toAuditLogRow, type AuditLogRow } from './audit-columns.js';

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
 * Reads page `page` of the entries that match. Entries never change and are only added at the end, so below a bound on the
 * index the three queries see the same without a snapshot.
 */
export async function readLogPage(database: Queryable, { condition, page, limit }: LogPageRequest): Promise<LogPage> {
  const parameters: unknown[] = [];
  const where = conditionToSql(condition, parameters);
  const counted = await database.query<{ count: string }>(
    `SELECT count(*) AS count FROM public.audit_entries WHERE ${where}`,
    parameters,
  );
  const total = Number(counted.rows[0]?.count ?? 0);
  const pages = Math.ceil(total / limit);
  if (page > pages) return { rows: [], total, pages };
  // Of what is skipped only the index is read.
  const found = await database.query<{ first: string }>(
    `SELECT chain_index AS first FROM public.audit_entries WHERE ${where}
     ORDER BY chain_index DESC OFFSET $${parameters.length + 1} LIMIT 1`,
    [...parameters, (page - 1) * limit],
  );
  const first = found.rows[0]?.first;
  if (first === undefined) return { rows: [], total, pages };
  const { rows } = await readPage(database, 'audit', {
    condition,
    newestFirst: true,
    first: limit,
    after: encodeCursor('audit', (BigInt(first) + 1n).toString()),
    properties: exportedProperties,
  });
  return { rows: rows.map(toAuditLogRow), total, pages };
}
