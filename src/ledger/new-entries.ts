import { randomUUID } from 'node:crypto';

/** Who called, from where, in which session and request: goes into each entry that the call leaves. */
export interface CallOrigin {
  /** Name of the API key. Null for callers who showed none that is valid. */
  readonly actor: string | null;
  readonly role: string | null;
  readonly ipAddress: string | null;
  readonly userAgent: string | null;
  readonly sessionId: string;
  readonly requestId: string;
}

/** A signal to append. Decimals and times are normalised text; the database sets index, times, body and hashes. */
export interface NewSignal {
  readonly signalId: string;
  readonly symbol: string;
  readonly action: 'BUY' | 'SELL' | 'HOLD';
  readonly entryPrice: string;
  readonly targetPrice: string | null;
  readonly stopLoss: string | null;
  readonly confidence: string;
  readonly strategy: string | null;
  readonly rationale: string;
  readonly rationaleOrigin: 'MODEL' | 'TEMPLATE' | 'CALLER';
  readonly supersedes: string | null;
  readonly producer: string;
  readonly ipAddress: string | null;
  readonly sessionId: string;
  readonly requestId: string;
  /** With a key, a retry by the same producer returns what the first call recorded. */
  readonly idempotencyKey: string | null;
  /** SHA-256 of the caller's input as hex; present exactly with `idempotencyKey`. */
  readonly inputHash: string | null;
  readonly generatedAt: string | null;
}

/** An audit entry to append. `details`, `oldData` and `newData` are RFC 8785 text of a JSON object. */
export interface NewAuditEntry {
  readonly category: AuditCategory;
  readonly event: string;
  readonly action: AuditAction | null;
  readonly actor: string | null;
  readonly role: string | null;
  readonly resource: string | null;
  readonly signalId: string | null;
  readonly outcome: string;
  readonly occurredAt: string | null;
  readonly ipAddress: string | null;
  readonly userAgent: string | null;
  readonly sessionId: string;
  readonly requestId: string;
  readonly idempotencyKey: string | null;
  readonly inputHash: string | null;
  readonly details: string;
  readonly oldData: string | null;
  readonly newData: string | null;
}

export const auditCategories = [
  'SIGNAL',
  'ORDER',
  'FILL',
  'CONFIG',
  'AUTH',
  'ALERT',
  'API',
  'SECRET',
  'INTEGRITY',
  'BACKUP',
  'ADMIN',
] as const;
export type AuditCategory = (typeof auditCategories)[number];

export const auditActions = ['CREATE', 'READ', 'UPDATE', 'DELETE', 'LOGIN', 'LOGOUT', 'EXECUTE'] as const;
export type AuditAction = (typeof auditActions)[number];

/** An entry about what the service did by itself: nobody called. What is not given stays absent. */
export function serviceEntry(
  given: Pick<NewAuditEntry, 'category' | 'event' | 'action' | 'resource' | 'details'> & Partial<NewAuditEntry>,
): NewAuditEntry {
  return {
    actor: 'daybook',
    role: null,
    signalId: null,
    outcome: 'OK',
    occurredAt: null,
    ipAddress: null,
    userAgent: null,
    sessionId: 'service',
    requestId: randomUUID(),
    idempotencyKey: null,
    inputHash: null,
    oldData: null,
    newData: null,
    ...given,
  };
}
