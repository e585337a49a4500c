import { expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { startServiceProcess } from '../support/service-process.js';
import { insertEntriesSql, openSession } from '../support/sql-session.js';
import { createTestDatabase } from '../support/test-database.js';
import { findFreePort } from '../support/test-server.js';
import { adminKey } from '../support/test-service.js';

/** Few and large, for a test takes its time by the entry. */
const smallEntries = 1_500;
const largeEntries = 30_000;
const noteCharacters = 1_700;
const growthMaxMb = 64;
const formats = ['csv', 'json', 'jsonl', 'parquet'];
/** What an export that kept its entries would grow by at least; Parquet keeps the same entries in fewer bytes. */
const keptMbMin = 1.5 * growthMaxMb;

/** Most memory that the process has held since the mark was last reset, in MiB. Linux. */
async function peakMb(pid: number): Promise<number> {
  const [, kb] = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kb) / 1024;
}

async function resetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5');
}

test(`an export of ${largeEntries} entries takes at most ${growthMaxMb} MiB more than one of ${smallEntries}`, async () => {
  await using database = await createTestDatabase();
  await using session = await openSession(database.urls.superuser);
  for (let number = 0; number < 10; number += 1) {
    await session.run(insertEntriesSql(largeEntries / 10, `${number} ${'n'.repeat(noteCharacters)}`));
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'daybook-memory-'));
  const port = await findFreePort();
  try {
    await using service = await startServiceProcess({
      DAYBOOK_DATA_DIR: dataDir,
      DAYBOOK_PORT: String(port),
      DATABASE_URL: database.urls.superuser,
      DAYBOOK_ADMIN_KEY: adminKey,
      DAYBOOK_JOBS: 'off',
      DAYBOOK_LOG_LEVEL: 'warn',
      // An export that kept its entries would not fit in; and V8 lets no garbage pile up to take it for growth.
      NODE_OPTIONS: '--max-semi-space-size=8 --max-old-space-size=128',
    });
    const pid = service.child.pid ?? 0;
    const exportEntries = async (format: string, entries: number): Promise<number> => {
      const response = await fetch(`http://127.0.0.1:${port}/audit/export?format=${format}&asOf=${entries - 1}`, {
        headers: { authorization: `Bearer ${adminKey}` },
      });
      expect([format, response.status, response.headers.get('daybook-count')]).toEqual([format, 200, String(entries)]);
      let bytes = 0;
      for await (const chunk of response.body ?? []) bytes += chunk.byteLength;
      return bytes;
    };
    const growth: Record<string, number> = {};
    for (const format of formats) {
      await resetPeak(pid);
      let fewBytes = 0;
      // The first one compiles code and opens what later ones share.
      for (let round = 0; round < 2; round += 1) {
        fewBytes = await exportEntries(format, smallEntries);
      }
      const before = await peakMb(pid);
      const startedMs = performance.now();
      const bytes = await exportEntries(format, largeEntries);
      const seconds = (performance.now() - startedMs) / 1000;
      growth[format] = (await peakMb(pid)) - before;
      if (process.env.DAYBOOK_TEST_LOG !== undefined) {
        process.stderr.write(
          `${format}: ${bytes} bytes, ${seconds.toFixed(1)} s, +${growth[format].toFixed(1)} MiB over ${before.toFixed(0)}\n`,
        );
      }
      expect(bytes / fewBytes).toBeGreaterThan((0.8 * largeEntries) / smallEntries);
      if (format !== 'parquet') expect(bytes / 2 ** 20).toBeGreaterThan(keptMbMin);
    }
    for (const [format, mb] of Object.entries(growth)) {
      expect([format, mb, mb <= growthMaxMb]).toEqual([format, mb, true]);
    }
    await expectLedgerIntact(database.urls.auditor);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}, 600_000);
