import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import { withConnection } from '../../src/db/admin-connection.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { sampleEntry } from '../support/sample-entries.js';
import { insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase } from '../support/test-database.js';
import { startTestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

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

test('a signer whose sessions hang keeps nobody who asks for a proof longer than ten seconds', async () => {
  await using service = await startTestService({
    environment: { DAYBOOK_CHECKPOINT_SECONDS: '0.2', DAYBOOK_JOBS: 'off' },
  });
  const { signer } = service.context.services.proofs;
  await using watcher = await openSession(service.database.urls.superuser);
  // One that is stopped while it commits would hold up every other commit that notifies.
  await waitUntil('both logs are signed, and both sessions rest', async () => {
    const entries = Number(await watcher.value('SELECT count(*) FROM public.audit_entries'));
    return signer.state('audit').newestSize === entries && (await findSigners(watcher)).length === 2;
  });
  const pids = await findSigners(watcher);
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  try {
    await using session = await openSession(service.database.urls.application);
    await session.run(insertSignalsSql(1));
    const startedMs = performance.now();
    await expect(signer.coveringCheckpoint('signals', 1)).rejects.toMatchObject({ code: 'NOT_YET_SIGNED' });
    expect(performance.now() - startedMs).toBeLessThan(15_000);
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
  }
  expect((await signer.coveringCheckpoint('signals', 1)).treeSize).toBe('1');
  await expectLedgerIntact(service.database.urls.auditor);
}, 60_000);

async function findSigners(watcher: SqlSession): Promise<number[]> {
  const found = await watcher.run(
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'daybook signer' AND datname = current_database()",
  );
  return found.map(({ pid }) => Number(pid));
}
