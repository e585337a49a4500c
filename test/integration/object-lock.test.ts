import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  PutObjectLockConfigurationCommand,
  PutObjectRetentionCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { confirmsRetention, type ObjectStore, type Retention } from '../../src/storage/object-store.js';
import { openS3Store } from '../../src/storage/s3-store.js';
import { hasObjectLockServer, startObjectLockServer, type ObjectLockServer } from '../support/object-lock-server.js';
import { findFreePort } from '../support/test-server.js';

const locked = 'with-object-lock';
const plain = 'without-object-lock';
const withDefault = 'with-default-retention';
const unavailable = expect.objectContaining({ code: 'OBJECT_STORE_UNAVAILABLE', retryable: true });
const refused = expect.objectContaining({ code: 'OBJECT_STORE_REFUSED', retryable: false });
const forbidden = expect.objectContaining({ name: 'AccessDenied' });
const inTenYears: Retention = { mode: 'COMPLIANCE', until: inYears(10) };

/** With microseconds, as the ledger tells time; stores keep milliseconds or seconds. */
function inYears(years: number): string {
  return new Date(Date.now() + years * 365 * 86_400_000).toISOString().replace(/\.\d{3}Z$/, '.123456Z');
}

async function collect(keys: AsyncIterable<string>): Promise<string[]> {
  const collected: string[] = [];
  for await (const key of keys) collected.push(key);
  return collected;
}

/** What each method rejects with; none may hang, and none may take an error for an absent object. */
async function callEach(store: ObjectStore): Promise<unknown[]> {
  const outcomes = await Promise.allSettled([
    store.read('key'),
    store.write('key', Buffer.of(1)),
    store.write('key', Buffer.of(1), { ifAbsent: true }),
    collect(store.list('')),
    store.remove(['key']),
    store.writeLocked('key', Buffer.of(1), inTenYears),
    store.readVersion('key', 'version'),
    store.describe(),
  ]);
  return outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason : 'no error'));
}

const eachOf = (error: unknown) => Array.from({ length: 8 }, () => error);

test.each<[string, boolean, Retention | null]>([
  ['the same', true, { mode: 'COMPLIANCE', until: '2030-01-01T00:00:00Z' }],
  ['a longer one', true, { mode: 'COMPLIANCE', until: '2030-01-01T00:00:00.000001Z' }],
  ['a shorter one', false, { mode: 'COMPLIANCE', until: '2029-12-31T23:59:59.999999Z' }],
  ['another mode', false, { mode: 'GOVERNANCE', until: '2031-01-01T00:00:00Z' }],
  ['none', false, null],
])('for an asked retention, %s confirms it: %j', (_what, confirms, seen) => {
  expect(confirmsRetention({ mode: 'COMPLIANCE', until: '2030-01-01T00:00:00Z' }, seen)).toBe(confirms);
});

test('a description names place and endpoint and holds no secret', () => {
  const credentials = { accessKeyId: 'access', secretAccessKey: 'secret' };
  const endpoint = 'https://user:secret@s3.example.org:9000/';
  expect(openS3Store({ bucket: 'b', prefix: 'p/q', endpoint, credentials }).description).toBe(
    's3://b/p/q at https://s3.example.org:9000',
  );
  expect(openS3Store({ bucket: 'b', region: 'eu-central-1', credentials }).description).toBe(
    's3://b at Amazon S3 in eu-central-1',
  );
});

test('a prefix that is no key is refused', () => {
  expect(() => openS3Store({ bucket: 'b', prefix: '../other' })).toThrow(TypeError);
  expect(() => openS3Store({ bucket: 'b', prefix: 'p/' })).toThrow(TypeError);
});

test('a server that is not there is unavailable', async () => {
  const endpoint = `http://127.0.0.1:${await findFreePort()}`;
  const credentials = { accessKeyId: 'a', secretAccessKey: 's' };
  await using store = openS3Store({ bucket: 'b', endpoint, credentials });
  expect(await callEach(store)).toEqual(eachOf(unavailable));
});

test.each([
  ['never answers', 'unavailable', () => undefined],
  ['stops in the middle of an answer', 'unavailable', 'stall'],
  ['is busy', 'unavailable', 503],
  ['says that we ask too often', 'unavailable', 429],
  ['is another kind of server', 'refused', 404],
] as const)('a server that %s is %s, within the time limit', async (_what, kind, behaviour) => {
  await using server = await startWebServer(behaviour);
  const credentials = { accessKeyId: 'a', secretAccessKey: 's' };
  await using store = openS3Store({ bucket: 'b', endpoint: server.endpoint, credentials, answerTimeoutMs: 500 });
  const error = kind === 'refused' ? refused : unavailable;
  if (behaviour === 'stall') {
    await expect(store.read('key')).rejects.toEqual(error);
  } else {
    expect(await callEach(store)).toEqual(eachOf(error));
  }
});

