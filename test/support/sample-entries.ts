import type { NewAuditEntry, NewSignal } from '../../src/ledger/new-entries.js';

/** An audit entry about the order `name`; `changes` replace what a test cares about. */
export function sampleEntry(name: string, changes: Partial<NewAuditEntry> = {}): NewAuditEntry {
  return {
    category: 'ORDER',
    event: 'OrderAccepted',
    action: null,
    actor: 'tester',
    role: 'PRODUCER',
    resource: name,
    signalId: null,
    outcome: 'OK',
    occurredAt: null,
    ipAddress: '127.0.0.1',
    userAgent: null,
    sessionId: 'session',
    requestId: 'request',
    idempotencyKey: null,
    inputHash: null,
    details: JSON.stringify({ order: name }),
    oldData: null,
    newData: null,
    ...changes,
  };
}

/** A signal named `signalId`; `changes` replace what a test cares about. */
export function sampleSignal(signalId: string, changes: Partial<NewSignal> = {}): NewSignal {
  return {
    signalId,
    symbol: 'AAPL',
    action: 'BUY',
    entryPrice: '100.5',
    targetPrice: null,
    stopLoss: null,
    confidence: '0.75',
    strategy: 'momentum',
    rationale: 'The price rose above its moving average of fifty days.',
    rationaleOrigin: 'CALLER',
    supersedes: null,
    producer: 'tester',
    ipAddress: null,
    sessionId: 'session',
    requestId: 'request',
    idempotencyKey: null,
    inputHash: null,
    generatedAt: null,
    ...changes,
  };
}
