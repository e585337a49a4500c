import { getEventListeners } from 'node:events';
import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import type { Queryable } from '../../src/ledger/read-entries.js';
import { ProofWatch } from '../../src/proofs/watch-proofs.js';
import { SocketClient } from '../support/socket-client.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { findFreePort } from '../support/test-server.js';
import { adminKey, startTestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const environment = { DAYBOOK_CHECKPOINT_SECONDS: '0.05', DAYBOOK_STORE_DIR: '', DAYBOOK_JOBS: 'off' };
const log = pino({ level: 'silent' });
const waiters = 200;

/** The service's pool, with what was asked of it. */
function counted(database: Queryable): Queryable & { readonly asked: () => number } {
  let asked = 0;
  const query = (...given: Parameters<Queryable['query']>) => {
    asked += 1;
    return database.query(...given);
  };
  return { query: query as Queryable['query'], asked: () => asked };
}

test('all who wait share one look a second, and are woken though every notification is lost', async () => {
  await using service = await startTestService({ environment: { ...environment, DAYBOOK_CHECKPOINT_SECONDS: '10' } });
  const database = counted(service.context.services.database);
  // Nothing listens there: no notification comes through.
  await using watch = new ProofWatch({ url: `postgresql://127.0.0.1:${await findFreePort()}/none`, database, log });
  const { signal } = new AbortController();
  // The first look wakes everybody, as nothing is known before it.
  await watch.changed(watch.version, signal);
  const asked = database.asked();
  const startedMs = performance.now();
  const woken = Promise.all(Array.from({ length: waiters }, () => watch.changed(watch.version, signal)));
  await waitUntil('two more looks', () => database.asked() >= asked + 2);
  await using session = await openSession(service.database.urls.application);
  await session.run(insertSignalsSql(1));
  await service.context.services.proofs.signer.coveringCheckpoint('signals', 1);
  await woken;
  expect(database.asked() - asked).toBeLessThanOrEqual((performance.now() - startedMs) / 1_000 + 1);
});

test('waiting leaves nothing behind, and a change between reading and waiting is not lost', async () => {
  await using service = await startTestService({ environment });
  const { watch } = service.context.services.proofs;
  await using session = await openSession(service.database.urls.application);
  const closing = new AbortController();
  const wait = () => Array.from({ length: waiters }, () => watch.changed(watch.version, closing.signal));
  const { version } = watch;
  const woken = wait();
  await session.run(insertSignalsSql(1));
  await Promise.all(woken);
  expect(getEventListeners(closing.signal, 'abort')).toHaveLength(0);
  const gone = wait();
  closing.abort();
  await Promise.all(gone);
  expect(getEventListeners(closing.signal, 'abort')).toHaveLength(0);
  await watch.changed(version, new AbortController().signal);
});

test('nobody is looked for once all who waited are gone', async () => {
  await using service = await startTestService({ environment: { ...environment, DAYBOOK_CHECKPOINT_SECONDS: '10' } });
  const url = `postgresql://127.0.0.1:${await findFreePort()}/none`;
  const [left, waited] = [counted(service.context.services.database), counted(service.context.services.database)];
  await using deserted = new ProofWatch({ url, database: left, log });
  await using watch = new ProofWatch({ url, database: waited, log });
  const closing = new AbortController();
  // The first look wakes everybody, as nothing is known before it.
  await deserted.changed(deserted.version, closing.signal);
  const gone = deserted.changed(deserted.version, closing.signal);
  closing.abort();
  await gone;
  const asked = left.asked();
  const staying = new AbortController();
  await watch.changed(watch.version, staying.signal);
  const waiting = watch.changed(watch.version, staying.signal);
  const from = waited.asked();
  await waitUntil('three more looks for who waits', () => waited.asked() >= from + 3);
  expect(left.asked()).toBe(asked);
  staying.abort();
  await waiting;
});

test('subscribers at one place read it once', async () => {
  await using service = await startTestService({ environment });
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => SocketClient.open(service.socketUrl, { authorization: `Bearer ${adminKey}` })),
  );
  for (const client of clients) client.subscribe('1', 'subscription { checkpointSigned(log: SIGNALS) { treeSize } }');
  await waitUntil('all subscriptions are open', async () => {
    const { data } = await service.call(
      '{ auditEntries(first: 100, filter: { resource: { eq: "checkpointSigned" } }) { nodes { id } } }',
    );
    return data?.auditEntries.nodes.length === clients.length;
  });
  const { watch } = service.context.services.proofs;
  let reads = 0;
  const read = () => Promise.resolve((reads += 1));
  expect(await Promise.all(clients.map(() => watch.shared('a place', read)))).toEqual(clients.map(() => 1));
  await using session = await openSession(service.database.urls.application);
  for (let round = 1; round <= 3; round += 1) {
    const { version } = watch;
    await session.run(insertSignalsSql(1));
    await waitUntil('the change is noticed', () => watch.version > version);
  }
  await watch.shared('a place', read);
  expect(reads).toBe(2);
  const last = (client: SocketClient) =>
    Number((client.of('next', '1').at(-1)?.payload as any)?.data.checkpointSigned.treeSize ?? 0);
  await waitUntil('every subscriber has the last one', () => clients.every((client) => last(client) === 3));
  for (const client of clients) client.socket.terminate();
});
