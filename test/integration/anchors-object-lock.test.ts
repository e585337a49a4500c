import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  GetObjectRetentionCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readAnchorTasks } from '../../src/anchors/anchor.js';
import { rootKey, storeAnchor } from '../../src/anchors/store-anchor.js';
import { encodeUtf8 } from '../../src/core/bytes.js';
import { encodeNote } from '../../src/core/signed-note.js';
import { parseVerifierKey } from '../../src/core/verifier-key.js';
import { openStore } from '../../src/open-proofs.js';
import { storeLayout } from '../../src/storage/layout-of-store.js';
import { openS3Store } from '../../src/storage/s3-store.js';
import { verifyLayout } from '../../src/verifier/verify-layout.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { hasFakedClock } from '../support/faked-postgres.js';
import {
  anchorDue,
  checkFully,
  readEntries,
  readRoots,
  rootOf,
  sealAll,
  startLedgerDays,
  type LedgerDays,
} from '../support/ledger-days.js';
import { hasObjectLockServer, startObjectLockServer, type ObjectLockServer } from '../support/object-lock-server.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { createTestBucket, provideCredentials, s3ClientOf, type BucketKind } from '../support/test-bucket.js';
import { createNoteSigner } from '../support/note-signer.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const prefix = 'ledger/one';
const retentionDays = 30;
const forbidden = expect.objectContaining({ name: 'AccessDenied' });

let days: LedgerDays;
let server: ObjectLockServer;
let client: S3Client;
let credentials: Disposable;

beforeAll(async () => {
  if (!hasFakedClock || !hasObjectLockServer) return;
  [days, server] = await Promise.all([startLedgerDays(), startObjectLockServer()]);
  client = s3ClientOf(server);
  credentials = provideCredentials(server);
});

afterAll(async () => {
  credentials?.[Symbol.dispose]();
  client?.destroy();
  await server?.[Symbol.asyncDispose]();
  await days?.[Symbol.asyncDispose]();
});

function environmentOf(bucket: string): Record<string, string> {
  return {
    DAYBOOK_CHECKPOINT_SECONDS: '0.05',
    DAYBOOK_PUBLISH_SECONDS: '0.05',
    DAYBOOK_MASTER_KEY: '11'.repeat(32),
    DAYBOOK_JOBS: 'off',
    DAYBOOK_S3_BUCKET: bucket,
    DAYBOOK_S3_PREFIX: prefix,
    DAYBOOK_S3_ENDPOINT: server.endpoint,
    DAYBOOK_ROOT_RETENTION_DAYS: String(retentionDays),
  };
}

/** A service that wrote on day 0 and is on day 1, with nothing sealed yet. */
async function startOnDayOne(bucket: string, changes: Record<string, string> = {}): Promise<TestService> {
  await days.goTo(0);
  const database = await days.createDatabase();
  const service = await startTestService({ database, environment: { ...environmentOf(bucket), ...changes } });
  await using session = await openSession(database.urls.application);
  await session.run(insertSignalsSql(300));
  await days.goTo(1, '00:05:00');
  return service;
}

const keyOf = (log: string, date: string) => `${prefix}/${rootKey({ log, date }, 'checkpoint')}`;

async function listVersions(bucket: string, key: string) {
  const { Versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket: bucket, Prefix: key }));
  return Versions;
}

async function readText(bucket: string, key: string, version?: string): Promise<string> {
  const answer = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key, VersionId: version }));
  return answer.Body!.transformToString();
}

const suite = hasFakedClock && hasObjectLockServer ? describe : describe.skip;

