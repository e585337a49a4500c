/**
 * The exact bytes that are hashed, rebuilt from an entry's columns. The database's triggers write the same text
 * (migrations/0001-ledger/03-append.sql); docs/format.md is the contract of both.
 */

/** Columns of a signal that are part of its body, as text: decimals normalised, times canonical, hashes hex. */
export interface SignalContent {
  readonly signalId: string;
  readonly symbol: string;
  readonly action: string;
  readonly entryPrice: string;
  readonly targetPrice: string | null;
  readonly stopLoss: string | null;
  readonly confidence: string;
  readonly strategy: string | null;
  readonly rationale: string;
  readonly rationaleOrigin: string;
  readonly supersedes: string | null;
  readonly producer: string;
  readonly ipAddress: string | null;
  readonly sessionId: string | null;
  readonly requestId: string | null;
  readonly idempotencyKey: string | null;
  readonly inputHash: string | null;
  readonly generatedAt: string;
  readonly serverTimestamp: string;
}

/** Columns of an audit entry that are part of its body. `details`, `oldData` and `newData` are canonical JSON text. */
export interface AuditContent {
  readonly id: string;
  readonly category: string;
  readonly event: string;
  readonly action: string | null;
  readonly actor: string | null;
  readonly role: string | null;
  readonly resource: string | null;
  readonly signalId: string | null;
  readonly outcome: string;
  readonly occurredAt: string;
  readonly recordedAt: string;
  readonly ipAddress: string | null;
  readonly userAgent: string | null;
  readonly sessionId: string | null;
  readonly requestId: string | null;
  readonly idempotencyKey: string | null;
  readonly inputHash: string | null;
  readonly details: string;
  readonly oldData: string | null;
  readonly newData: string | null;
}

/** Body of a signal, keys in the order of RFC 8785; absent values are absent keys. */
export function encodeSignalBody(signal: SignalContent): string {
  return `{${[
    text('action', signal.action),
    text('confidence', signal.confidence),
    text('entryPrice', signal.entryPrice),
    text('generatedAt', signal.generatedAt),
    text('idempotencyKey', signal.idempotencyKey),
    text('inputHash', signal.inputHash),
    text('ipAddress', signal.ipAddress),
    text('producer', signal.producer),
    text('rationale', signal.rationale),
    text('rationaleOrigin', signal.rationaleOrigin),
    text('requestId', signal.requestId),
    text('serverTimestamp', signal.serverTimestamp),
    text('sessionId', signal.sessionId),
    text('signalId', signal.signalId),
    text('stopLoss', signal.stopLoss),
    text('strategy', signal.strategy),
    text('supersedes', signal.supersedes),
    text('symbol', signal.symbol),
    text('targetPrice', signal.targetPrice),
  ].join('')}"type":"signal","v":1}`;
}

/** Body of an audit entry, keys in the order of RFC 8785; absent values are absent keys. */
export function encodeAuditBody(entry: AuditContent): string {
  return `{${[
    text('action', entry.action),
    text('actor', entry.actor),
    text('category', entry.category),
    json('details', entry.details),
    text('event', entry.event),
    text('id', entry.id),
    text('idempotencyKey', entry.idempotencyKey),
    text('inputHash', entry.inputHash),
    text('ipAddress', entry.ipAddress),
    json('newData', entry.newData),
    text('occurredAt', entry.occurredAt),
    json('oldData', entry.oldData),
    text('outcome', entry.outcome),
    text('recordedAt', entry.recordedAt),
    text('requestId', entry.requestId),
    text('resource', entry.resource),
    text('role', entry.role),
    text('sessionId', entry.sessionId),
    text('signalId', entry.signalId),
  ].join('')}"type":"audit",${text('userAgent', entry.userAgent)}"v":1}`;
}

function text(key: string, value: string | null): string {
  return value === null ? '' : `"${key}":${JSON.stringify(value)},`;
}

function json(key: string, canonical: string | null): string {
  return canonical === null ? '' : `"${key}":${canonical},`;
}
