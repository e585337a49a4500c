import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import { readConfig } from '../../src/config.js';
import { openContext } from '../../src/context.js';
import { postgresFolder } from '../../src/db/postgres-folder.js';
import { withConnection } from '../../src/db/admin-connection.js';
import { deriveRoleUrls } from '../../src/db/roles.js';
import { readSecretFile } from '../../src/db/secret-file.js';
import { startServer } from '../../src/server.js';
import { createDataFolder } from '../support/data-folder.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { findFreePort } from '../support/test-server.js';
import { adminKey, callGraphql, signalInput, type Answer } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const CLIENTS = 16;

test.each([['SIGINT'], ['SIGKILL']] as const)(
  'while PostgreSQL ends by %s under load, calls succeed or say that they may be retried, and the service recovers',
  async (signal) => {
    await using folder = await createDataFolder();
    const dataDir = folder.path;
    const postgresPort = await findFreePort();
    const config = readConfig({
      DAYBOOK_PORT: String(await findFreePort()),
      DAYBOOK_POSTGRES_PORT: String(postgresPort),
      DAYBOOK_DATA_DIR: dataDir,
      DAYBOOK_ADMIN_KEY: adminKey,
    });
    await using context = await openContext(config, pino({ level: 'silent' }));
    await using server = await startServer(context);
    const acknowledged = new Map<string, string>();
    const refusals = new Set<string>();
    let stopping = false;
    const client = async (name: string) => {
      for (let turn = 0; !stopping; turn += 1) {
        const idempotencyKey = `${name}-${turn}`;
        const query = 'mutation ($input: CreateSignalInput!) { createSignal(input: $input) { signal { id } } }';
        let answer: Answer | undefined;
        do {
          answer = await callGraphql(server.url, query, { input: signalInput({ idempotencyKey }) });
          for (const error of answer.errors ?? []) {
            const { code, retryable } = error.extensions;
            refusals.add(retryable ? code : `${code}: ${error.message}`);
          }
          if (answer.errors !== undefined) await pause(20);
        } while (answer.errors !== undefined && !stopping);
        const id = answer.data?.createSignal?.signal.id as string | undefined;
        if (id !== undefined) acknowledged.set(idempotencyKey, id);
      }
    };
    const clients = Array.from({ length: CLIENTS }, (_, place) => client(`client-${place}`));
    const grow = async () => {
      const before = acknowledged.size;
      await waitUntil('calls succeed', () => acknowledged.size > before + 100);
    };
    for (let restart = 0; restart < 3; restart += 1) {
      await grow();
      const [pid] = (await readFile(join(postgresFolder(dataDir).data, 'postmaster.pid'), 'utf8')).split('\n');
      process.kill(Number(pid), signal);
      await grow();
    }
    stopping = true;
    await Promise.all(clients);

    const allowed = ['DATABASE_UNAVAILABLE', 'OUTCOME_UNKNOWN'];
    expect([...refusals].filter((code) => !allowed.includes(code))).toEqual([]);
    const password = await readSecretFile(postgresFolder(dataDir).passwordFile);
    const urls = deriveRoleUrls(`postgres://postgres:${password}@127.0.0.1:${postgresPort}/daybook`, password ?? '');
    await expectLedgerIntact(urls.auditor);
    const stored = await withConnection(urls.auditor, (database) =>
      database.query<{ key: string; id: string }>('SELECT idempotency_key AS key, signal_id AS id FROM public.signals'),
    );
    const byKey = new Map(stored.rows.map(({ key, id }) => [key, id]));
    expect(byKey.size).toBe(stored.rows.length);
    for (const [key, id] of acknowledged) expect([key, byKey.get(key)]).toEqual([key, id]);
  },
  120_000,
);
