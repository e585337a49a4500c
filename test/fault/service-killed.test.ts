import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { withConnection } from '../../src/db/admin-connection.js';
import { deriveRoleUrls } from '../../src/db/roles.js';
import { readSecretFile } from '../../src/db/secret-file.js';
import { postgresFolder } from '../../src/db/postgres-folder.js';
import { createDataFolder } from '../support/data-folder.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { startServiceProcess } from '../support/service-process.js';
import { findFreePort } from '../support/test-server.js';
import { adminKey, callGraphql, signalInput } from '../support/test-service.js';

const KILLS = 10;
const CLIENTS = 16;

const create = `mutation ($input: CreateSignalsInput!) { createSignals(input: $input) { signals { id chainIndex } } }`;
const record = `mutation ($input: RecordEventsInput!) { recordEvents(input: $input) { entries { id chainIndex } } }`;

test('ten kills of the service under load lose no acknowledged entry and double none', async () => {
  await using folder = await createDataFolder();
  const dataDir = folder.path;
  const port = await findFreePort();
  const postgresPort = await findFreePort();
  const environment = {
    DAYBOOK_PORT: String(port),
    DAYBOOK_POSTGRES_PORT: String(postgresPort),
    DAYBOOK_DATA_DIR: dataDir,
    DAYBOOK_ADMIN_KEY: adminKey,
    DAYBOOK_LOG_LEVEL: 'error',
  };
  const url = `http://127.0.0.1:${port}`;
  const signals = new Map<string, string>();
  const events = new Set<string>();
  let stopping = false;

  /** Sends signals with a key until they are acknowledged, and events without one, which are never sent twice. */
  const client = async (name: string) => {
    for (let turn = 0; !stopping; turn += 1) {
      const idempotencyKey = `${name}-${turn}`;
      const input = {
        signals: [signalInput({ idempotencyKey }), signalInput({ idempotencyKey: `${idempotencyKey}b` })],
      };
      for (let acknowledged = false; !acknowledged && !stopping;) {
        const answer = await callGraphql(url, create, { input }).catch(() => null);
        const [first] = (answer?.data?.createSignals?.signals ?? []) as { id: string }[];
        if (answer?.errors !== undefined) expect(answer.errors[0]?.extensions.retryable).toBe(true);
        acknowledged = first !== undefined;
        if (first !== undefined) signals.set(idempotencyKey, first.id);
        else await pause(50);
      }
      const orderId = `${name}-${turn}`;
      const filled = { orderId, symbol: 'AAPL', side: 'BUY', quantity: '1', price: '2' };
      const answer = await callGraphql(url, record, { input: { events: [{ filled }] } }).catch(() => null);
      if (answer?.data?.recordEvents) events.add(orderId);
    }
  };

  let service = await startServiceProcess(environment);
  const clients = Array.from({ length: CLIENTS }, (_, place) => client(`client-${place}`));
  try {
    for (let kill = 0; kill < KILLS; kill += 1) {
      const before = signals.size;
      while (signals.size < before + 40) await pause(10);
      await service.end('SIGKILL');
      service = await startServiceProcess(environment);
    }
  } catch (error) {
    await service.end('SIGTERM');
    throw error;
  } finally {
    stopping = true;
  }
  await Promise.all(clients);

  const password = await readSecretFile(postgresFolder(dataDir).passwordFile);
  const urls = deriveRoleUrls(`postgres://postgres:${password}@127.0.0.1:${postgresPort}/daybook`, password ?? '');
  await expectLedgerIntact(urls.auditor);
  await withConnection(urls.auditor, async (database) => {
    const stored = await database.query<{ key: string; id: string }>(
      'SELECT idempotency_key AS key, signal_id AS id FROM public.signals',
    );
    const byKey = new Map(stored.rows.map(({ key, id }) => [key, id]));
    expect(byKey.size).toBe(stored.rows.length);
    for (const [key, id] of signals) expect([key, byKey.get(key)]).toEqual([key, id]);
    const orders = await database.query<{ order_id: string }>(
      "SELECT details ->> 'orderId' AS order_id FROM public.audit_entries WHERE event = 'Filled'",
    );
    const recorded = new Set(orders.rows.map((row) => row.order_id));
    expect(recorded.size).toBe(orders.rows.length);
    for (const orderId of events) expect(recorded).toContain(orderId);
  });
  expect(await service.end('SIGTERM')).toBe(0);
}, 180_000);
