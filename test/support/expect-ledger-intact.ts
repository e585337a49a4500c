import { expect } from '@jest/globals';
import { verifyLogs } from '../../src/ledger/verify-log.js';

/**
 * Fails with the breaks found unless both logs, re-derived from their rows, are intact. `url`: of a role that may read
 * them. Ends every test that writes.
 */
export async function expectLedgerIntact(url: string): Promise<void> {
  // In this thread: jest compiles what it loads itself, a thread of its own would find no JavaScript.
  const verifications = await verifyLogs({ source: { url }, logs: ['signals', 'audit'], threads: 1 });
  expect(verifications.map(({ log, breaks }) => ({ log, breaks }))).toEqual([
    { log: 'signals', breaks: [] },
    { log: 'audit', breaks: [] },
  ]);
}