/** Speaks HTTP and is no store. */
async function startWebServer(behaviour: number | 'stall' | (() => undefined)) {
  const server = createServer((_request, response) => {
    if (typeof behaviour === 'number') {
      response.writeHead(behaviour, { 'content-type': 'text/html' }).end('<html><body>not a store</body></html>');
    } else if (behaviour === 'stall') {
      response.writeHead(200, { 'content-length': '1000', etag: '"e"' }).write('only a part');
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

(hasObjectLockServer ? describe : describe.skip)('on a store with Object Lock', () => {
  let server: ObjectLockServer;
  let client: S3Client;

  beforeAll(async () => {
    server = await startObjectLockServer();
    client = new S3Client({
      endpoint: server.endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: server,
    });
    for (const Bucket of [locked, plain, withDefault]) {
      await client.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: Bucket !== plain }));
    }
    const rule = { DefaultRetention: { Mode: 'COMPLIANCE', Days: 1 } } as const;
    const configuration = { ObjectLockEnabled: 'Enabled', Rule: rule } as const;
    await client.send(
      new PutObjectLockConfigurationCommand({ Bucket: withDefault, ObjectLockConfiguration: configuration }),
    );
  });

  afterAll(async () => {
    client?.destroy();
    await server?.[Symbol.asyncDispose]();
  });

  const open = (bucket: string, credentials: { accessKeyId: string; secretAccessKey: string } = server) =>
    openS3Store({ bucket, endpoint: server.endpoint, credentials });
  const text = (object: { bytes: Uint8Array } | null) => object && Buffer.from(object.bytes).toString();

  test('a locked version is confirmed, and neither its owner nor a bypass removes or shortens it', async () => {
    await using store = open(locked);
    const { versionId, retention } = await store.writeLocked('evidence/1', Buffer.from('first'), inTenYears);
    expect(confirmsRetention(inTenYears, retention)).toBe(true);
    const version = { Bucket: locked, Key: 'evidence/1', VersionId: versionId! };
    const sooner = { Mode: 'COMPLIANCE', RetainUntilDate: new Date(inYears(5)) } as const;
    const weaker = { Mode: 'GOVERNANCE', RetainUntilDate: new Date(inYears(10)) } as const;
    const bypass = { BypassGovernanceRetention: true };
    for (const attempt of [
      () => client.send(new DeleteObjectCommand(version)),
      () => client.send(new DeleteObjectCommand({ ...version, ...bypass })),
      () => client.send(new PutObjectRetentionCommand({ ...version, Retention: sooner })),
      () => client.send(new PutObjectRetentionCommand({ ...version, Retention: sooner, ...bypass })),
      () => client.send(new PutObjectRetentionCommand({ ...version, Retention: weaker, ...bypass })),
    ]) {
      await expect(attempt()).rejects.toEqual(forbidden);
    }
    expect(await store.readVersion('evidence/1', versionId!)).toMatchObject({ versionId, retention });
  });

  test('later versions and a removal leave a locked version as it was', async () => {
    await using store = open(locked);
    const first = await store.writeLocked('evidence/2', Buffer.from('first'), inTenYears);
    const second = await store.writeLocked('evidence/2', Buffer.from('second'), { ...inTenYears, until: inYears(1) });
    expect(second.versionId).not.toBe(first.versionId);
    expect(text(await store.read('evidence/2'))).toBe('second');
    await store.remove(['evidence/2']);
    expect(await store.read('evidence/2')).toBeNull();
    expect(await collect(store.list('evidence/2'))).toEqual([]);
    const kept = await store.readVersion('evidence/2', first.versionId!);
    expect(text(kept)).toBe('first');
    expect(kept).toMatchObject(first);
    const { DeleteMarkers } = await client.send(
      new ListObjectVersionsCommand({ Bucket: locked, Prefix: 'evidence/2' }),
    );
    expect(await store.readVersion('evidence/2', DeleteMarkers![0]!.VersionId!)).toBeNull();
  });

  test('a version without a lock says so', async () => {
    await using store = open(locked);
    const { versionId } = await store.write('ordinary', Buffer.of(1));
    expect(await store.readVersion('ordinary', versionId!)).toMatchObject({ versionId, retention: null });
  });

  test('a bucket without Object Lock does not take a locked object', async () => {
    await using store = open(plain);
    await expect(store.writeLocked('evidence/1', Buffer.of(1), inTenYears)).rejects.toMatchObject({
      code: 'OBJECT_LOCK_UNCONFIRMED',
    });
    expect(await store.read('evidence/1')).toBeNull();
  });

  test('a lock that would be over already is refused', async () => {
    await using store = open(locked);
    const over = { mode: 'COMPLIANCE', until: '2020-01-01T00:00:00Z' } as const;
    await expect(store.writeLocked('evidence/3', Buffer.of(1), over)).rejects.toEqual(refused);
    expect(await store.read('evidence/3')).toBeNull();
  });

  test('what lost a race and was not withdrawn is not built upon', async () => {
    await using store = open(locked);
    const first = await store.write('race', Buffer.from('first'));
    await store.write('race', Buffer.from('winner'), { ifMatch: first.etag });
    // As a process leaves it that ends between its write and the withdrawal.
    const loser = { Bucket: locked, Key: 'race', Body: 'loser', Metadata: { 'daybook-replaces': first.versionId! } };
    await client.send(new PutObjectCommand(loser));
    const { etag, versionId } = (await store.read('race'))!;
    await expect(store.write('race', Buffer.from('next'), { ifMatch: etag })).rejects.toMatchObject({
      code: 'OBJECT_CHANGED',
    });
    await client.send(new DeleteObjectCommand({ Bucket: locked, Key: 'race', VersionId: versionId! }));
    expect(text(await store.read('race'))).toBe('winner');
    await store.write('race', Buffer.from('next'), { ifMatch: (await store.read('race'))!.etag });
  });

  test('an object stays replaceable once the version before it has expired', async () => {
    await using store = open(locked);
    const first = await store.write('expired', Buffer.from('first'));
    const second = await store.write('expired', Buffer.from('second'), { ifMatch: first.etag });
    await client.send(new DeleteObjectCommand({ Bucket: locked, Key: 'expired', VersionId: first.versionId! }));
    await store.write('expired', Buffer.from('third'), { ifMatch: second.etag });
    expect(text(await store.read('expired'))).toBe('third');
  });

  test('a default retention that keeps losers from withdrawing is reported, and no loser is told that it won', async () => {
    await using store = open(withDefault);
    const creators = Array.from({ length: 8 }, (_, place) =>
      store.write('created', Buffer.from(String(place)), { ifAbsent: true }),
    );
    const outcomes = await Promise.allSettled(creators);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const codes = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason.code] : []));
    expect(codes).toContain('OBJECT_STORE_REFUSED');
  });

  test('a bucket of more than one page is listed and removed to its end', async () => {
    await using store = open(plain);
    const keys = Array.from({ length: 1_010 }, (_, index) => `many/${String(index).padStart(4, '0')}`);
    for (let start = 0; start < keys.length; start += 50) {
      await Promise.all(keys.slice(start, start + 50).map((key) => store.write(key, Buffer.of(1))));
    }
    await client.send(new PutObjectCommand({ Bucket: plain, Key: 'many/', Body: 'a mark that a console made' }));
    expect(await collect(store.list('many/'))).toEqual(keys);
    await store.remove(keys);
    expect(await collect(store.list('many/'))).toEqual([]);
  });

  test('the media type is stored with the object', async () => {
    await using store = open(plain);
    await store.write('page', Buffer.from('<p>'), { contentType: 'text/html' });
    const facts = await client.send(new HeadObjectCommand({ Bucket: plain, Key: 'page' }));
    expect(facts.ContentType).toBe('text/html');
  });

  test('an unknown key, a wrong secret and a missing bucket are refused, and nothing is taken for absent', async () => {
    const { accessKeyId, secretAccessKey } = server;
    for (const store of [
      open(plain, { accessKeyId: 'UNKNOWN', secretAccessKey }),
      open(plain, { accessKeyId, secretAccessKey: 'wrong' }),
      open('no-such-bucket'),
    ]) {
      expect(await callEach(store)).toEqual(eachOf(refused));
      await store[Symbol.asyncDispose]();
    }
  });

  // The last one: it takes the server away.
  test('a server that goes away is unavailable', async () => {
    await using store = open(locked);
    await store.write('before', Buffer.of(1));
    await server.killGateway();
    expect(await callEach(store)).toEqual(eachOf(unavailable));
  });
});
