import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { pino } from 'pino';
import { readConfig } from '../../src/config.js';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import { serviceOrigin } from '../../src/integrity/integrity-entry.js';
import type { CheckKind, IntegrityCheckRow } from '../../src/integrity/read-checks.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { openIntegrity } from '../../src/open-integrity.js';
import { openAnchors, openStore } from '../../src/open-proofs.js';
import { CheckpointFiles } from '../../src/proofs/known-checkpoints.js';
import type { TestDatabase } from './test-database.js';

/** Runs one check as `daybook check-integrity` does, without a service, with the data folder of a service that ran. */
export async function checkIntegrity(
  database: TestDatabase,
  dataDir: string,
  kind: CheckKind = 'FULL',
): Promise<IntegrityCheckRow> {
  const config = readConfig({ DAYBOOK_DATA_DIR: dataDir, DATABASE_URL: database.urls.superuser });
  const log = pino({ level: process.env.DAYBOOK_TEST_LOG ?? 'silent' });
  await using stack = new AsyncDisposableStack();
  const url = database.urls.application;
  const pool = openPool({ ...ledgerConnection(url, 'test'), max: 2 }, () => undefined);
  stack.defer(() => pool.end());
  const writer = stack.use(new LedgerWriter({ url, queueRowsMax: 100, log }));
  const append = (request: Parameters<typeof writer.append>[0]) => writer.append(request);
  const clock = { nowMs: () => Date.now() };
  const store = openStore(config);
  if (store !== null) stack.use(store);
  const proofs = {
    store,
    files: new CheckpointFiles(join(dataDir, 'checkpoints')),
    anchors: await openAnchors({ config, pool, clock }, store),
  };
  const service = openIntegrity({ config, log, clock, pool, readerUrl: database.urls.auditor, append, proofs });
  return await service.run({ kind, origin: serviceOrigin('test', randomUUID()), append });
}
