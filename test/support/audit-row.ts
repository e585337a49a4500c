import type { AuditRow } from '../../src/ledger/rows.js';

/** An audit entry as the reader delivers it; `changes` replace what a test cares about. Its hashes are made up. */
export function auditRow(changes: Partial<AuditRow> = {}): AuditRow {
  const chainIndex = changes.chainIndex ?? '7';
  return {
    chainIndex,
    id: `00000000-0000-4000-8000-${chainIndex.padStart(12, '0')}`,
    category: 'ORDER',
    event: 'OrderAccepted',
    action: 'CREATE',
    actor: 'desk',
    role: 'PRODUCER',
    resource: 'AAPL',
    signalId: null,
    outcome: 'OK',
    occurredAt: '2026-11-20T10:00:00.000000Z',
    recordedAt: '2026-11-20T10:00:00.123456Z',
    ipAddress: '127.0.0.1',
    userAgent: null,
    sessionId: 'session',
    requestId: 'request',
    idempotencyKey: null,
    inputHash: null,
    details: '{"orderId":"o-1","price":"189.5","quantity":"10","side":"BUY","symbol":"AAPL"}',
    oldData: null,
    newData: null,
    body: '{"v":1}',
    verificationHash: 'a'.repeat(64),
    previousHash: 'b'.repeat(64),
    chainHash: 'c'.repeat(64),
    ...changes,
  };
}
