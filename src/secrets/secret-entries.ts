import { encodeCanonicalJson } from '../core/canonical-json.js';
import type { RotationStatus } from '../core/rotation.js';
import { serviceEntry, type CallOrigin, type NewAuditEntry } from '../ledger/new-entries.js';
import type { HeldRotation } from './rotation-rows.js';
import type { SecretRow } from './secret-store.js';

/** Events of the steps that are on the record one by one; the rest are in rotation_steps alone. */
const eventOfStatus: Readonly<Partial<Record<RotationStatus, string>>> = {
  PLANNED: 'SecretRotationStarted',
  ROTATED: 'SecretRotated',
  REVOKED: 'SecretRevoked',
  FAILED: 'SecretRotationFailed',
  UNKNOWN: 'SecretRotationUnknown',
  HELD: 'SecretRotationHeld',
  ROLLED_BACK: 'SecretRolledBack',
};

/** Steps that somebody has to know of: sinks deliver what is an alert. */
const severityOfStatus: Readonly<Partial<Record<RotationStatus, 'WARNING' | 'ERROR'>>> = {
  UNKNOWN: 'WARNING',
  HELD: 'ERROR',
  FAILED: 'ERROR',
};

/** The entry about a step, empty where there is none: what happened to which generation, never a value. */
export function stepEntries(
  secret: Pick<SecretRow, 'type' | 'name'>,
  rotation: Pick<HeldRotation, 'id' | 'generation' | 'requestedBy'>,
  status: RotationStatus,
  note: string | null,
  origin: CallOrigin,
): NewAuditEntry[] {
  const event = eventOfStatus[status];
  if (event === undefined) return [];
  const severity = severityOfStatus[status];
  const details = {
    generation: rotation.generation,
    note: note ?? undefined,
    requestedBy: rotation.requestedBy ?? undefined,
    rotation: rotation.id,
    severity,
    status,
  };
  return [
    serviceEntry({
      ...origin,
      category: severity === undefined ? 'SECRET' : 'ALERT',
      event,
      action: 'UPDATE',
      resource: `secret/${secret.type}/${secret.name}`,
      outcome: status === 'FAILED' ? 'SECRET_REFUSED' : 'OK',
      details: encodeCanonicalJson(details),
    }),
  ];
}

/** A step that the service took by itself. */
export function serviceSecretOrigin(requestId: string): CallOrigin {
  return { actor: 'daybook', role: null, ipAddress: null, userAgent: null, sessionId: 'rotation', requestId };
}
