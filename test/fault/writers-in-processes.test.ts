import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { withConnection } from '../../src/db/admin-connection.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { createTestDatabase } from '../support/test-database.js';

const PROCESSES = 2;
const WRITERS = 16;
const ENTRIES = 2_000;

test('32 writers in two processes append 2,000 entries each to both logs without a gap', async () => {
  await using database = await createTestDatabase();
  const root = join(import.meta.dirname, '../..');
  const codes = await Promise.all(
    Array.from({ length: PROCESSES }, async (_, place) => {
      const child = spawn(
        process.execPath,
        [
          ...['--disable-warning=ExperimentalWarning', '--import', './test/support/typescript-hooks.js'],
          ...['test/support/append-process.ts', database.urls.application, `process-${place}`],
          ...[String(WRITERS), String(ENTRIES)],
        ],
        { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] },
      );
      const [code] = (await once(child, 'exit')) as [number | null];
      return code;
    }),
  );
  expect(codes).toEqual([0, 0]);
  const half = (PROCESSES * WRITERS * ENTRIES) / 2;
  const counted = await withConnection(database.urls.auditor, (client) =>
    client.query(`SELECT (SELECT count(*)::int FROM public.signals) AS signals,
                         (SELECT max(chain_index)::int + 1 FROM public.signals) AS signal_indexes,
                         (SELECT count(*)::int FROM public.audit_entries) AS entries,
                         (SELECT max(chain_index)::int + 1 FROM public.audit_entries) AS entry_indexes`),
  );
  expect(counted.rows).toEqual([{ signals: half, signal_indexes: half, entries: 2 * half, entry_indexes: 2 * half }]);
  await expectLedgerIntact(database.urls.auditor);
}, 180_000);
