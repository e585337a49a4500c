import { randomUUID } from 'node:crypto';
import { encodeCanonicalJson } from '../src/core/canonical-json.js';
import type { NewAuditEntry, NewSignal } from '../src/ledger/new-entries.js';

const symbols = ['AAPL', 'MSFT', 'BTC-USD', 'ETH-USD', 'EURUSD', 'GC=F', 'NVDA', 'BRK.B'] as const;
const strategies = ['momentum', 'mean-reversion', 'carry', 'breakout'] as const;
const actions = ['BUY', 'SELL', 'HOLD'] as const;

/** A call's entry as the API records it: all that a request tells, and arguments as details. */
export function sampleEntry(number: number): NewAuditEntry {
  return {
    category: 'API',
    event: 'ApiCall',
    action: 'READ',
    actor: 'research-desk',
    role: 'ANALYST',
    resource: 'signals',
    signalId: null,
    outcome: 'OK',
    occurredAt: null,
    ipAddress: '127.0.0.1',
    userAgent: 'daybook-bench/1',
    sessionId: `session-${Math.floor(number / 100)}`,
    requestId: randomUUID(),
    idempotencyKey: null,
    inputHash: null,
    details: encodeCanonicalJson({
      arguments: { filter: { symbol: { eq: pick(symbols, number) } }, first: 100 },
      durationMs: number % 40,
      keyId: '7b1c4cf2-6d9a-4c57-9b0a-1f2f5d4f9a55',
      method: 'POST',
    }),
    oldData: null,
    newData: null,
  };
}

/** A signal with every usual column set. */
export function sampleSignal(number: number): NewSignal {
  const entryPrice = 100 + (number % 900);
  return {
    signalId: randomUUID(),
    symbol: pick(symbols, number),
    action: pick(actions, number),
    entryPrice: `${entryPrice}.25`,
    targetPrice: `${entryPrice + 5}.5`,
    stopLoss: `${entryPrice - 3}.75`,
    confidence: `0.${1 + (number % 9)}`,
    strategy: pick(strategies, number),
    rationale: `The close of ${entryPrice}.25 lies above the average of fifty days while volume rises; risk is bounded.`,
    rationaleOrigin: 'CALLER',
    supersedes: null,
    producer: 'research-desk',
    ipAddress: '127.0.0.1',
    sessionId: `session-${Math.floor(number / 100)}`,
    requestId: randomUUID(),
    idempotencyKey: null,
    inputHash: null,
    generatedAt: null,
  };
}

/** Makes `count` of them, numbered on from the last call. */
export function numbered<Row>(make: (number: number) => Row): (count: number) => Row[] {
  let next = 0;
  return (count) => Array.from({ length: count }, () => make(next++));
}

function pick<Value>(values: readonly [Value, ...Value[]], number: number): Value {
  return values[number % values.length] ?? values[0];
}
