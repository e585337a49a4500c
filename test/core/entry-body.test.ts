import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodeCanonicalJson } from '../../src/core/canonical-json.js';
import { encodeAuditBody, encodeSignalBody, type AuditContent, type SignalContent } from '../../src/core/entry-body.js';

const required = fc.string({ unit: 'binary', maxLength: 20 }).map((value) => value.replaceAll('\0', ''));
const optional = fc.option(required);
const object = fc.dictionary(required, fc.oneof(required, fc.maxSafeInteger()), { maxKeys: 4 });

const signal: fc.Arbitrary<SignalContent> = fc.record({
  signalId: required,
  symbol: required,
  action: required,
  entryPrice: required,
  targetPrice: optional,
  stopLoss: optional,
  confidence: required,
  strategy: optional,
  rationale: required,
  rationaleOrigin: required,
  supersedes: optional,
  producer: required,
  ipAddress: optional,
  sessionId: optional,
  requestId: optional,
  idempotencyKey: optional,
  inputHash: optional,
  generatedAt: required,
  serverTimestamp: required,
});

const entry = fc.record({
  id: required,
  category: required,
  event: required,
  action: optional,
  actor: optional,
  role: optional,
  resource: optional,
  signalId: optional,
  outcome: required,
  occurredAt: required,
  recordedAt: required,
  ipAddress: optional,
  userAgent: optional,
  sessionId: optional,
  requestId: optional,
  idempotencyKey: optional,
  inputHash: optional,
  details: object,
  oldData: fc.option(object),
  newData: fc.option(object),
});

function withoutNulls(content: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(content).filter(([, value]) => value !== null));
}

describe('a body is the RFC 8785 form of its content, without what is absent', () => {
  test('of a signal', () => {
    fc.assert(
      fc.property(signal, (content) => {
        const body = encodeSignalBody(content);
        expect(body).toBe(encodeCanonicalJson({ ...withoutNulls(content), type: 'signal', v: 1 }));
      }),
    );
  });

  test('of an audit entry', () => {
    fc.assert(
      fc.property(entry, (content) => {
        const text = (value: object | null) => (value === null ? null : encodeCanonicalJson(value));
        const columns: AuditContent = {
          ...content,
          details: encodeCanonicalJson(content.details),
          oldData: text(content.oldData),
          newData: text(content.newData),
        };
        expect(encodeAuditBody(columns)).toBe(encodeCanonicalJson({ ...withoutNulls(content), type: 'audit', v: 1 }));
      }),
    );
  });
});
