import { describe, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { openSession } from '../support/sql-session.js';
import { createTestDatabase } from '../support/test-database.js';
import { startTestService } from '../support/test-service.js';

const rounds = 4;

describe('nodes that start together on a new database', () => {
  test.each([
    ['one configured ADMIN key', {}],
    ['no configured ADMIN key', { DAYBOOK_ADMIN_KEY: '' }],
  ])('all start, with %s', async (_name, changes) => {
    for (let round = 0; round < rounds; round += 1) {
      await using database = await createTestDatabase();
      const environment = { DAYBOOK_MASTER_KEY: '11'.repeat(32), ...changes };
      const services = await Promise.allSettled([1, 2, 3].map(() => startTestService({ database, environment })));
      await using stack = new AsyncDisposableStack();
      for (const service of services) if (service.status === 'fulfilled') stack.use(service.value);
      expect(services.map((service) => (service.status === 'rejected' ? String(service.reason) : 'started'))).toEqual(
        services.map(() => 'started'),
      );
      await using session = await openSession(database.urls.auditor);
      expect(await session.value("SELECT count(*) FROM audit_entries WHERE event = 'ApiKeyCreated'")).toBe('1');
      await expectLedgerIntact(database.urls.auditor);
    }
  });
});
