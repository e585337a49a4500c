import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  DeleteObjectCommand,
  GetObjectRetentionCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  type ObjectVersion,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseVerifierKey, type VerifierKey } from '../../src/core/verifier-key.js';
import { createPack } from '../../src/packs/create-packs.js';
import { runDailyPacks } from '../../src/packs/daily-packs.js';
import { fetchPack } from '../../src/packs/fetch-pack.js';
import { removeStoredPacks, type PackStoreOptions } from '../../src/packs/store-packs.js';
import { exitCodeOfPacks, verifyPacks } from '../../src/verifier/verify-packs.js';
import { createAgeKey, type AgeKey } from '../support/age-command.js';
import { createFolder } from '../support/evidence-packs.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { hasFakedClock } from '../support/faked-postgres.js';
import { startLedgerDays, type LedgerDays } from '../support/ledger-days.js';
import { hasObjectLockServer, startObjectLockServer, type ObjectLockServer } from '../support/object-lock-server.js';
import { runScript } from '../support/run-script.js';
import { insertEntriesSql, insertSignalsSql, openSession } from '../support/sql-session.js';
import { createTestBucket, provideCredentials, s3ClientOf } from '../support/test-bucket.js';
import { startTestService, type TestService } from '../support/test-service.js';

const prefix = 'ledger/one';
const lockDays = 400;
const dayMs = 86_400_000;
const caller = { actor: 'tester', role: null, ipAddress: null, userAgent: null, sessionId: 'test', requestId: 'r' };
const { signal } = new AbortController();

