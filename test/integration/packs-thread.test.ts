import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parseVerifierKey } from '../../src/core/verifier-key.js';
import { verifyPack } from '../../src/core/verify-pack.js';
import { DaybookError } from '../../src/errors.js';
import { fromErrorMessage, toErrorMessage } from '../../src/ledger/verify-workers.js';
import { createPack, packFolderName, type CreatePackRequest } from '../../src/packs/create-packs.js';
import type { PackServices } from '../../src/packs/pack-services.js';
import { readPackFolder } from '../../src/verifier/read-pack.js';
import { readManifest } from '../support/evidence-packs.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { workerEntryOf } from '../support/range-worker.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

/** Each has an audit entry: more in all than the caller's thread writes itself. */
const signals = 10_500;
const worker = workerEntryOf(new URL('../../src/packs/pack-entries-worker.ts', import.meta.url));
const caller = { actor: 'tester', role: null, ipAddress: null, userAgent: null, sessionId: 'test' };

let service: TestService;

beforeAll(async () => {
  service = await startTestService({ environment: { DAYBOOK_JOBS: 'off', DAYBOOK_CHECKPOINT_SECONDS: '0.05' } });
  await using session = await openSession(service.database.urls.application);
  await session.run(insertSignalsSql(signals));
}, 60_000);

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
});

function make(services: Partial<PackServices>, request: Partial<CreatePackRequest> = {}) {
  return createPack(
    { ...service.context.services.packs, ...services },
    {
      date: new Date().toISOString().slice(0, 10),
      kind: 'PARTIAL',
      origin: { ...caller, requestId: randomUUID() },
      signal: new AbortController().signal,
      ...request,
    },
  );
}

/** Folders of packs, finished or not. */
async function listFolders(): Promise<string[]> {
  return readdir(service.context.services.packs.folder).catch(() => []);
}

test('a pack of many entries is written by a thread, tells how far it is, and verifies', async () => {
  const written: number[] = [];
  const row = await make({ workerEntry: worker }, { onProgress: (_date, done) => written.push(done) });
  const pack = join(service.context.services.packs.folder, packFolderName(row));
  const keys = (await service.call('{ verifierKeys }')).data?.verifierKeys as string[];
  const { faults, signer, entriesChecked } = await verifyPack(await readPackFolder(pack), keys.map(parseVerifierKey));
  expect({ faults, signer }).toEqual({ faults: [], signer: 'verified' });
  expect(entriesChecked).toBeGreaterThan(2 * signals);
  expect(written.length).toBeGreaterThan(50);
  expect(Math.max(...written)).toBeGreaterThan(signals);
  const { manifest } = await readManifest(pack);
  expect(manifest?.totals?.signals).toBe(signals);
  expect(manifest?.files['signals.csv']).toMatchObject({ rows: signals, first_index: 0, last_index: signals - 1 });
});

test('a thread that ends without a word fails the pack, and leaves nothing', async () => {
  const before = await listFolders();
  const workerEntry = { url: new URL('data:text/javascript,process.exit(3)') };
  await expect(make({ workerEntry })).rejects.toThrow(/ended with exit code/);
  expect(await listFolders()).toEqual(before);
});

test('a pack that is called off ends its thread, and leaves nothing', async () => {
  const before = await listFolders();
  const closing = new AbortController();
  const request = { signal: closing.signal, onProgress: () => closing.abort(new Error('called off')) };
  await expect(make({ workerEntry: worker }, request)).rejects.toThrow('called off');
  expect(await listFolders()).toEqual(before);
  await using session = await openSession(service.database.urls.superuser);
  await waitUntil('the thread has no connection', async () => {
    const open = await session.run("SELECT FROM pg_stat_activity WHERE application_name = 'daybook verify'");
    return open.length === 0;
  });
});

test('what a thread finds broken keeps its code, also that of the database', () => {
  const across = (error: Error) => fromErrorMessage(structuredClone(toErrorMessage(error)));
  expect(across(new DaybookError('LEDGER_BROKEN', 'a gap'))).toMatchObject({
    name: 'DaybookError',
    code: 'LEDGER_BROKEN',
    message: 'a gap',
    retryable: false,
  });
  expect(across(Object.assign(new Error('gone'), { code: '57P01' }))).toMatchObject({ message: 'gone', code: '57P01' });
});
