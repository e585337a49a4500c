import type { AuditAction } from '../ledger/new-entries.js';
import type { AuditRow } from '../ledger/rows.js';
import { readIndex } from './encode-jsonl-line.js';
import {
  addressOf,
  detailsOf,
  isRefused,
  parseRecorded,
  severityOf,
  summaryOf,
  textOf,
  userOf,
  withoutAbsent,
  type Severity,
} from './entry-facts.js';

/** Version of the Elastic Common Schema whose fields these are. */
const ecsVersion = '8.11.0';

/** Allowed values of event.category; categories without an entry have none that fits. */
const eventCategories: Readonly<Partial<Record<string, string>>> = {
  API: 'api',
  AUTH: 'authentication',
  CONFIG: 'configuration',
  ADMIN: 'configuration',
  SECRET: 'iam',
  INTEGRITY: 'database',
  BACKUP: 'database',
};
/** Allowed values of event.type. */
const eventTypes: Readonly<Record<AuditAction, string>> = {
  CREATE: 'creation',
  READ: 'access',
  UPDATE: 'change',
  DELETE: 'deletion',
  LOGIN: 'start',
  LOGOUT: 'end',
  EXECUTE: 'info',
};
const severities: Readonly<Record<Severity, number>> = { info: 1, low: 3, medium: 5, high: 8, critical: 10 };

/**
 * An audit entry in fields of the Elastic Common Schema; what has no field there stands below `daybook`. `@timestamp` is when
 * it happened, `event.created` when it was recorded. `event.sequence` is the index, `event.hash` the leaf hash.
 */
export function encodeEcs(row: AuditRow): string {
  const details = detailsOf(row);
  return JSON.stringify({
    ...commonFields(row),
    daybook: withoutAbsent({
      category: row.category,
      resource: row.resource,
      signal_id: row.signalId,
      session_id: row.sessionId,
      outcome: row.outcome,
      details,
      old_data: row.oldData === null ? null : parseRecorded(row.oldData),
      new_data: row.newData === null ? null : parseRecorded(row.newData),
    }),
  });
}

/**
 * The same entry without free-form members, and with the recorded body as text in `event.original`: for an index whose
 * mapping refuses the other form because a member has another type there.
 */
export function encodePlainEcs(row: AuditRow): string {
  const { event, ...fields } = commonFields(row);
  return JSON.stringify({ ...fields, event: { ...event, original: row.body }, tags: ['daybook_details_refused'] });
}

/** The index in a line that `encodeEcs` made; null where the line is none. */
export function readEcsIndex(line: string): bigint | null {
  return readIndex(line, (entry) => (entry.event as { sequence?: unknown } | undefined)?.sequence);
}

function commonFields(row: AuditRow) {
  const details = detailsOf(row);
  const address = addressOf(row, details);
  const user = userOf(row, details);
  const method = textOf(details.method);
  const category = eventCategories[row.category];
  const type = row.action === null ? 'info' : eventTypes[row.action as AuditAction];
  return {
    '@timestamp': row.occurredAt,
    ecs: { version: ecsVersion },
    message: summaryOf(row),
    event: {
      id: row.id,
      kind: row.category === 'ALERT' ? 'alert' : 'event',
      ...(category === undefined ? {} : { category: [category] }),
      type: isRefused(row) ? [type, 'denied'] : [type],
      action: row.event,
      outcome: row.outcome === 'OK' ? 'success' : 'failure',
      severity: severities[severityOf(row, details)],
      provider: 'daybook',
      dataset: 'daybook.audit',
      created: row.recordedAt,
      sequence: Number(row.chainIndex),
      hash: row.verificationHash,
    },
    service: { name: 'daybook', type: 'daybook' },
    ...(user === undefined
      ? {}
      : { user: { name: user, ...(row.role === null ? {} : { roles: [row.role] }) }, related: { user: [user] } }),
    ...(address === undefined ? {} : { source: { ip: address } }),
    ...(row.userAgent === null ? {} : { user_agent: { original: row.userAgent } }),
    ...(row.requestId === null && method === undefined
      ? {}
      : { http: { request: withoutAbsent({ id: row.requestId, method }) } }),
  };
}
