import type pg from 'pg';
import { DaybookError } from '../errors.js';
import { conditionToSql, type Condition } from '../ledger/filter.js';
import { encodeCursor, readPage, type Queryable } from '../ledger/read-entries.js';
import { exportedProperties, toAuditLogRow, type AuditLogRow } from './audit-columns.js';

/** Rows in memory at a time; an entry has at most 64 KB. */
const pageRows = 200;

/** What an export holds, known before its first byte. Indexes are decimal text, null where nothing matches. */
export interface ExportExtent {
  readonly count: number;
  readonly firstIndex: string | null;
  readonly lastIndex: string | null;
}

/** Index of the newest entry; null for an empty log. */
export async function readNewestIndex(database: Queryable): Promise<string | null> {
  const newest = await database.query<{ newest: string | null }>(
    'SELECT max(chain_index) AS newest FROM public.audit_entries',
  );
  return newest.rows[0]?.newest ?? null;
}

/** How many entries match, and between which indexes they lie. */
export async function readExportExtent(database: Queryable, condition: Condition): Promise<ExportExtent> {
  const parameters: unknown[] = [];
  const where = conditionToSql(condition, parameters);
  const found = await database.query<{ count: string; first: string | null; last: string | null }>(
    `SELECT count(*) AS count, min(chain_index) AS first, max(chain_index) AS last
     FROM public.audit_entries WHERE ${where}`,
    parameters,
  );
  const row = found.rows[0];
  return { count: Number(row?.count ?? 0), firstIndex: row?.first ?? null, lastIndex: row?.last ?? null };
}

/**
 * Every entry that matches, oldest first, read by index as the pages are asked for. `client` is in a snapshot, the one that
 * `extent` was read in. Throws LEDGER_BROKEN rather than ending where not exactly those entries came.
 */
export async function* readExportPages(
  client: Pick<pg.ClientBase, 'query'>,
  condition: Condition,
  extent: ExportExtent,
): AsyncGenerator<readonly AuditLogRow[], void, undefined> {
  let read = 0;
  let after: string | null = null;
  while (read < extent.count) {
    const page = await readPage(client as Queryable, 'audit', {
      condition,
      newestFirst: false,
      first: pageRows,
      after,
      properties: exportedProperties,
    });
    const last = page.rows.at(-1);
    if (last === undefined) break;
    read += page.rows.length;
    after = encodeCursor('audit', last.chainIndex);
    yield page.rows.map(toAuditLogRow);
  }
  if (read !== extent.count) {
    throw new DaybookError('LEDGER_BROKEN', `${extent.count} entries match but ${read} were read: run daybook verify`);
  }
}
