import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import { withConnection } from '../../src/db/admin-connection.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { sampleEntry } from '../support/sample-entries.js';
import { createTestDatabase } from '../support/test-database.js';

test('a database session that hangs costs its callers a retryable error, and the next call goes through', async () => {
  await using database = await createTestDatabase();
  await using writer = new LedgerWriter({
    url: database.urls.application,
    queueRowsMax: 100,
    log: pino({ level: 'silent' }),
    statementAnswerMs: 500,
  });
  await writer.append({ entries: [sampleEntry('before')] });
  const pid = await withConnection(database.urls.superuser, async (admin) => {
    const { rows } = await admin.query<{ pid: number }>(
      "SELECT pid FROM pg_stat_activity WHERE application_name = 'daybook writer' AND datname = current_database()",
    );
    return rows[0]?.pid ?? 0;
  });
  process.kill(pid, 'SIGSTOP');
  try {
    await expect(writer.append({ entries: [sampleEntry('lost')] })).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      retryable: true,
    });
    const { entries } = await writer.append({ entries: [sampleEntry('after')] });
    expect(entries[0]?.chainIndex).toBe('1');
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await expectLedgerIntact(database.urls.auditor);
}, 30_000);