(hasFakedClock && hasObjectLockServer ? describe : describe.skip)('packs in a bucket with Object Lock', () => {
  let days: LedgerDays;
  let server: ObjectLockServer;
  let client: S3Client;
  let credentials: Disposable;
  let bucket: string;
  let service: TestService;
  let folder: Awaited<ReturnType<typeof createFolder>>;
  let reader: AgeKey;
  let keys: VerifierKey[];
  let environment: Record<string, string>;

  beforeAll(async () => {
    [days, server, folder] = await Promise.all([
      startLedgerDays(),
      startObjectLockServer(),
      createFolder('packs-object-lock'),
    ]);
    client = s3ClientOf(server);
    credentials = provideCredentials(server);
    bucket = await createTestBucket(client, 'locking');
    reader = await createAgeKey(folder.path, 'reader');
    environment = {
      DAYBOOK_CHECKPOINT_SECONDS: '0.05',
      DAYBOOK_JOBS: 'off',
      DAYBOOK_S3_BUCKET: bucket,
      DAYBOOK_S3_PREFIX: prefix,
      DAYBOOK_S3_ENDPOINT: server.endpoint,
      DAYBOOK_PACK_LOCK_DAYS: String(lockDays),
    };
    const database = await days.createDatabase();
    await days.goTo(0);
    service = await startTestService({ database, environment });
    await using session = await openSession(database.urls.application);
    await session.run(insertSignalsSql(20));
    await days.goTo(1);
    // A file of more than one part: 16 MiB.
    await session.run(insertEntriesSql(300, 'n'.repeat(60_000)));
    await days.goTo(2, '00:30:00');
    keys = ((await service.call('{ verifierKeys }')).data?.verifierKeys as string[]).map(parseVerifierKey);
  }, 180_000);

  afterAll(async () => {
    await expectLedgerIntact(service.database.urls.auditor);
    await service[Symbol.asyncDispose]();
    credentials[Symbol.dispose]();
    client.destroy();
    await folder[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await days[Symbol.asyncDispose]();
  });

  const storeOptions = (): PackStoreOptions => {
    const { packs, clock } = service.context.services;
    return { store: packs.store!, folder: packs.folder, lockDays, clock, log: service.context.log };
  };
  const listVersions = async (date: string): Promise<ObjectVersion[]> => {
    const answer = await client.send(
      new ListObjectVersionsCommand({ Bucket: bucket, Prefix: `${prefix}/packs/${date}/` }),
    );
    return answer.Versions ?? [];
  };

  test('lie there object by object, each locked for longer than they stay on the node', async () => {
    const { packs } = service.context.services;
    const encoding = { compression: 'gzip', recipients: [reader.recipient] } as const;
    await createPack(packs, { date: days.dateOf(0), kind: 'DAY', origin: caller, encoding, signal });
    await runDailyPacks({ services: packs, store: storeOptions(), keepDays: 90 }, signal);
    expect(await readdir(packs.folder)).toEqual([days.dateOf(0), days.dateOf(1)]);
    const sealed = await listVersions(days.dateOf(0));
    const large = await listVersions(days.dateOf(1));
    const names = (versions: ObjectVersion[]) => versions.map(({ Key = '' }) => Key.slice(Key.lastIndexOf('/') + 1));
    expect(names(sealed)).toEqual(expect.arrayContaining(['manifest.json', 'audit.checkpoint', 'orders.csv.gz.age']));
    expect(sealed).toHaveLength(15);
    expect(names(large)).toEqual(expect.arrayContaining(['audit.jsonl.00001', 'audit.jsonl.00002', 'manifest.json']));
    for (const { Key, VersionId } of [...sealed, ...large]) {
      const version = { Bucket: bucket, Key: Key!, VersionId };
      const { Retention } = await client.send(new GetObjectRetentionCommand(version));
      const daysLeft = (Retention!.RetainUntilDate!.getTime() - Date.now()) / dayMs;
      expect([Key, Retention!.Mode, Math.round(daysLeft)]).toEqual([Key, 'COMPLIANCE', lockDays]);
      await expect(client.send(new DeleteObjectCommand(version))).rejects.toMatchObject({ name: 'AccessDenied' });
    }
  });

  test('are removed from the node after its days, and come back whole, opened by their readers', async () => {
    const { packs } = service.context.services;
    const args = ['pack', '--json', '--date', days.dateOf(1), '--retention-days', '1'];
    const settings = {
      ...environment,
      DAYBOOK_DATA_DIR: service.context.config.dataDir,
      DATABASE_URL: service.database.urls.superuser,
      AWS_ACCESS_KEY_ID: server.accessKeyId,
      AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
    };
    // By the clock of the command both days are long over; the one it was asked for stays.
    const made = await runScript('src/main.ts', args, settings);
    expect({ ...made, stdout: JSON.parse(made.stdout) as unknown }).toMatchObject({
      exitCode: 0,
      stdout: { removed: [days.dateOf(0)] },
    });
    expect(await readdir(packs.folder)).toEqual([days.dateOf(1)]);
    const back = join(folder.path, 'back');
    const first = [
      'fetch-pack',
      '--date',
      days.dateOf(0),
      '--out',
      join(back, days.dateOf(0)),
      '--identity',
      reader.file,
    ];
    expect(await runScript('src/main.ts', first, settings)).toMatchObject({ exitCode: 0, stderr: '' });
    const second = { date: days.dateOf(1), folder: join(back, days.dateOf(1)), decoders: null };
    await fetchPack({ ...second, store: packs.store! });
    const found = await verifyPacks(back, keys);
    expect(found.packs.map(({ manifest, faults, sealed }) => [manifest?.export_date, faults, sealed])).toEqual([
      [days.dateOf(0), [], []],
      [days.dateOf(1), [], []],
    ]);
    expect(exitCodeOfPacks(found)).toBe(0);
    const other = ['pack', '--json', '--date', days.dateOf(0), '--encrypt-to', reader.recipient];
    const refused = await runScript('src/main.ts', other, settings);
    expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'BAD_USER_INPUT' } });
  });

  test('stay on the node, and are refused when fetched, where something else was laid over them', async () => {
    const { packs } = service.context.services;
    const date = days.dateOf(1);
    const lay = (name: string) =>
      client.send(new PutObjectCommand({ Bucket: bucket, Key: `${prefix}/packs/${date}/${name}`, Body: 'other' }));
    await lay('audit.jsonl.00002');
    await expect(
      fetchPack({ store: packs.store!, date, folder: join(folder.path, 'altered'), decoders: null }),
    ).rejects.toMatchObject({ code: 'OBJECT_CHANGED' });
    expect(await removeStoredPacks({ ...storeOptions(), keepDays: 1 }, days.dateOf(10))).toEqual([]);
    await lay('manifest.json');
    expect(await removeStoredPacks({ ...storeOptions(), keepDays: 1 }, days.dateOf(10))).toEqual([]);
    expect(await readdir(packs.folder)).toContain(date);
    const versions = (await listVersions(date)).filter(({ Key }) => Key!.endsWith('/manifest.json'));
    expect(versions).toHaveLength(2);
  });
});
