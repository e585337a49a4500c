import { encodeCanonicalJson } from '../core/canonical-json.js';
import { serviceEntry, type AuditAction, type CallOrigin, type NewAuditEntry } from '../ledger/new-entries.js';

/** An audit entry of the integrity monitor. */
export function integrityEntry(
  origin: CallOrigin,
  entry: {
    readonly event: string;
    readonly action: AuditAction;
    readonly resource: string;
    readonly outcome?: string;
    readonly details: Readonly<Record<string, unknown>>;
  },
): NewAuditEntry {
  return serviceEntry({ ...origin, ...entry, category: 'INTEGRITY', details: encodeCanonicalJson(entry.details) });
}

/** The origin of what nobody called for: `task` stands as the session, `id` as the request. */
export function serviceOrigin(task: string, id: string): CallOrigin {
  return { actor: 'daybook', role: null, ipAddress: null, userAgent: null, sessionId: task, requestId: id };
}

/** Who is named as the author of a row: the actor of the call. */
export function authorOf(origin: CallOrigin): string {
  return origin.actor ?? 'unknown';
}
