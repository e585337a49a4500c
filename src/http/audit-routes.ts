import { Router, type Request, type RequestHandler } from 'express';
import { auditReaders } from '../access/audited.js';
import { readAuditStats } from '../audit/read-audit-stats.js';
import { DaybookError } from '../errors.js';
import { auditLogColumns, toAuditLogRow } from '../exports/audit-columns.js';
import { readNewestIndex } from '../exports/audit-export.js';
import { contentTypes, encodeWholeFile } from '../exports/export-formats.js';
import type { ExportSessions } from '../exports/export-sessions.js';
import { jsonOfRow } from '../exports/json.js';
import { readLogPage } from '../exports/read-log-page.js';
import { readLogStart } from '../ledger/purges.js';
import { readAuditEntry, type Queryable } from '../ledger/read-entries.js';
import { recordedDownload } from './audit-route-download.js';
import { openAuditExport } from './audit-route-export.js';
import {
  assertSpreadsheet,
  boundOf,
  fileHeaders,
  readArchived,
  redactedFilter,
  withoutNulls,
} from './audit-route-facts.js';
import { describeAuditPaths } from './audit-route-openapi.js';
import { conditionOf, entryId, logsQuery, noQuery, parseQuery, statsQuery } from './audit-route-query.js';
import { recordedRoute, type RestServices } from './rest-calls.js';

export interface AuditRouteSources {
  readonly database: Queryable;
  readonly exports: ExportSessions;
  readonly rest: RestServices;
}

/** `/audit/…`: the audit log over REST; docs/exports.md has paths, columns and formats. */
export function auditRoutes(sources: AuditRouteSources): Router {
  const router = Router({ caseSensitive: true, strict: true });
  const { rest } = sources;
  router.get('/audit/logs', listEntries(sources));
  router.get('/audit/logs/:id', singleEntry(sources));
  router.get('/audit/stats', totals(sources));
  const open = (request: Request) => openAuditExport(request, sources);
  router.get('/audit/export', recordedDownload(rest, { roles: auditReaders, open }));
  router.get('/audit/openapi.json', openapiDocument(rest));
  return router;
}

function listEntries({ database, rest }: AuditRouteSources): RequestHandler {
  return recordedRoute(
    rest,
    () => auditReaders,
    async (request, response) => {
      const query = parseQuery(logsQuery, request.originalUrl, rest.redactor);
      assertSpreadsheet(query);
      const { page, limit, format, spreadsheet } = query;
      const asOf = boundOf(query, await readNewestIndex(database));
      const { rows, total, pages } = await readLogPage(database, { condition: conditionOf(query, asOf), page, limit });
      const extent = {
        count: rows.length,
        firstIndex: rows.at(-1)?.chainIndex ?? null,
        lastIndex: rows[0]?.chainIndex ?? null,
      };
      const filter = redactedFilter(query, rest.redactor);
      const archived = await readArchived(database, query, asOf);
      const facts = { total, page, pages, limit, ...extent, asOf, archived, filter };
      const file = await encodeWholeFile(auditLogColumns, rows, { format, spreadsheet, facts });
      response.setHeaders(new Map(Object.entries(fileHeaders(format, facts))));
      if (format === 'json') response.removeHeader('Content-Disposition');
      response.send(file);
      return { entries: rows.length, format, ...withoutNulls({ asOf }) };
    },
  );
}

function singleEntry({ database, rest }: AuditRouteSources): RequestHandler {
  return recordedRoute(
    rest,
    () => auditReaders,
    async (request, response) => {
      parseQuery(noQuery, request.originalUrl, rest.redactor);
      const { data: id } = entryId.safeParse(request.params.id);
      if (id === undefined) throw noSuchEntry();
      const row = await readAuditEntry(database, id.includes('-') ? { id } : { chainIndex: id });
      if (row === null) throw await missingEntry(database, id);
      response.setHeader('Content-Type', contentTypes.json);
      response.send(`${jsonOfRow(auditLogColumns, toAuditLogRow(row))}\n`);
    },
  );
}

function totals({ database, rest }: AuditRouteSources): RequestHandler {
  return recordedRoute(
    rest,
    () => auditReaders,
    async (request, response) => {
      const query = parseQuery(statsQuery, request.originalUrl, rest.redactor);
      const asOf = boundOf(query, await readNewestIndex(database));
      const archived = await readArchived(database, query, asOf);
      if (archived !== null) response.setHeader('Daybook-Archived', archived);
      const stats = await readAuditStats(database, conditionOf(query, asOf));
      response.json({
        totalLogs: Number(stats.totalEntries),
        byAction: countsOf(stats.byAction),
        byUser: countsOf(stats.byActor),
        topEndpoints: stats.topResources.flatMap(({ key, count }) =>
          key === null ? [] : [{ resource: key, count: Number(count) }],
        ),
        byCategory: countsOf(stats.byCategory),
        byOutcome: countsOf(stats.byOutcome),
        byDay: countsOf(stats.byDay),
        bytes: Number(stats.bytes),
        asOf,
        archived,
        filter: redactedFilter(query, rest.redactor),
      });
      return { entries: Number(stats.totalEntries), ...withoutNulls({ asOf }) };
    },
  );
}

function openapiDocument(rest: RestServices): RequestHandler {
  const document = describeAuditPaths();
  return recordedRoute(
    rest,
    () => auditReaders,
    async (request, response) => {
      parseQuery(noQuery, request.originalUrl, rest.redactor);
      await Promise.resolve(response.json(document));
    },
  );
}

/** By name; what has no actor or action is not in it, so the sum can be less than the total. */
function countsOf(totals: readonly { readonly key: string | null; readonly count: string | number }[]) {
  return Object.fromEntries(totals.flatMap(({ key, count }) => (key === null ? [] : [[key, Number(count)]])));
}

/** Which id an archived entry has, the database does not know; its index it does. */
async function missingEntry(database: Queryable, id: string): Promise<DaybookError> {
  const start = await readLogStart(database, 'audit');
  if (start === null || id.includes('-') || Number(id) >= start.firstKept) return noSuchEntry();
  return new DaybookError('ARCHIVED', `entry ${Number(id)} was archived: restoreArchives brings it back`);
}

function noSuchEntry(): DaybookError {
  return new DaybookError('NOT_FOUND', 'there is no audit entry with this id or index');
}
