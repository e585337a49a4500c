import { describe, expect, test } from '@jest/globals';
import { parseVerifierKey } from '../../src/core/verifier-key.js';
import { verifyTlogProof } from '../../src/core/verify-tlog-proof.js';
import { readFolder } from '../../src/verifier/read-folder.js';
import { readHttp } from '../../src/verifier/read-http.js';
import { verifyLayout } from '../../src/verifier/verify-layout.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { SocketClient } from '../support/socket-client.js';
import { insertEntriesSql, insertSignalsSql, openSession } from '../support/sql-session.js';
import { adminKey, startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const environment = { DAYBOOK_CHECKPOINT_SECONDS: '0.05', DAYBOOK_PUBLISH_SECONDS: '0.05', DAYBOOK_JOBS: 'off' };

async function keysOf(service: TestService) {
  const { data } = await service.call('{ verifierKeys }');
  return (data?.verifierKeys as string[]).map(parseVerifierKey);
}

async function publishedSize(service: TestService, log: 'signals' | 'audit'): Promise<number> {
  const text = await (await fetch(`${service.url}/metrics`)).text();
  const [, size] = new RegExp(`daybook_published_tree_size\\{log="${log}"\\} (\\d+)`).exec(text) ?? [];
  return Number(size ?? 0);
}

describe('the static layout', () => {
  test('over HTTP and in the store verifies with pinned keys, from the same entries', async () => {
    await using service = await startTestService({ environment });
    await using session = await openSession(service.database.urls.application);
    await session.run(insertSignalsSql(600));
    await session.run(insertEntriesSql(300));
    await waitUntil('both logs are published', async () => {
      const [signals, audit] = [await publishedSize(service, 'signals'), await publishedSize(service, 'audit')];
      return signals === 600 && audit >= 900;
    });
    const keys = await keysOf(service);
    const { folder } = service.context.config.store;
    const readers = [
      await readFolder(`${folder}/signals`),
      await readFolder(`${folder}/audit`),
      readHttp({ url: `${service.url}/logs/signals`, apiKey: adminKey }),
    ];
    for (const reader of readers) {
      const verification = await verifyLayout({ reader, keys });
      expect(verification).toMatchObject({ signer: 'verified', breaks: [], breakCount: 0 });
      expect(verification.entries).toBeGreaterThanOrEqual(600);
    }
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('grows: partial tiles give way to full ones, and the checkpoint never goes back', async () => {
    await using service = await startTestService({ environment });
    await using session = await openSession(service.database.urls.application);
    const keys = await keysOf(service);
    await waitUntil('something is published', async () => (await publishedSize(service, 'audit')) > 0);
    const reader = await readFolder(`${service.context.config.store.folder}/signals`);
    let before = 0;
    for (const count of [3, 200, 60, 500]) {
      await session.run(insertSignalsSql(count));
      const size = before + count;
      await waitUntil(`${size} entries are published`, async () => (await publishedSize(service, 'signals')) === size);
      expect(await verifyLayout({ reader, keys })).toMatchObject({ entries: size, breakCount: 0 });
      before = size;
    }
    expect(await reader.read('tile/0/000')).toHaveLength(8192);
    expect(await reader.read('tile/0/000.p/3')).toBeNull();
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('is open but for entries and proofs, which take a key and leave an entry', async () => {
    await using service = await startTestService({ environment });
    await using session = await openSession(service.database.urls.application);
    await session.run(insertSignalsSql(2));
    await waitUntil('it is signed', async () =>
      (await (await fetch(`${service.url}/logs/signals/checkpoint`)).text()).includes('\n2\n'),
    );
    const get = async (path: string, key?: string) =>
      fetch(`${service.url}${path}`, key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } });
    expect((await get('/logs/signals/tile/0/000.p/2')).status).toBe(200);
    expect((await get('/logs/signals/tile/entries/000.p/2')).status).toBe(401);
    expect((await get('/logs/signals/proofs/1.tlog-proof')).status).toBe(401);
    expect((await get('/logs/signals/tile/entries/000.p/2', adminKey)).status).toBe(200);
    const analyst = await service.makeKey('ANALYST');
    expect((await get('/logs/signals/tile/entries/000.p/2', analyst)).status).toBe(200);
    expect((await get('/logs/audit/tile/entries/000.p/1', analyst)).status).toBe(403);
    expect((await get('/logs/audit/proofs/0.tlog-proof', analyst)).status).toBe(403);
    for (const path of ['/LOGS/audit', '/logs/%61udit', '/logs/AUDIT', '/logs/audi%74']) {
      expect([403, 404]).toContain((await get(`${path}/tile/entries/000.p/1`, analyst)).status);
      expect([403, 404]).toContain((await get(`${path}/proofs/0.tlog-proof`, analyst)).status);
    }
    for (const path of [
      '/logs/other/checkpoint',
      '/logs/signals/tile/0/000.p/3',
      '/logs/signals/tile/0/000',
      '/logs/signals/tile/0/0',
      '/logs/signals/tile/9/000',
      '/logs/signals/tile/0/x000/000.p/1',
      '/logs/signals/tile/0/..%2f000',
      '/logs/signals/roots/2026-02-31.checkpoint',
      '/logs/signals/roots/2020-01-01.checkpoint',
      '/logs/signals/roots/0000-01-01.tsr',
    ]) {
      expect([path, (await get(path)).status]).toEqual([path, 404]);
    }
    expect((await get('/logs/signals/proofs/7.tlog-proof', adminKey)).status).toBe(404);
    expect((await get('/logs/signals/proofs/1.tlog-proof?treeSize=abc', adminKey)).status).toBe(400);
    const { data } = await service.call(
      '{ auditEntries(filter: { resource: { startsWith: "/logs/" } }, first: 200) { nodes { resource outcome } } }',
    );
    const recorded = (data?.auditEntries.nodes as { resource: string; outcome: string }[]).map(
      ({ resource, outcome }) => `${resource} ${outcome}`,
    );
    expect(recorded).toEqual(
      expect.arrayContaining([
        '/logs/signals/tile/entries/000.p/2 OK',
        '/logs/signals/tile/entries/000.p/2 UNAUTHENTICATED',
        '/logs/audit/tile/entries/000.p/1 FORBIDDEN',
        '/logs/signals/proofs/7.tlog-proof NOT_FOUND',
      ]),
    );
    expect(recorded).not.toContain('/logs/signals/tile/0/000.p/2 OK');
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('gives proofs as files that verify with the pinned key and the exact bytes of the entry', async () => {
    await using service = await startTestService({ environment });
    await using session = await openSession(service.database.urls.application);
    await session.run(insertSignalsSql(20));
    const response = await fetch(`${service.url}/logs/signals/proofs/7.tlog-proof`, {
      headers: { authorization: `Bearer ${adminKey}` },
    });
    expect(response.headers.get('content-disposition')).toContain('signals-7.tlog-proof');
    const proof = await response.text();
    const body = String(await session.value('SELECT body FROM signals WHERE chain_index = 7'));
    const keys = await keysOf(service);
    expect(verifyTlogProof({ proof, body, keys })).toMatchObject({ valid: true });
    expect(verifyTlogProof({ proof, body: body.replace('BUY', 'SELL'), keys })).toMatchObject({ valid: false });
    await expectLedgerIntact(service.database.urls.auditor);
  });
});

describe('subscriptions', () => {
  test('checkpointSigned delivers every checkpoint of a log once and in order, on both nodes', async () => {
    await using service = await startTestService({ environment });
    const client = await SocketClient.open(service.socketUrl, { authorization: `Bearer ${adminKey}` });
    client.subscribe('one', 'subscription { checkpointSigned(log: SIGNALS) { log treeSize note } }');
    await waitUntil('the subscription is open', async () => {
      const { data } = await service.call(
        '{ auditEntries(filter: { resource: { eq: "checkpointSigned" } }) { totalCount } }',
      );
      return Number(data?.auditEntries.totalCount) > 0;
    });
    await using session = await openSession(service.database.urls.application);
    for (let round = 1; round <= 5; round += 1) {
      await session.run(insertSignalsSql(2));
      await service.call(`{ inclusionProof(log: SIGNALS, index: "${round * 2 - 1}") { treeSize } }`);
    }
    const sizes = () =>
      client.messages
        .flatMap(({ type, payload }) =>
          type === 'next' ? [Number((payload as any).data.checkpointSigned.treeSize)] : [],
        )
        .filter((size) => size > 0);
    await waitUntil('the last one arrived', () => sizes().at(-1) === 10);
    const stored = await session.run(
      "SELECT tree_size FROM checkpoints WHERE log = 'signals' AND tree_size > 0 ORDER BY number",
    );
    expect(sizes()).toEqual(stored.map((row) => Number(row.tree_size)));
    client.socket.terminate();
    await waitUntil('its end is recorded', async () => {
      const { data } = await service.call(
        '{ auditEntries(filter: { resource: { eq: "checkpointSigned" } }) { totalCount } }',
      );
      return Number(data?.auditEntries.totalCount) === 2;
    });
    await expectLedgerIntact(service.database.urls.auditor);
  });
});
