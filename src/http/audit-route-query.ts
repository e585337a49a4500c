import { z } from 'zod';
import type { Redactor } from '../access/redact.js';
import { normalizeTimestamp } from '../core/timestamp.js';
import { DaybookError } from '../errors.js';
import { exportFormats } from '../exports/export-formats.js';
import { parseFilter, type Condition } from '../ledger/filter.js';
import { auditActions, auditCategories } from '../ledger/new-entries.js';
import { auditFilterFields } from '../ledger/read-entries.js';

/** Most entries of one page, and how many when the caller does not say. */
const limitMax = 1_000;
const limitDefault = 50;

/** Longest query string: what it says must fit into the call's entry and into a header of the answer. */
const queryCharactersMax = 1_500;

const text = (charactersMax: number) =>
  z
    .string('must be given once')
    .min(1, 'must not be empty')
    .max(charactersMax, `must have at most ${charactersMax} characters`)
    .refine((value) => value.isWellFormed() && !value.includes('\0'), 'holds a character no text can hold');

const whole = (min: number, max: number) =>
  z
    .string('must be given once')
    .regex(/^\d{1,9}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.int().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`));

const timeMessage = 'must be a day such as 2026-11-20 or an RFC 3339 time; a + in it is written %2B';
const dayOrTime = z
  .union([z.iso.date(), z.iso.datetime({ offset: true })], timeMessage)
  .refine((value) => normalizeTimestamp(isDay(value) ? firstMomentOf(value) : value) !== null, timeMessage);

const flag = z.enum(['true', 'false'], 'must be true or false').transform((value) => value === 'true');

const oneOf = <const Names extends readonly [string, ...string[]]>(names: Names) =>
  z.enum(names, `must be one of ${names.join(', ')}`);

/** Conditions on entries; all that are given must hold. */
const filterShape = {
  userId: text(200).describe('Who did it: exactly this name of an API key or database user.').optional(),
  action: oneOf(auditActions).describe('What was done. Names of events go into `event`.').optional(),
  resource: text(1_000).describe('Operation, path, symbol, file or table: what it begins with.').optional(),
  startDate: dayOrTime
    .describe('Recorded at this time or later; of a day its first moment in UTC.')
    .meta({ examples: ['2026-11-20', '2026-11-20T08:30:00Z'] })
    .optional(),
  endDate: dayOrTime
    .describe('Recorded at this time or earlier; of a day its last moment in UTC, so that the day is included.')
    .meta({ examples: ['2026-11-20', '2026-11-20T17:00:00.5Z'] })
    .optional(),
  category: oneOf(auditCategories).describe('What it is about.').optional(),
  event: text(64).describe('What happened, such as ApiCall, OrderAccepted or SignalCreated.').optional(),
  outcome: text(64).describe('OK or a code of docs/errors.md.').optional(),
  ipAddress: text(100).describe('Address it came from, exactly.').optional(),
  requestId: text(200).describe('Request it belongs to.').optional(),
  sessionId: text(200).describe('Session it belongs to.').optional(),
  signalId: text(128).describe('Signal it is about.').optional(),
  text: text(200)
    .describe('Text that occurs in the details as JSON; capitals A to Z count as small letters.')
    .optional(),
  asOf: z
    .string('must be given once')
    .regex(/^\d{1,18}$/, 'must be an index as an answer gave it in asOf')
    .describe('Index of the last entry to be looked at: with the asOf of page 1 the other pages hold still.')
    .optional(),
};

const spreadsheet = flag
  .pipe(z.boolean())
  .describe('Of CSV: true for the form that no spreadsheet takes for formulas, instead of the byte-exact one.')
  .default(false);

const format = (fallback: (typeof exportFormats)[number]) =>
  oneOf(exportFormats).describe('Format of the answer.').default(fallback);

export const logsQuery = z.strictObject({
  ...filterShape,
  page: whole(1, 999_999_999).describe('Page, from 1, newest entries first.').default(1),
  limit: whole(1, limitMax).describe('Entries of a page.').default(limitDefault),
  format: format('json'),
  spreadsheet,
});
export const exportQuery = z.strictObject({ ...filterShape, format: format('csv'), spreadsheet });
export const statsQuery = z.strictObject(filterShape);
export const noQuery = z.strictObject({});
export const entryId = z
  .string()
  .regex(/^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|\d{1,18})$/)
  .describe('UUID of the entry, or its index in the log.');

export type AuditFilterQuery = z.infer<typeof statsQuery>;

/**
 * Checks a request's query. Throws BAD_USER_INPUT that names the parameter and never repeats its value: what was sent may
 * be a secret.
 */
export function parseQuery<Schema extends z.ZodType>(schema: Schema, url: string, redactor: Redactor): z.infer<Schema> {
  const [, raw = ''] = /\?(.*)$/s.exec(url) ?? [];
  if (raw.length > queryCharactersMax) {
    throw new DaybookError(
      'BAD_USER_INPUT',
      `the query has more than ${queryCharactersMax} characters: filter by less`,
    );
  }
  const parameters = new URLSearchParams(raw);
  // A parameter given twice becomes a list, which no schema takes.
  const given = Object.fromEntries(
    [...new Set(parameters.keys())].map((name) => {
      const values = parameters.getAll(name);
      return [name, values.length === 1 ? values[0] : values];
    }),
  );
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue?.code === 'unrecognized_keys') {
    const name = redactor.redactText(issue.keys[0] ?? '').slice(0, 100);
    throw new DaybookError('BAD_USER_INPUT', `there is no parameter ${name}: /audit/openapi.json lists them`);
  }
  throw new DaybookError('BAD_USER_INPUT', `${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is not usable'}`);
}

/** The ledger's condition for what a query asks for, up to entry `asOf`. Throws BAD_USER_INPUT for a range that ends before it begins. */
export function conditionOf(query: AuditFilterQuery, asOf: string | null): Condition {
  const { from, to } = timesOf(query);
  if (from !== null && to !== null && from > to) {
    throw new DaybookError('BAD_USER_INPUT', 'endDate lies before startDate');
  }
  const equals = (value: string | undefined) => (value === undefined ? undefined : { eq: value });
  return parseFilter(
    {
      actor: equals(query.userId),
      action: equals(query.action),
      resource: query.resource === undefined ? undefined : { startsWith: query.resource },
      recordedAt: { gte: from, lte: to },
      category: equals(query.category),
      event: equals(query.event),
      outcome: equals(query.outcome),
      ipAddress: equals(query.ipAddress),
      requestId: equals(query.requestId),
      sessionId: equals(query.sessionId),
      signalId: equals(query.signalId),
      text: query.text === undefined ? undefined : { contains: query.text },
      // Nothing lies at or below −1: an empty log stays empty for as long as it is looked at.
      chainIndex: { lte: asOf ?? '-1' },
    },
    auditFilterFields,
  );
}

/** The conditions of a query as they were given, without page and format. */
export function filterOf(query: AuditFilterQuery): Partial<AuditFilterQuery> {
  const names = Object.keys(filterShape) as (keyof AuditFilterQuery)[];
  return Object.fromEntries(
    names.filter((name) => name !== 'asOf' && query[name] !== undefined).map((name) => [name, query[name]]),
  );
}

/** First and last time that a query asks for, both included; null for no bound. */
export function timesOf(query: AuditFilterQuery): { readonly from: string | null; readonly to: string | null } {
  return {
    from: query.startDate === undefined ? null : earliest(query.startDate),
    to: query.endDate === undefined ? null : latest(query.endDate),
  };
}

function isDay(value: string): boolean {
  return value.length === 'YYYY-MM-DD'.length;
}

function firstMomentOf(day: string): string {
  return `${day}T00:00:00Z`;
}

function earliest(value: string): string {
  return normalizeTimestamp(isDay(value) ? firstMomentOf(value) : value) ?? value;
}

/** Recording times are whole microseconds, so none lies between the last one of a day and the next day. */
function latest(value: string): string {
  return normalizeTimestamp(isDay(value) ? `${value}T23:59:59.999999Z` : value) ?? value;
}
