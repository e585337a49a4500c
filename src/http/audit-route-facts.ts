import type { Redactor } from '../access/redact.js';
import { DaybookError } from '../errors.js';
import { contentTypes, type ExportFormat } from '../exports/export-formats.js';
import type { Queryable } from '../ledger/read-entries.js';
import { readArchivedExtent } from '../retention/read-archives.js';
import { filterOf, timesOf, type AuditFilterQuery } from './audit-route-query.js';

/** What an answer says about its entries; null where there is nothing to say. */
export type AnswerFacts = Readonly<Record<string, unknown>>;

/**
 * Index of the last entry to look at: the newest, or the one the caller saw before. Throws BAD_USER_INPUT for one that is
 * not recorded yet.
 */
export function boundOf(query: AuditFilterQuery, newest: string | null): string | null {
  if (query.asOf === undefined) return newest;
  if (newest === null || BigInt(query.asOf) > BigInt(newest)) {
    throw new DaybookError('BAD_USER_INPUT', 'asOf lies beyond the newest entry: take it from an answer');
  }
  return query.asOf;
}

/** What of a query's range is in archives alone, as `0-767`; null where everything is in the log. */
export async function readArchived(
  database: Queryable,
  query: AuditFilterQuery,
  asOf: string | null,
): Promise<string | null> {
  const extent = await readArchivedExtent(database, { fromIndex: null, toIndex: asOf, ...timesOf(query) });
  return extent === null ? null : `${extent.firstIndex}-${extent.lastIndex}`;
}

/** The filter as answers repeat it: a secret that somebody searches for is not to be found in what he downloads. */
export function redactedFilter(query: AuditFilterQuery, redactor: Redactor): unknown {
  return redactor.redact(filterOf(query)).value;
}

/** Throws BAD_USER_INPUT where the form for spreadsheets is asked of another format. */
export function assertSpreadsheet({ format, spreadsheet }: { format: ExportFormat; spreadsheet: boolean }): void {
  if (spreadsheet && format !== 'csv') {
    throw new DaybookError('BAD_USER_INPUT', `spreadsheet is a form of csv, not of ${format}`);
  }
}

/** `Daybook-First-Index` and so on, for formats that have no room for it inside; in ASCII, as headers must be. */
export function fileHeaders(format: ExportFormat, facts: AnswerFacts): Record<string, string> {
  const told = Object.entries(facts)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => [headerName(name), asciiJson(value)] as const);
  const asOf = typeof facts.asOf === 'string' ? `-${facts.asOf}` : '';
  return {
    ...Object.fromEntries(told),
    'Content-Type': contentTypes[format],
    'Content-Disposition': `attachment; filename="audit-log${asOf}.${format}"`,
  };
}

/** For the entry of a call, which holds texts and numbers only. */
export function withoutNulls(facts: Readonly<Record<string, string | number | null>>): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(facts).filter((fact): fact is [string, string | number] => fact[1] !== null),
  );
}

function headerName(name: string): string {
  const words = name.replace(/[A-Z]/g, (letter) => `-${letter}`).split('-');
  return `Daybook-${words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('-')}`;
}

function asciiJson(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
