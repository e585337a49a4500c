import type { AuditAction } from '../ledger/new-entries.js';
import type { AuditRow } from '../ledger/rows.js';
import type { Product } from './encode-cef.js';
import {
  addressOf,
  detailsOf,
  digestOf,
  millisecondsOf,
  severityOf,
  shortCharactersMax,
  shortened,
  summaryOf,
  textOf,
  userOf,
  withoutAbsent,
  type Severity,
} from './entry-facts.js';

/** Version of the Open Cybersecurity Schema Framework that the events follow. */
const ocsfVersion = '1.3.0';

const severities: Readonly<Record<Severity, readonly [number, string]>> = {
  info: [1, 'Informational'],
  low: [2, 'Low'],
  medium: [3, 'Medium'],
  high: [4, 'High'],
  critical: [5, 'Critical'],
};
const apiActivities: Readonly<Partial<Record<string, readonly [number, string]>>> = {
  CREATE: [1, 'Create'],
  READ: [2, 'Read'],
  UPDATE: [3, 'Update'],
  DELETE: [4, 'Delete'],
} satisfies Partial<Record<AuditAction, readonly [number, string]>>;
const authenticationActivities: Readonly<Partial<Record<string, readonly [number, string]>>> = {
  LOGIN: [1, 'Logon'],
  LOGOUT: [2, 'Logoff'],
} satisfies Partial<Record<AuditAction, readonly [number, string]>>;

/**
 * An audit entry as an OCSF event: logins and logouts as Authentication (3002), everything else as API Activity (6003). What
 * has no attribute there stands in `unmapped`. An event of more than `bytesMax` bytes has the size and hash of its details in
 * their place, and its texts shortened.
 */
export function encodeOcsf(row: AuditRow, product: Product, bytesMax: number): string {
  const whole = JSON.stringify(eventOf(row, product, Infinity));
  return Buffer.byteLength(whole) <= bytesMax ? whole : JSON.stringify(eventOf(row, product, shortCharactersMax));
}

function eventOf(row: AuditRow, product: Product, charactersMax: number) {
  const details = detailsOf(row);
  const [severityId, severity] = severities[severityOf(row, details)];
  const isSuccess = row.outcome === 'OK';
  const cut = (text: string | null) => (text === null ? null : shortened(text, charactersMax));
  const shortRow = {
    ...row,
    actor: cut(row.actor),
    resource: cut(row.resource),
    userAgent: cut(row.userAgent),
    sessionId: cut(row.sessionId),
    requestId: cut(row.requestId),
  };
  const named = {
    user: cut(userOf(row, details) ?? null) ?? undefined,
    address: addressOf(row, details),
    method: cut(textOf(details.method) ?? null) ?? undefined,
    keyId: cut(textOf(details.keyId) ?? null) ?? undefined,
  };
  return {
    ...(row.category === 'AUTH' ? authenticationOf(shortRow, named) : apiActivityOf(shortRow, named)),
    time: millisecondsOf(row.occurredAt),
    severity_id: severityId,
    severity,
    status_id: isSuccess ? 1 : 2,
    status: isSuccess ? 'Success' : 'Failure',
    status_code: row.outcome,
    ...withoutAbsent({ status_detail: cut(textOf(details.message) ?? null) }),
    message: shortened(summaryOf(shortRow), charactersMax),
    metadata: {
      version: ocsfVersion,
      product: { name: product.name, vendor_name: 'Daybook', version: product.version },
      uid: row.id,
      event_code: row.event,
      log_name: 'audit',
      sequence: Number(row.chainIndex),
      logged_time: millisecondsOf(row.recordedAt),
      original_time: row.occurredAt,
    },
    unmapped: withoutAbsent({
      category: row.category,
      role: row.role,
      signal_id: row.signalId,
      verification_hash: row.verificationHash,
      details: charactersMax === Infinity ? details : digestOf(row.details),
    }),
  };
}

/** What an entry's details say, or its columns where they do not. */
interface Named {
  readonly user: string | undefined;
  readonly address: string | undefined;
  readonly method: string | undefined;
  readonly keyId: string | undefined;
}

function apiActivityOf(row: AuditRow, { user, address, method, keyId }: Named) {
  const [activityId, activityName] = apiActivities[row.action ?? ''] ?? [99, row.action ?? row.event];
  return {
    ...classOf(6, 'Application Activity', 3, 'API Activity', activityId, activityName),
    actor: actorOf(row, user, keyId),
    api: {
      operation: row.event === 'ApiCall' ? (row.resource ?? row.event) : row.event,
      service: { name: 'daybook' },
      ...(row.requestId === null ? {} : { request: { uid: row.requestId } }),
      ...(row.outcome === 'OK' ? {} : { response: { error: row.outcome } }),
    },
    // Required by the class: what has no address came from the service itself or from its database.
    src_endpoint: address === undefined ? { svc_name: 'daybook' } : { ip: address },
    ...(row.resource === null ? {} : { resources: [{ name: row.resource }] }),
    ...httpRequestOf(row, method),
  };
}

function authenticationOf(row: AuditRow, { user, address }: Named) {
  const [activityId, activityName] = authenticationActivities[row.action ?? ''] ?? [99, row.action ?? row.event];
  return {
    ...classOf(3, 'Identity & Access Management', 2, 'Authentication', activityId, activityName),
    user: { name: user ?? 'unknown' },
    actor: actorOf(row, row.actor ?? undefined, undefined),
    // The system that reported it.
    service: { name: row.actor ?? 'daybook' },
    ...(address === undefined ? {} : { src_endpoint: { ip: address } }),
    ...httpRequestOf(row, undefined),
  };
}

function classOf(
  category: number,
  categoryName: string,
  number: number,
  className: string,
  activityId: number,
  activityName: string,
) {
  const classUid = category * 1000 + number;
  return {
    category_uid: category,
    category_name: categoryName,
    class_uid: classUid,
    class_name: className,
    activity_id: activityId,
    activity_name: activityName,
    type_uid: classUid * 100 + activityId,
    type_name: `${className}: ${activityId === 99 ? 'Other' : activityName}`,
  };
}

function actorOf(row: AuditRow, name: string | undefined, keyId: string | undefined) {
  return {
    user: withoutAbsent({ name: name ?? 'unknown', credential_uid: keyId }),
    ...(row.sessionId === null ? {} : { session: { uid: row.sessionId } }),
  };
}

function httpRequestOf(row: AuditRow, method: string | undefined) {
  const request = withoutAbsent({ http_method: method, user_agent: row.userAgent });
  return Object.keys(request).length === 0 ? {} : { http_request: request };
}
