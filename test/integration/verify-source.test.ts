import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { verifySource, type VerifySourceOptions } from '../../src/cli/verify-source.js';
import { openS3Store } from '../../src/storage/s3-store.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { createNoteSigner } from '../support/note-signer.js';
import { hasObjectLockServer, startObjectLockServer, type ObjectLockServer } from '../support/object-lock-server.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { createTestBucket, provideCredentials, s3ClientOf } from '../support/test-bucket.js';
import { findFreePort } from '../support/test-server.js';
import { adminKey, startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const fast = { DAYBOOK_CHECKPOINT_SECONDS: '0.05', DAYBOOK_PUBLISH_SECONDS: '0.05', DAYBOOK_JOBS: 'off' };

let folder: string;
let keyFile: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daybook-sources-'));
  keyFile = join(folder, 'api-key');
  await writeFile(keyFile, `${adminKey}\n`);
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs it as the command line does, with what it prints. */
async function verify(source: string, changes: Partial<VerifySourceOptions> = {}): Promise<Outcome> {
  const printed = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    jest.spyOn(process[name], 'write').mockImplementation((text: unknown) => {
      printed[name] += String(text);
      return true;
    }),
  );
  try {
    const signal = new AbortController().signal;
    const exitCode = await verifySource(source, { keys: [], json: false, signal, ...changes });
    return { exitCode, ...printed };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

async function verifyAsJson(source: string, changes: Partial<VerifySourceOptions> = {}) {
  const { exitCode, stdout } = await verify(source, { json: true, ...changes });
  const found: any = JSON.parse(stdout);
  return { exitCode, found };
}

/** Writes 300 signals, and waits until both logs are published as far as they are signed. */
async function fill(service: TestService): Promise<string[]> {
  await using session = await openSession(service.database.urls.application);
  await session.run(insertSignalsSql(300));
  await waitUntil('300 signals and their entries are published', () => {
    const { signals, audit } = service.context.health.proofs() as any;
    return signals.publishedSize === 300 && audit.publishedSize >= 300;
  });
  return (await service.call('{ verifierKeys }')).data?.verifierKeys as string[];
}

describe('the logs in a folder', () => {
  let service: TestService;
  let store: string;
  let keys: string[];

  beforeAll(async () => {
    store = join(folder, 'store');
    service = await startTestService({ environment: { ...fast, DAYBOOK_STORE_DIR: store } });
    keys = await fill(service);
  });

  afterAll(async () => {
    await expectLedgerIntact(service.database.urls.auditor);
    await service[Symbol.asyncDispose]();
  });

  /** A copy of what is published, for tests that damage it. */
  async function copyStore(): Promise<string> {
    const copy = await mkdtemp(join(folder, 'copy-'));
    // The service goes on publishing: what it is still writing lies under names of its own and vanishes.
    await cp(store, copy, { recursive: true, filter: (source) => !basename(source).startsWith('.daybook-') });
    return copy;
  }

  test('are both verified under their pinned keys', async () => {
    const { exitCode, stdout, stderr } = await verify(store, { keys });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toContain('log          daybook.local/signals\n');
    expect(stdout).toContain('log          daybook.local/audit\n');
    expect(stdout.match(/^intact$/gm)).toHaveLength(2);
  });

  test('are one JSON value', async () => {
    const { exitCode, found } = await verifyAsJson(store, { keys });
    expect(exitCode).toBe(0);
    expect(found).toMatchObject({
      intact: true,
      logs: [
        { log: 'signals', intact: true, entries: 300, origin: 'daybook.local/signals', originExpected: true },
        { log: 'audit', intact: true, origin: 'daybook.local/audit', signer: 'verified' },
      ],
    });
  });

  test('may be one alone, named or by its own place', async () => {
    const named = await verifyAsJson(store, { keys, log: 'audit' });
    expect(named).toMatchObject({ exitCode: 0, found: { logs: [{ log: 'audit' }] } });
    expect(named.found.logs).toHaveLength(1);
    const alone = await verifyAsJson(join(store, 'signals'), { keys });
    expect(alone).toMatchObject({ exitCode: 0, found: { logs: [{ log: null, origin: 'daybook.local/signals' }] } });
    const both = await verifyAsJson(join(store, 'signals'), { keys, log: 'signals' });
    expect(both).toMatchObject({ exitCode: 0, found: { logs: [{ log: 'signals', originExpected: true }] } });
  });

  test('end with code 3 where no key of one is pinned', async () => {
    expect((await verify(store)).exitCode).toBe(3);
    const ofAudit = keys.filter((key) => key.includes('/audit+'));
    const { exitCode, found } = await verifyAsJson(store, { keys: ofAudit });
    expect(exitCode).toBe(3);
    expect(found.logs).toMatchObject([
      { log: 'signals', intact: true, signer: 'not-pinned' },
      { log: 'audit', intact: true, signer: 'verified' },
    ]);
  });

  test('end with code 1 where another key is pinned', async () => {
    const stranger = createNoteSigner('daybook.local/audit', 7).key;
    const other = `${stranger.name}+${stranger.keyId}+${Buffer.from([1, ...stranger.publicKey]).toString('base64')}`;
    const { exitCode, found } = await verifyAsJson(store, { keys: [other], log: 'audit' });
    expect(exitCode).toBe(1);
    expect(found).toMatchObject({ intact: false, logs: [{ firstBreak: { code: 'UNKNOWN_KEY' } }] });
  });

  test('are broken where one lies in the place of the other, pinned or not', async () => {
    const copy = await copyStore();
    await rm(join(copy, 'signals'), { recursive: true });
    await cp(join(copy, 'audit'), join(copy, 'signals'), { recursive: true });
    for (const pinned of [keys, []]) {
      const { exitCode, found } = await verifyAsJson(copy, { keys: pinned });
      expect(exitCode).toBe(1);
      expect(found.logs[0]).toMatchObject({ log: 'signals', intact: false });
      expect(found.logs[0].breaks.map(({ code }: { code: string }) => code)).toContain('CHECKPOINT_MALFORMED');
      expect(found.logs[1]).toMatchObject({ log: 'audit', intact: true });
    }
    expect((await verify(join(copy, 'signals'), { keys, log: 'signals' })).exitCode).toBe(1);
  });

  test('are broken where an entry was changed, and the other log is told of too', async () => {
    const copy = await copyStore();
    const bundle = join(copy, 'signals', 'tile', 'entries', '000');
    const bytes = await readFile(bundle);
    bytes.writeUInt8(bytes.readUInt8(bytes.indexOf('BTC-USD')) ^ 1, bytes.indexOf('BTC-USD'));
    await writeFile(bundle, bytes);
    const { exitCode, stdout } = await verify(copy, { keys });
    expect(exitCode).toBe(1);
    expect(stdout).toContain('first break');
    expect(stdout.match(/^intact$/gm)).toHaveLength(1);
  });

  test('end with code 2 where one is missing, with what was found of the other', async () => {
    const copy = await copyStore();
    await rm(join(copy, 'audit'), { recursive: true });
    const { exitCode, found } = await verifyAsJson(copy, { keys });
    expect(exitCode).toBe(2);
    expect(found).toMatchObject({ error: { code: 'LAYOUT_UNREADABLE' }, logs: [{ log: 'signals', intact: true }] });
    expect((await verify(join(folder, 'nothing'), { keys })).stderr).toMatch(/^LAYOUT_UNREADABLE: /);
  });

  test('end with code 2 for what cannot be meant', async () => {
    for (const [source, changes] of [
      [store, { keys: ['no key'] }],
      [store, { apiKeyFile: keyFile }],
      ['http://', {}],
      ['s3://', {}],
      ['s3://bucket/../y', {}],
      ['https://user:secret@127.0.0.1/', {}],
    ] as const) {
      const { exitCode, found } = await verifyAsJson(source, changes);
      expect({ source, exitCode }).toEqual({ source, exitCode: 2 });
      expect(['USAGE', 'CONFIG_INVALID', 'LAYOUT_UNREADABLE']).toContain(found.error.code);
    }
  });

  test('end with code 2 when interrupted', async () => {
    const { exitCode, found } = await verifyAsJson(store, {
      keys,
      signal: AbortSignal.abort(new Error('interrupted')),
    });
    expect({ exitCode, code: found.error.code }).toEqual({ exitCode: 2, code: 'SHUTTING_DOWN' });
  });

  describe('and over HTTP', () => {
    test('are verified with a key that may read them', async () => {
      const { exitCode, found } = await verifyAsJson(`${service.url}/logs`, { keys, apiKeyFile: keyFile });
      expect(exitCode).toBe(0);
      expect(found).toMatchObject({ intact: true, logs: [{ entries: 300 }, { log: 'audit' }] });
      const alone = await verifyAsJson(`${service.url}/logs/signals/`, { keys, apiKeyFile: keyFile });
      expect(alone).toMatchObject({ exitCode: 0, found: { logs: [{ log: null, entries: 300 }] } });
    });

    test('end with code 2 without one, and where nothing answers', async () => {
      expect(await verifyAsJson(`${service.url}/logs`, { keys })).toMatchObject({
        exitCode: 2,
        found: { error: { code: 'LAYOUT_UNREADABLE' } },
      });
      expect((await verify(`http://127.0.0.1:${await findFreePort()}/logs`, { keys })).exitCode).toBe(2);
    });
  });
});

(hasObjectLockServer ? describe : describe.skip)('the logs in a bucket', () => {
  let server: ObjectLockServer;
  let client: S3Client;
  let credentials: Disposable;
  const prefix = 'ledger/one';

  beforeAll(async () => {
    server = await startObjectLockServer();
    client = s3ClientOf(server);
    credentials = provideCredentials(server);
    process.env['DAYBOOK_S3_ENDPOINT'] = server.endpoint;
  });

  afterAll(async () => {
    delete process.env['DAYBOOK_S3_ENDPOINT'];
    credentials?.[Symbol.dispose]();
    client?.destroy();
    await server?.[Symbol.asyncDispose]();
  });

  test('are verified below a prefix, one alone too, and damage is found', async () => {
    const bucket = await createTestBucket(client, 'locking');
    const environment = {
      ...fast,
      DAYBOOK_S3_BUCKET: bucket,
      DAYBOOK_S3_PREFIX: prefix,
      DAYBOOK_S3_ENDPOINT: server.endpoint,
    };
    await using service = await startTestService({ environment });
    const keys = await fill(service);
    for (const source of [`s3://${bucket}/${prefix}`, `s3://${bucket}/${prefix}/`]) {
      expect(await verifyAsJson(source, { keys })).toMatchObject({
        exitCode: 0,
        found: { intact: true, logs: [{ entries: 300, signer: 'verified' }, { signer: 'verified' }] },
      });
    }
    const alone = await verifyAsJson(`s3://${bucket}/${prefix}/audit`, { keys });
    expect(alone).toMatchObject({ exitCode: 0, found: { logs: [{ origin: 'daybook.local/audit' }] } });

    await using store = openS3Store({ bucket, prefix, endpoint: server.endpoint, credentials: server });
    const { bytes } = (await store.read('signals/tile/0/000'))!;
    bytes[40]! ^= 1;
    await store.write('signals/tile/0/000', bytes);
    expect(await verifyAsJson(`s3://${bucket}/${prefix}`, { keys })).toMatchObject({
      exitCode: 1,
      found: { logs: [{ firstBreak: { code: 'TILE_MISMATCH' } }, { firstBreak: null }] },
    });
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('end with code 2 where there are none, and where the bucket is not there', async () => {
    const bucket = await createTestBucket(client, 'plain');
    expect(await verifyAsJson(`s3://${bucket}`)).toMatchObject({
      exitCode: 2,
      found: { error: { code: 'LAYOUT_UNREADABLE' }, logs: [] },
    });
    expect(await verifyAsJson('s3://no-such-bucket')).toMatchObject({
      exitCode: 2,
      found: { error: { code: 'OBJECT_STORE_REFUSED' } },
    });
  });
});
