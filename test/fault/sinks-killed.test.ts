import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { hasRsyslog, startRsyslog } from '../support/rsyslog-server.js';
import { sampleEntry } from '../support/sample-entries.js';
import { startServiceProcess } from '../support/service-process.js';
import { openSession } from '../support/sql-session.js';
import { createTestDatabase } from '../support/test-database.js';
import { findFreePort } from '../support/test-server.js';
import { adminKey } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const ENTRIES = 50_000;
const KILLS = 5;
/** Entries after which the receiver is asked to confirm; until then they are under way. */
const CONFIRM_ENTRIES = 3_000;
/** Entries of one delivery by syslog: what may be under way beyond those that wait for confirmation. */
const BATCH = 500;

(hasRsyslog ? test : test.skip)(
  'every one of 50,000 entries reaches rsyslog and the files across five kill -9',
  async () => {
    await using stack = new AsyncDisposableStack();
    const database = stack.use(await createTestDatabase());
    const rsyslog = stack.use(await startRsyslog());
    const folder = await mkdtemp(join(tmpdir(), 'daybook-sinks-'));
    stack.defer(() => rm(folder, { recursive: true, maxRetries: 5 }));
    const sinksFile = join(folder, 'sinks.json');
    const siem = {
      name: 'siem',
      kind: 'syslog',
      host: '127.0.0.1',
      port: rsyslog.port,
      tls: { caFile: rsyslog.caFile, certFile: rsyslog.clientCertFile, keyFile: rsyslog.clientKeyFile },
      confirmEntries: CONFIRM_ENTRIES,
      confirmSeconds: 5,
    };
    await writeFile(sinksFile, JSON.stringify({ sinks: [siem] }));
    const environment = {
      DAYBOOK_PORT: String(await findFreePort()),
      DAYBOOK_DATA_DIR: join(folder, 'data'),
      DAYBOOK_LOG_DIR: join(folder, 'logs'),
      DAYBOOK_LOG_GZIP: 'off',
      DATABASE_URL: database.urls.superuser,
      DAYBOOK_ADMIN_KEY: adminKey,
      DAYBOOK_SINKS_FILE: sinksFile,
      DAYBOOK_LOG_LEVEL: 'warn',
    };
    const session = stack.use(await openSession(database.urls.auditor));
    const position = async (name: string) =>
      Number(await session.value('SELECT position FROM public.audit_sinks WHERE name = $1', [name]));

    const writer = stack.use(
      new LedgerWriter({ url: database.urls.application, queueRowsMax: 5_000, log: pino({ level: 'silent' }) }),
    );
    const appending = (async () => {
      for (let sent = 0; sent < ENTRIES; sent += 500) {
        const entries = Array.from({ length: 500 }, (_, place) => sampleEntry(`order ${sent + place}`));
        await writer.append({ callEntries: entries });
      }
    })();
    let service = stack.use(await startServiceProcess(environment));
    for (let kill = 1; kill <= KILLS; kill += 1) {
      const mark = (kill * ENTRIES) / (KILLS + 2);
      await waitUntil(`entry ${mark} has arrived, and is not confirmed`, async () => {
        const arrived = await rsyslog.lastIndex();
        return arrived >= mark && arrived > (await position('siem'));
      });
      await service.end('SIGKILL');
      service = stack.use(await startServiceProcess(environment));
    }
    await appending;
    const head = Number(await session.value('SELECT max(chain_index) + 1 FROM public.audit_entries'));
    for (const name of ['siem', 'jsonl']) {
      await waitUntil(`${name} has caught up`, async () => (await position(name)) >= head);
    }
    expect(await service.end('SIGTERM')).toBe(0);
    await rsyslog.stop();

    const recorded = await session.run('SELECT id::text AS id FROM public.audit_entries ORDER BY chain_index');
    expect(recorded.length).toBeGreaterThanOrEqual(ENTRIES);
    const received = await rsyslog.read();
    const ids = new Map(received.map(({ index, id }) => [index, id]));
    for (const [index, { id }] of recorded.entries()) {
      // What the last node recorded while it ended is delivered by the next one.
      if (index < head && ids.get(index) !== id) throw new Error(`entry ${index} did not arrive`);
    }
    expect(new Set(received.map(({ id }) => id)).size).toBe(ids.size);
    const repeated = received.length - ids.size;
    // The kills came while entries were under way.
    expect(repeated).toBeGreaterThan(0);
    expect(repeated).toBeLessThanOrEqual(KILLS * (CONFIRM_ENTRIES + 2 * BATCH));
    expectOrder(received.map(({ index }) => index));

    const logs = join(folder, 'logs');
    const indexes: number[] = [];
    for (const name of (await readdir(logs)).filter((file) => file.startsWith('audit-')).sort()) {
      const text = await readFile(join(logs, name), 'utf8');
      indexes.push(
        ...text
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line).index as number),
      );
    }
    expect(indexes.length).toBeGreaterThanOrEqual(head);
    const misplaced = indexes.findIndex((index, place) => index !== place);
    expect(misplaced).toBe(-1);
    await expectLedgerIntact(database.urls.auditor);
  },
  240_000,
);

/** In order, but for the places where a node went on from what was last confirmed. */
function expectOrder(indexes: readonly number[]): void {
  const steps = indexes.slice(1).map((index, place) => index - (indexes[place] ?? 0));
  expect(steps.filter((step) => step > 1)).toEqual([]);
  expect(steps.filter((step) => step < 1).length).toBeLessThanOrEqual(KILLS);
}
