import type { S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { hasObjectLockServer, startObjectLockServer, type ObjectLockServer } from '../support/object-lock-server.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { startTcpRelay } from '../support/tcp-relay.js';
import { createTestBucket, provideCredentials, s3ClientOf } from '../support/test-bucket.js';
import { createTestDatabase } from '../support/test-database.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const fast = { DAYBOOK_CHECKPOINT_SECONDS: '0.05', DAYBOOK_PUBLISH_SECONDS: '0.05', DAYBOOK_JOBS: 'off' };

async function readHealth(service: TestService): Promise<any> {
  return (await fetch(`${service.url}/health/detailed`)).json();
}

async function readMetric(service: TestService, name: string): Promise<number | null> {
  const text = await (await fetch(`${service.url}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return line === undefined ? null : Number(line.split(' ')[1]);
}

const sizeOf = (log: string) => `daybook_checkpoint_tree_size{log="${log}"}`;
const publishedSizeOf = (log: string) => `daybook_published_tree_size{log="${log}"}`;

(hasObjectLockServer ? describe : describe.skip)('a bucket that goes away', () => {
  let server: ObjectLockServer;
  let client: S3Client;
  let credentials: Disposable;

  beforeAll(async () => {
    server = await startObjectLockServer();
    client = s3ClientOf(server);
    credentials = provideCredentials(server);
  });

  afterAll(async () => {
    credentials?.[Symbol.dispose]();
    client?.destroy();
    await server?.[Symbol.asyncDispose]();
  });

  test('best-effort: checkpoints go on, health and metrics tell, and what was missed is published later', async () => {
    await using relay = await startTcpRelay(server.endpoint);
    const bucket = await createTestBucket(client, 'versioned');
    const environment = { ...fast, DAYBOOK_S3_BUCKET: bucket, DAYBOOK_S3_ENDPOINT: relay.endpoint };
    await using service = await startTestService({ environment });
    await using session = await openSession(service.database.urls.application);
    await session.run(insertSignalsSql(3));
    await waitUntil('3 are published', async () => (await readMetric(service, publishedSizeOf('signals'))) === 3);
    expect((await readHealth(service)).checks.publishing).toMatchObject({ status: 'ok', errors: [] });

    relay.set('cut');
    await session.run(insertSignalsSql(300));
    await waitUntil('the checkpoint covers 303', async () => (await readMetric(service, sizeOf('signals'))) === 303);
    await waitUntil('health tells', async () => {
      const { status, checks } = await readHealth(service);
      return status === 'degraded' && checks.publishing.status === 'failed' && checks.signer.status === 'ok';
    });
    expect((await readHealth(service)).checks.publishing.errors[0]).toContain(`s3://${bucket} at ${relay.endpoint}`);
    expect(await readMetric(service, publishedSizeOf('signals'))).toBe(3);
    expect(await readMetric(service, 'daybook_unanchored_entries{log="signals"}')).toBe(300);

    relay.set('open');
    await waitUntil('303 are published', async () => (await readMetric(service, publishedSizeOf('signals'))) === 303);
    await waitUntil('health is well', async () => (await readHealth(service)).checks.publishing.status === 'ok');
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('best-effort: a node starts without it and publishes once it is there', async () => {
    await using relay = await startTcpRelay(server.endpoint);
    relay.set('cut');
    const bucket = await createTestBucket(client, 'plain');
    const environment = { ...fast, DAYBOOK_S3_BUCKET: bucket, DAYBOOK_S3_ENDPOINT: relay.endpoint };
    await using service = await startTestService({ environment });
    await using session = await openSession(service.database.urls.application);
    await session.run(insertSignalsSql(2));
    await waitUntil('the checkpoint covers 2', async () => (await readMetric(service, sizeOf('signals'))) === 2);
    relay.set('open');
    await waitUntil('2 are published', async () => (await readMetric(service, publishedSizeOf('signals'))) === 2);
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('best-effort: a node that never saw a checkpoint signs nothing before it could look into the store', async () => {
    await using relay = await startTcpRelay(server.endpoint);
    const bucket = await createTestBucket(client, 'versioned');
    const environment = {
      ...fast,
      DAYBOOK_S3_BUCKET: bucket,
      DAYBOOK_S3_ENDPOINT: relay.endpoint,
      DAYBOOK_MASTER_KEY: '11'.repeat(32),
    };
    await using database = await createTestDatabase();
    await using session = await openSession(database.urls.application);
    {
      await using before = await startTestService({ database, environment });
      await session.run(insertSignalsSql(3));
      await waitUntil('3 are published', async () => (await readMetric(before, publishedSizeOf('signals'))) === 3);
    }
    relay.set('cut');
    await session.run(insertSignalsSql(5));
    await using fresh = await startTestService({ database, environment });
    const { signer } = fresh.context.services.proofs;
    await waitUntil('it says why it does not sign', () => signer.state('signals').lastError?.includes('object store'));
    expect((await readHealth(fresh)).checks.signer.status).toBe('failed');
    expect(await session.value("SELECT max(tree_size) FROM checkpoints WHERE log = 'signals'")).toBe('3');
    const { errors } = await fresh.call('{ inclusionProof(log: SIGNALS, index: "7") { hashes } }');
    expect(errors?.[0]?.extensions).toMatchObject({ code: 'NOT_YET_SIGNED', retryable: true });

    relay.set('open');
    await waitUntil('it signs', async () => (await readMetric(fresh, sizeOf('signals'))) === 8);
    await waitUntil('8 are published', async () => (await readMetric(fresh, publishedSizeOf('signals'))) === 8);
    await expectLedgerIntact(database.urls.auditor);
  });

  test.each([
    ['the server cannot be reached', 'OBJECT_STORE_UNAVAILABLE'],
    ['the bucket does not exist', 'OBJECT_STORE_REFUSED'],
  ])('required: a node does not start where %s, and says %s', async (what, code) => {
    await using relay = await startTcpRelay(server.endpoint);
    const bucket = await createTestBucket(client, 'versioned');
    const environment = {
      ...fast,
      DAYBOOK_S3_BUCKET: bucket,
      DAYBOOK_S3_ENDPOINT: relay.endpoint,
      DAYBOOK_ANCHOR_STORE: 'required',
    };
    await using database = await createTestDatabase();
    const wrong = what.startsWith('the bucket') ? { DAYBOOK_S3_BUCKET: 'no-such-bucket' } : {};
    if (what.startsWith('the server')) relay.set('cut');
    await expect(startTestService({ database, environment: { ...environment, ...wrong } })).rejects.toMatchObject({
      code,
    });
    relay.set('open');
    await using service = await startTestService({ database, environment });
    expect((await service.call('{ verifierKeys }')).errors).toBeUndefined();
    await expectLedgerIntact(database.urls.auditor);
  });

  test('the loss of the database connection in the middle of a publication does not end the node', async () => {
    await using relay = await startTcpRelay(server.endpoint);
    const bucket = await createTestBucket(client, 'versioned');
    const environment = { ...fast, DAYBOOK_S3_BUCKET: bucket, DAYBOOK_S3_ENDPOINT: relay.endpoint };
    await using service = await startTestService({ environment });
    await using session = await openSession(service.database.urls.application);
    await waitUntil('it publishes', async () => (await readMetric(service, publishedSizeOf('signals'))) === 0);
    await using owner = await openSession(service.database.urls.superuser);
    const holders = `FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'daybook publisher'
      AND state = 'idle in transaction' AND query LIKE '%pg_try_advisory_xact_lock%'`;
    relay.set('stalled');
    await session.run(insertSignalsSql(5));
    const held = await waitUntil('a publication waits for the store', () =>
      owner.value(`SELECT pid ${holders} LIMIT 1`),
    );
    expect(await owner.value(`SELECT pg_terminate_backend(pid) ${holders} AND pid = $1`, [held])).toBe(true);
    await waitUntil(
      'the connection is gone',
      async () => (await owner.value('SELECT count(*) FROM pg_stat_activity WHERE pid = $1', [held])) === '0',
    );
    relay.set('open');
    await waitUntil('5 are published', async () => (await readMetric(service, publishedSizeOf('signals'))) === 5);
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('two connections to the database are enough to publish both logs', async () => {
    const bucket = await createTestBucket(client, 'versioned');
    const environment = {
      ...fast,
      DAYBOOK_DATABASE_POOL: '2',
      DAYBOOK_S3_BUCKET: bucket,
      DAYBOOK_S3_ENDPOINT: server.endpoint,
    };
    await using service = await startTestService({ environment });
    await using session = await openSession(service.database.urls.application);
    for (let round = 1; round <= 5; round += 1) {
      await session.run(insertSignalsSql(300));
      await waitUntil(
        `${300 * round} are published`,
        async () => (await readMetric(service, publishedSizeOf('signals'))) === 300 * round,
      );
    }
    expect((await readHealth(service)).checks.publishing.errors).toEqual([]);
    await expectLedgerIntact(service.database.urls.auditor);
  });
});