suite("a day's root in a bucket with Object Lock", () => {
  test('is locked until its retention ends, and neither its owner nor a bypass removes it', async () => {
    const bucket = await createTestBucket(client, 'locking');
    await using service = await startOnDayOne(bucket);
    const sealed = await sealAll(service);
    expect(await anchorDue(service)).toMatchObject({ anchored: 2, failed: 0 });
    for (const log of ['SIGNALS', 'AUDIT'] as const) {
      const { anchors, checkpoint } = rootOf(await readRoots(service), log, days.dateOf(0));
      expect(anchors).toMatchObject([{ kind: 'object-store', status: 'ANCHORED', error: null }]);
      const version = {
        Bucket: bucket,
        Key: keyOf(log.toLowerCase(), days.dateOf(0)),
        VersionId: anchors[0]!.reference!,
      };
      expect(await readText(bucket, version.Key, version.VersionId)).toBe(checkpoint);
      const { Retention } = await client.send(new GetObjectRetentionCommand(version));
      expect(Retention?.Mode).toBe('COMPLIANCE');
      const until = Retention!.RetainUntilDate!.toISOString();
      expect(until.slice(0, 16)).toBe(`${days.dateOf(1 + retentionDays)}T00:05`);
      for (const bypass of [{}, { BypassGovernanceRetention: true }]) {
        await expect(client.send(new DeleteObjectCommand({ ...version, ...bypass }))).rejects.toEqual(forbidden);
      }
    }
    expect(sealed).toHaveLength(2);
    expect(await readEntries(service, 'MerkleRootAnchored')).toHaveLength(2);
    expect(await checkFully(service)).toEqual({ result: 'OK', codes: [], messages: '' });
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('stays what it is under a later upload, which a full check reports', async () => {
    const bucket = await createTestBucket(client, 'locking');
    await using service = await startOnDayOne(bucket);
    await sealAll(service);
    await anchorDue(service);
    const date = days.dateOf(0);
    const { checkpoint, anchors } = rootOf(await readRoots(service), 'SIGNALS', date);
    const Key = keyOf('signals', date);
    await using session = await openSession(service.database.urls.application);
    await session.run(insertSignalsSql(1));
    await waitUntil('it is published', () => (service.context.health.proofs() as any).signals.publishedSize === 301);
    const replace = (Body: string) => client.send(new PutObjectCommand({ Bucket: bucket, Key, Body }));
    await using store = openStore(service.context.config)!;
    const reader = storeLayout(store, 'signals');

    // The same root, signed by somebody else.
    const text = checkpoint.slice(0, checkpoint.indexOf('\n\n') + 1);
    const stranger = createNoteSigner('daybook.local/signals', 9);
    await replace(encodeNote({ text, signatures: [stranger.sign(text)] }));
    const kept = await store.readVersion(rootKey({ log: 'signals', date }, 'checkpoint'), anchors[0]!.reference!);
    expect(Buffer.from(kept!.bytes).toString()).toBe(checkpoint);
    expect(await checkFully(service)).toMatchObject({ result: 'FAILED', codes: ['UNKNOWN_KEY'] });

    // Another root of so many entries.
    const forged = text.replace(/^.{43}=$/m, `${'A'.repeat(43)}=`);
    await replace(encodeNote({ text: forged, signatures: [stranger.sign(forged)] }));
    expect((await checkFully(service)).codes).toEqual(['CHECKPOINT_INCONSISTENT', 'UNKNOWN_KEY']);

    await replace('no note at all');
    const found = await checkFully(service);
    expect(found).toMatchObject({ result: 'FAILED', codes: ['CHECKPOINT_MALFORMED'] });
    expect(found.messages).toContain(rootKey({ log: 'signals', date }, 'checkpoint'));

    // A true checkpoint of another size contradicts nothing but its name: that is for whoever verifies the layout.
    const newest = await service.call('{ checkpoint(log: SIGNALS) { treeSize note } }');
    expect(newest.data?.checkpoint.treeSize).toBe('301');
    await replace(newest.data?.checkpoint.note);
    expect(await checkFully(service)).toEqual({ result: 'OK', codes: [], messages: '' });
    expect((await verifyLayout({ reader, keys: [] })).breaks.map(({ code }) => code)).toEqual(['ROOT_MISMATCH']);

    // A mark of removal hides it from a list, not from whoever knows its version.
    await client.send(new DeleteObjectCommand({ Bucket: bucket, Key }));
    expect(await checkFully(service)).toEqual({ result: 'OK', codes: [], messages: '' });
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('is not uploaded twice after a crash between the upload and its record', async () => {
    const bucket = await createTestBucket(client, 'locking');
    await using service = await startOnDayOne(bucket);
    await sealAll(service);
    await using store = openStore(service.context.config)!;
    const anchor = storeAnchor({ store, mode: 'best-effort', retentionDays, clock: { nowMs: () => Date.now() } });
    const tasks = await readAnchorTasks(service.context.services.database, 'PENDING', null, 10);
    const references = new Map<string, string>();
    for (const { root } of tasks) {
      // What a process does that ends before it records the version.
      references.set(root.log.toUpperCase(), (await anchor.anchor(root, AbortSignal.timeout(10_000))).reference);
    }
    expect(await anchorDue(service)).toMatchObject({ anchored: 2, failed: 0 });
    for (const { log, date, anchors } of await readRoots(service)) {
      expect(anchors[0]!.reference).toBe(references.get(log));
      expect(await listVersions(bucket, keyOf(log.toLowerCase(), date))).toHaveLength(1);
    }
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('is refused where another root lies in its place, with the reason in the open', async () => {
    const bucket = await createTestBucket(client, 'locking');
    await using service = await startOnDayOne(bucket);
    const foreign = { Bucket: bucket, Key: keyOf('audit', days.dateOf(0)), Body: 'the root of another ledger' };
    await client.send(new PutObjectCommand(foreign));
    await sealAll(service);
    expect(await anchorDue(service)).toMatchObject({ anchored: 1, failed: 1, forks: [{ log: 'audit' }] });
    const [pending] = rootOf(await readRoots(service), 'AUDIT', days.dateOf(0)).anchors;
    expect(pending).toMatchObject({ status: 'PENDING', reference: null });
    expect(pending!.error).toContain('holds another root');
    expect(await readEntries(service, 'AnchorFailed')).toMatchObject([{ outcome: 'ANCHOR_REFUSED' }]);
    expect(await listVersions(bucket, foreign.Key)).toHaveLength(1);
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('lies beside the published log, which the verifier finds intact with its roots', async () => {
    const bucket = await createTestBucket(client, 'locking');
    await using service = await startOnDayOne(bucket);
    await sealAll(service);
    await anchorDue(service);
    const { data } = await service.call('{ verifierKeys }');
    const keys = (data?.verifierKeys as string[]).map(parseVerifierKey);
    await waitUntil('everything signed is published', () => {
      const logs = Object.values(service.context.health.proofs()) as any[];
      return logs.every(({ newestSize, publishedSize }) => newestSize === publishedSize);
    });
    await using store = openS3Store({ bucket, prefix, endpoint: server.endpoint, credentials: server });
    for (const log of ['signals', 'audit'] as const) {
      const found = await verifyLayout({ reader: storeLayout(store, log), keys, origin: `daybook.local/${log}` });
      expect(found).toMatchObject({ signer: 'verified', breaks: [], roots: { roots: 1, firstDate: days.dateOf(0) } });
      expect(found.entries).toBeGreaterThanOrEqual(log === 'signals' ? 300 : 1);
    }
    // The latest version is what others read, so it is what the verifier looks at.
    await store.write(rootKey({ log: 'signals', date: days.dateOf(0) }, 'checkpoint'), encodeUtf8('no note\n'));
    const broken = await verifyLayout({ reader: storeLayout(store, 'signals'), keys });
    expect(broken.breaks.map(({ code }) => code)).toContain('CHECKPOINT_MALFORMED');
    await expectLedgerIntact(service.database.urls.auditor);
  });
});

suite('in a bucket that cannot lock', () => {
  test.each<[BucketKind, string]>([
    ['versioned', 'under its version'],
    ['plain', 'under its key alone'],
  ])('of the kind %s the root is kept %s, once, and its change or loss is found', async (kind) => {
    const bucket = await createTestBucket(client, kind);
    await using service = await startOnDayOne(bucket, { DAYBOOK_ANCHOR_STORE: 'required' });
    await sealAll(service);
    await using store = openStore(service.context.config)!;
    const anchor = storeAnchor({ store, mode: 'required', retentionDays, clock: { nowMs: () => Date.now() } });
    for (const { root } of await readAnchorTasks(service.context.services.database, 'PENDING', null, 10)) {
      await anchor.anchor(root, AbortSignal.timeout(10_000));
    }
    expect(await anchorDue(service)).toMatchObject({ anchored: 2, failed: 0 });
    const { anchors, checkpoint, date } = rootOf(await readRoots(service), 'SIGNALS', days.dateOf(0));
    const Key = keyOf('signals', date);
    const versions = await listVersions(bucket, Key);
    expect(versions).toHaveLength(1);
    const { reference } = anchors[0]!;
    expect(reference).toBe(kind === 'plain' ? 'unversioned' : versions[0]!.VersionId);
    expect(await readText(bucket, Key)).toBe(checkpoint);
    expect(await checkFully(service)).toMatchObject({ result: 'OK' });

    await client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: 'no note at all' }));
    const changed = kind === 'plain' ? ['ANCHOR_MISMATCH', 'CHECKPOINT_MALFORMED'] : ['CHECKPOINT_MALFORMED'];
    expect(await checkFully(service)).toMatchObject({ result: 'FAILED', codes: changed });
    const version = kind === 'plain' ? {} : { VersionId: reference! };
    await client.send(new DeleteObjectCommand({ Bucket: bucket, Key, ...version }));
    const lost = await checkFully(service);
    expect(lost.result).toBe('FAILED');
    expect(lost.codes).toContain('ANCHOR_MISSING');
    await expectLedgerIntact(service.database.urls.auditor);
  });
});

suite('the jobs of a node', () => {
  test('seal what ended while no node ran, and anchor it', async () => {
    const bucket = await createTestBucket(client, 'locking');
    const dataDir = await mkdtemp(join(tmpdir(), 'daybook-anchors-'));
    try {
      const { database } = await (async () => {
        await using before = await startOnDayOne(bucket, { DAYBOOK_DATA_DIR: dataDir });
        return before;
      })();
      await days.goTo(3, '00:05:00');
      const environment = { ...environmentOf(bucket), DAYBOOK_DATA_DIR: dataDir, DAYBOOK_JOBS: 'on' };
      await using service = await startTestService({ database, environment });
      await waitUntil('three days of both logs are anchored', async () => {
        const roots = await readRoots(service);
        return roots.length === 6 && roots.every(({ anchors }) => anchors.every(({ status }) => status === 'ANCHORED'));
      });
      expect((await checkFully(service)).result).toBe('OK');
      await expectLedgerIntact(database.urls.auditor);
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  });
});
