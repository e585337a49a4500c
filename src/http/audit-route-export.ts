import type { Request } from 'express';
import { auditLogColumns, type AuditLogRow } from '../exports/audit-columns.js';
import { readExportExtent, readExportPages, readNewestIndex } from '../exports/audit-export.js';
import { encodeFile } from '../exports/export-formats.js';
import type { ExportSessions } from '../exports/export-sessions.js';
import type { Download } from './audit-route-download.js';
import {
  assertSpreadsheet,
  boundOf,
  fileHeaders,
  readArchived,
  redactedFilter,
  withoutNulls,
} from './audit-route-facts.js';
import { conditionOf, exportQuery, parseQuery } from './audit-route-query.js';
import type { RestServices } from './rest-calls.js';

/**
 * Opens the export that a request asks for: its snapshot, and what it will hold. Throws BAD_USER_INPUT, EXPORTS_BUSY and the
 * database's errors; then nothing stays open.
 */
export async function openAuditExport(
  request: Request,
  { exports, rest }: { readonly exports: ExportSessions; readonly rest: RestServices },
): Promise<Download> {
  const query = parseQuery(exportQuery, request.originalUrl, rest.redactor);
  assertSpreadsheet(query);
  conditionOf(query, null);
  await using stack = new AsyncDisposableStack();
  const { client } = stack.use(await exports.open());
  const asOf = boundOf(query, await readNewestIndex(client));
  const condition = conditionOf(query, asOf);
  const extent = await readExportExtent(client, condition);
  const { format, spreadsheet } = query;
  const { count, ...indexes } = extent;
  const archived = await readArchived(client, query, asOf);
  const facts = { ...extent, asOf, archived, filter: redactedFilter(query, rest.redactor) };
  const counted = countRows(readExportPages(client, condition, extent));
  const owned = stack.move();
  return {
    headers: fileHeaders(format, facts),
    entry: { entries: count, format, ...withoutNulls({ ...indexes, asOf }) },
    chunks: encodeFile(auditLogColumns, counted.pages, { format, spreadsheet, facts }),
    rows: counted.rows,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function countRows(pages: AsyncIterable<readonly AuditLogRow[]>) {
  let rows = 0;
  const count = async function* () {
    for await (const page of pages) {
      yield page;
      rows += page.length;
    }
  };
  return { pages: count(), rows: () => rows };
}
