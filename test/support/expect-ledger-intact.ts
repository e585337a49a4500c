import { expect } from '@jest/globals';
import { verifyLogs } from '../../src/ledger/verify-log.js';

/**
 * Fails with the breaks found unless both logs, re-derived from their rows, are intact. `url`: of a role that may read
 * them. Ends every test that writes.
 */
export async function expectLedgerIntact(url: string): Promise<void> {
  const verifications = await verifyLogs({ source: { url }, logs: ['signals', 'audit'] });
  expect(verifications.map(({ log, breaks }) => ({ log, breaks }))).toEqual([
    { log: 'signals', breaks: [] },
    { log: 'audit', breaks: [] },
  ]);
}
