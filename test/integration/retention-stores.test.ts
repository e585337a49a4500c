import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DeleteObjectCommand, ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { withConnection } from '../../src/db/admin-connection.js';
import { DaybookError } from '../../src/errors.js';
import { createArchives } from '../../src/retention/create-archives.js';
import { purgeArchived } from '../../src/retention/purge-archived.js';
import { openDirectoryStore } from '../../src/storage/directory-store.js';
import type { ObjectStore } from '../../src/storage/object-store.js';
import { hasDebianPostgres, startDebianPostgres } from '../support/debian-postgres.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { hasObjectLockServer, startObjectLockServer } from '../support/object-lock-server.js';
import {
  archiveOld,
  checkInFull,
  fillLog,
  purgeOld,
  retentionOrigin,
  shortRetention,
} from '../support/retained-log.js';
import { openSession } from '../support/sql-session.js';
import { createTestBucket, provideCredentials, s3ClientOf } from '../support/test-bucket.js';
import { startTestService, type TestService } from '../support/test-service.js';

const never = new AbortController().signal;

describe('a store that', () => {
  let service: TestService;
  let store: ObjectStore;

  beforeAll(async () => {
    service = await startTestService({ environment: shortRetention });
    store = service.context.services.retention.store!;
    await fillLog(service, 600);
  });

  afterAll(async () => {
    await expectLedgerIntact(service.database.urls.auditor);
    await service[Symbol.asyncDispose]();
  });

  /** The node's store with some of its methods lying. */
  const lying = (lies: Partial<ObjectStore>): ObjectStore =>
    Object.assign(Object.create(store) as ObjectStore, {
      read: (key: string) => store.read(key),
      write: (key: string, bytes: Uint8Array) => store.write(key, bytes),
      describe: () => store.describe(),
      ...lies,
    });
  const services = (other: ObjectStore) => ({ ...service.context.services.retention, store: other });
  const onRecord = async () => {
    await using session = await openSession(service.database.urls.auditor);
    return Number(await session.value('SELECT count(*) FROM public.log_archives'));
  };
  const altered = (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, place) => (place === 40 ? byte ^ 1 : byte));

  test.each<[string, string, Partial<ObjectStore>]>([
    ['says it has what it threw away', 'NOT_FOUND', { write: () => Promise.resolve({ etag: 'e', versionId: null }) }],
    ['alters what it stores', 'OBJECT_CHANGED', { write: (key, bytes) => store.write(key, altered(bytes)) }],
    [
      'gives back something else',
      'OBJECT_CHANGED',
      { read: async (key) => ({ ...(await store.read(key))!, bytes: Buffer.from('{}') }) },
    ],
    [
      'refuses',
      'OBJECT_STORE_REFUSED',
      { write: () => Promise.reject(new DaybookError('OBJECT_STORE_REFUSED', 'the bucket is not ours')) },
    ],
  ])('%s has no archive on record', async (_what, code, lies) => {
    await expect(createArchives(services(lying(lies)), retentionOrigin(), never)).rejects.toMatchObject({ code });
    expect(await onRecord()).toBe(0);
  });

  test('lost or altered an archive, or is another one by now, has nothing removed; the full check finds it', async () => {
    const [made] = await archiveOld(service);
    const path = join(service.context.config.store.folder, made!.objectKey);
    const bytes = await readFile(path);
    const codes = async () => (await checkInFull(service)).breaks.map(({ code }) => code);
    const refused = async (code: string) => {
      await expect(purgeOld(service)).rejects.toMatchObject({ code });
      await using session = await openSession(service.database.urls.auditor);
      expect(await session.value('SELECT min(chain_index) FROM public.audit_entries')).toBe('0');
    };
    await rename(path, `${path}.away`);
    await refused('NOT_FOUND');
    expect(await codes()).toEqual(['ARCHIVE_MISSING']);
    await writeFile(path, altered(bytes));
    await refused('OBJECT_CHANGED');
    expect(await codes()).toEqual(['ARCHIVE_MISMATCH']);
    await rm(path);
    await rename(`${path}.away`, path);
    const elsewhere = join(service.context.config.dataDir, 'elsewhere');
    await mkdir(elsewhere);
    await using other = openDirectoryStore(elsewhere);
    await expect(purgeArchived(services(other), retentionOrigin(), never)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await purgeOld(service)).entries).toBe(512);
    expect(await codes()).toEqual([]);
  });
});

(hasObjectLockServer ? test : test.skip)(
  'archives in a bucket with Object Lock stay whoever deletes them',
  async () => {
    await using server = await startObjectLockServer();
    using _credentials = provideCredentials(server);
    const client = s3ClientOf(server);
    try {
      const bucket = await createTestBucket(client, 'locking');
      const environment = { ...shortRetention, DAYBOOK_S3_BUCKET: bucket, DAYBOOK_S3_ENDPOINT: server.endpoint };
      await using service = await startTestService({ environment });
      await fillLog(service, 600);
      const [made] = await archiveOld(service);
      const listed = await client.send(new ListObjectVersionsCommand({ Bucket: bucket, Prefix: 'archives/' }));
      const [version] = listed.Versions ?? [];
      expect(version?.Key).toBe(made!.objectKey);
      const remove = new DeleteObjectCommand({ Bucket: bucket, Key: made!.objectKey, VersionId: version!.VersionId });
      await expect(client.send(remove)).rejects.toMatchObject({ name: 'AccessDenied' });
      // Without a version a marker hides it: the archive is read by the version on record.
      await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: made!.objectKey }));
      expect((await purgeOld(service)).entries).toBe(512);
      const restore =
        'mutation { restoreArchives(input: { firstIndex: "0", lastIndex: "1", reason: "a reason of its own" }) { archives { state } } }';
      expect((await service.call(restore)).data?.restoreArchives.archives).toEqual([{ state: 'RESTORED' }]);
      await expectLedgerIntact(service.database.urls.auditor);
    } finally {
      client.destroy();
    }
  },
);

(hasDebianPostgres ? test : test.skip)('PostgreSQL 15 and a single role archive, remove and bring back', async () => {
  await using server = await startDebianPostgres();
  await withConnection(server.url, async (admin) => {
    await admin.query("CREATE ROLE plain LOGIN PASSWORD 'plain'");
    await admin.query("CREATE DATABASE single TEMPLATE template0 ENCODING 'UTF8' OWNER plain");
  });
  const url = new URL('/single', server.url);
  [url.username, url.password] = ['plain', 'plain'];
  const { href } = url;
  const urls = { superuser: href, migrator: href, application: href, auditor: href, attemptWriter: href, owner: href };
  const database = { name: 'single', urls, [Symbol.asyncDispose]: () => Promise.resolve() };
  await using service = await startTestService({ database, environment: shortRetention });
  await fillLog(service, 600);
  expect(await archiveOld(service)).toHaveLength(1);
  expect((await purgeOld(service)).entries).toBe(512);
  await using session = await openSession(href);
  expect((await session.failure('DELETE FROM public.audit_entries')).code).toBe('DB001');
  const restore =
    'mutation { restoreArchives(input: { firstIndex: "0", lastIndex: "1", reason: "a reason of its own" }) { archives { state } } }';
  expect((await service.call(restore)).data?.restoreArchives.archives).toEqual([{ state: 'RESTORED' }]);
  expect(await checkInFull(service)).toMatchObject({ result: 'OK', breaks: [] });
  await expectLedgerIntact(href);
});
