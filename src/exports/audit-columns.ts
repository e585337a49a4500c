import { encodeCanonicalJson } from '../core/canonical-json.js';
import { errorCatalogue } from '../errors.js';
import type { AuditRow } from '../ledger/rows.js';
import type { Column, ColumnKind } from './column.js';

/** The ledger's own form, which packs and tiles deliver. */
type UnexportedProperty = 'body' | 'previousHash' | 'chainHash' | 'idempotencyKey' | 'inputHash';

/** What of an audit row is read for an export. */
export const exportedProperties: ReadonlySet<Exclude<keyof AuditRow, UnexportedProperty>> = new Set([
  'chainIndex',
  'id',
  'category',
  'event',
  'action',
  'actor',
  'role',
  'resource',
  'signalId',
  'outcome',
  'occurredAt',
  'recordedAt',
  'ipAddress',
  'userAgent',
  'sessionId',
  'requestId',
  'details',
  'oldData',
  'newData',
  'verificationHash',
]);

/** An audit entry as the REST paths tell it. Every value is text as recorded; JSON is its text. */
export interface AuditLogRow extends Omit<AuditRow, UnexportedProperty> {
  readonly method: string | null;
  readonly statusCode: string | null;
  readonly requestData: string;
}

/**
 * Adds what a call's details say. A call's request data are its arguments, an event's are its details; redaction was done
 * when it was recorded.
 */
export function toAuditLogRow(row: AuditRow): AuditLogRow {
  if (row.event !== 'ApiCall') {
    return { ...row, method: null, statusCode: statusOf(row.outcome), requestData: row.details };
  }
  const details = JSON.parse(row.details) as { method?: unknown; statusCode?: unknown; arguments?: unknown };
  return {
    ...row,
    method: typeof details.method === 'string' ? details.method : null,
    statusCode: Number.isSafeInteger(details.statusCode) ? String(details.statusCode) : statusOf(row.outcome),
    requestData: encodeCanonicalJson(details.arguments ?? null),
  };
}

/** What HTTP calls an outcome; null for outcomes that are no call's, such as LOGIN_FAILED. */
function statusOf(outcome: string): string | null {
  if (outcome === 'OK') return '200';
  return Object.hasOwn(errorCatalogue, outcome)
    ? String(errorCatalogue[outcome as keyof typeof errorCatalogue].httpStatus)
    : null;
}

type Property = keyof AuditLogRow;

function column(
  name: string,
  kind: ColumnKind,
  property: Property,
  description: string,
  nullable = true,
): Column<AuditLogRow> {
  return { name, kind, description, nullable, value: (row) => row[property] };
}

/** First the ten that lists of this kind have had before, then what Daybook knows beyond. */
export const auditLogColumns: readonly Column<AuditLogRow>[] = [
  column('id', 'text', 'id', 'UUID of the entry', false),
  column('userId', 'text', 'actor', 'who did it: name of the API key or of the database user'),
  column('action', 'text', 'action', 'what was done: CREATE, READ, UPDATE, DELETE, LOGIN, LOGOUT or EXECUTE'),
  column('resource', 'text', 'resource', 'operation, path, symbol, file or table it was done to'),
  column('method', 'text', 'method', 'of a call: POST, GET, HEAD or WS, from its details'),
  column(
    'statusCode',
    'integer',
    'statusCode',
    'of a REST call the status it answered, else the status of its outcome: 200 for OK',
  ),
  column('ipAddress', 'text', 'ipAddress', 'address it came from'),
  column('userAgent', 'text', 'userAgent', 'program it came from'),
  column('requestData', 'json', 'requestData', "a call's arguments or an event's details, redacted", false),
  column('createdAt', 'time', 'recordedAt', 'when PostgreSQL recorded it: UTC, microseconds', false),
  column('chainIndex', 'index', 'chainIndex', 'gap-free place in the audit log, from 0', false),
  column('category', 'text', 'category', 'what it is about, such as API, ORDER or CONFIG', false),
  column('event', 'text', 'event', 'what happened, such as ApiCall or OrderAccepted', false),
  column('role', 'text', 'role', "the actor's role at that time"),
  column('outcome', 'text', 'outcome', 'OK or a code', false),
  column('signalId', 'text', 'signalId', 'the signal it is about'),
  column('sessionId', 'text', 'sessionId', 'session it belongs to'),
  column('requestId', 'text', 'requestId', 'request it belongs to'),
  column('occurredAt', 'time', 'occurredAt', 'when it happened, by whoever reported it', false),
  column('details', 'json', 'details', 'everything else that is known, byte for byte as recorded', false),
  column('oldData', 'json', 'oldData', 'of a refused modification: the row before it'),
  column('newData', 'json', 'newData', 'of a refused modification: the row it would have left'),
  column('verificationHash', 'text', 'verificationHash', 'leaf hash of the entry, which its proof ends in', false),
];
