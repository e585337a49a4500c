import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { insertDataKey, KeyRing, type Sealed } from '../../src/access/key-ring.js';
import { kmsRootKey } from '../../src/access/kms-root-key.js';
import { openPool } from '../../src/db/pool.js';
import { openRootKey } from '../../src/open-root-key.js';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import { rewrapKeys } from '../../src/secrets/rewrap-keys.js';
import { serviceSecretOrigin } from '../../src/secrets/secret-entries.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { KmsEndpoint } from '../support/kms-endpoint.js';
import { runScript } from '../support/run-script.js';
import { insertEntriesSql, openSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const quick = { DAYBOOK_JOBS: 'off', DAYBOOK_CHECKPOINT_SECONDS: '0.05' };
const variables = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'] as const;
const before = variables.map((name) => process.env[name]);
let kms: KmsEndpoint;

beforeAll(async () => {
  kms = await KmsEndpoint.start();
  // As an operator gives them: by the AWS SDK's own chain.
  process.env.AWS_ACCESS_KEY_ID = kms.credentials.accessKeyId;
  process.env.AWS_SECRET_ACCESS_KEY = kms.credentials.secretAccessKey;
});

afterEach(() => {
  kms.mood = null;
});

afterAll(async () => {
  for (const [place, name] of variables.entries()) {
    const value = before[place];
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  await kms[Symbol.asyncDispose]();
});

/** Makes an API key, rotates it once, and gives its name. */
async function rotateKey(service: TestService): Promise<string> {
  const key = await service.makeKey('ANALYST');
  const name = (await service.call('{ viewer { name } }', {}, key)).data?.viewer.name as string;
  const input = { secretType: 'API_KEY', secretName: name };
  const mutations = [
    'mutation ($input: RegisterSecretInput!) { registerSecret(input: $input) { schedule { status } } }',
    'mutation ($input: RotateSecretInput!) { rotateSecret(input: $input) { rotation { status } } }',
  ];
  for (const mutation of mutations) expect((await service.call(mutation, { input })).errors).toBeUndefined();
  return name;
}

async function readValue(service: TestService, secretName: string): Promise<string | undefined> {
  const input = { secretType: 'API_KEY', secretName, reason: 'asked for by the test' };
  const read = 'mutation ($input: ReadSecretInput!) { readSecret(input: $input) { value } }';
  return (await service.call(read, { input })).data?.readSecret?.value as string | undefined;
}

const canSign = ({ context }: TestService) => context.services.proofs.keys.canSign('audit');

async function expectSigning(service: TestService, database: TestDatabase): Promise<void> {
  await using session = await openSession(database.urls.application);
  await session.run(insertEntriesSql(1));
  const size = Number(await session.value('SELECT count(*) FROM public.audit_entries'));
  const { signer } = service.context.services.proofs;
  expect(Number((await signer.coveringCheckpoint('audit', size)).treeSize)).toBeGreaterThanOrEqual(size);
}

test('a ledger goes over from master.key to AWS KMS and back, with every value readable throughout, on the record', async () => {
  await using database = await createTestDatabase();
  await using session = await openSession(database.urls.auditor);
  const wrappedBy = async () =>
    (
      await session.run(`SELECT root_key_id AS root FROM public.encryption_keys WHERE destroyed_at IS NULL
        UNION SELECT master_key_id FROM public.signing_keys WHERE valid_until IS NULL`)
    ).map(({ root }) => String(root));
  const dataDir = await mkdtemp(join(tmpdir(), 'daybook-root-'));
  try {
    const arn = kms.makeKey({ alias: 'alias/ledger' });
    const kept = { ...quick, DAYBOOK_DATA_DIR: dataDir };
    const inKms = kms.environment('alias/ledger');
    let [name, value]: [string, string | undefined] = ['', undefined];
    {
      await using local = await startTestService({ database, environment: kept });
      name = await rotateKey(local);
      value = await readValue(local, name);
      expect(value).toMatch(/^.{16,}$/);
    }
    const localIds = await wrappedBy();
    expect(localIds).toHaveLength(1);
    {
      // Both are there: what master.key wrapped is read, what is new is wrapped by KMS, and then everything is.
      await using both = await startTestService({ database, environment: { ...kept, ...inKms } });
      expect(await readValue(both, name)).toBe(value);
      await expectSigning(both, database);
      const { secrets } = both.context.services;
      const rewrapped = await rewrapKeys(secrets, serviceSecretOrigin('test'));
      expect(rewrapped).toEqual([
        expect.stringMatching(/^signing-key\//),
        expect.stringMatching(/^signing-key\//),
        'encryption-key/1',
      ]);
      expect(await wrappedBy()).toEqual([arn]);
      expect(await rewrapKeys(secrets, serviceSecretOrigin('test'))).toEqual([]);
      const entries = await session.run(`SELECT details FROM public.audit_entries WHERE event = 'RootKeyChanged'`);
      expect(entries.map(({ details }) => details as object)).toEqual([{ from: localIds, keys: rewrapped, to: arn }]);
      expect(await readValue(both, name)).toBe(value);
    }
    {
      // A node that never had master.key.
      await using remote = await startTestService({ database, environment: { ...quick, ...inKms } });
      expect(await readValue(remote, name)).toBe(value);
      await expectSigning(remote, database);
      const { data } = await remote.call(
        'mutation { runIntegrityCheck(input: { kind: FULL }) { check { result breaks { code message } } } }',
      );
      expect(data?.runIntegrityCheck.check).toMatchObject({ result: 'OK', breaks: [] });
    }
    {
      await using local = await startTestService({ database, environment: kept });
      expect(canSign(local)).toBe(false);
      expect(await readValue(local, name)).toBeUndefined();
    }
    {
      const { DAYBOOK_KMS_KEY_ID: former, ...place } = inKms;
      const environment = { ...kept, ...place, DAYBOOK_FORMER_KMS_KEY_ID: former ?? '' };
      const { exitCode, stdout } = await runScript('src/main.ts', ['secrets', 'rewrap', '--json'], {
        ...environment,
        DATABASE_URL: database.urls.superuser,
        AWS_ACCESS_KEY_ID: kms.credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: kms.credentials.secretAccessKey,
      });
      expect([exitCode, (JSON.parse(stdout) as { rewrapped: string[] }).rewrapped.length]).toEqual([0, 3]);
      expect(await wrappedBy()).toEqual(localIds);
      await using back = await startTestService({ database, environment: kept });
      expect(await readValue(back, name)).toBe(value);
    }
    await expectLedgerIntact(database.urls.auditor);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}, 120_000);

test('a node whose KMS is out of reach serves, does not sign, and signs by itself once KMS answers', async () => {
  await using database = await createTestDatabase();
  const environment = { ...quick, ...kms.environment(kms.makeKey()) };
  const begin = async () => {
    await using first = await startTestService({ database, environment });
    return await rotateKey(first);
  };
  const name = await begin();
  kms.mood = 'deny';
  await using service = await startTestService({ database, environment });
  expect(canSign(service)).toBe(false);
  const report = (await (await fetch(`${service.url}/health/detailed`)).json()) as any;
  expect(report.checks.signer).toMatchObject({ status: 'failed', logs: { audit: { canSign: false } } });
  const input = { secretType: 'API_KEY', secretName: name, reason: 'asked for by the test' };
  const read = 'mutation ($input: ReadSecretInput!) { readSecret(input: $input) { value } }';
  const { errors } = await service.call(read, { input });
  expect(errors?.[0]?.extensions.code).toBe('ROOT_KEY_REFUSED');
  kms.mood = null;
  const { signer } = service.context.services.proofs;
  await waitUntil('the node signs', () => canSign(service) && signer.state('audit').refusal === null);
  await expectSigning(service, database);
  expect(await readValue(service, name)).toMatch(/^.{16,}$/);
  await expectLedgerIntact(database.urls.auditor);
});

test('a ledger is not begun with a root key that refuses', async () => {
  await using database = await createTestDatabase();
  kms.mood = 'deny';
  const environment = { ...quick, ...kms.environment(kms.makeKey()) };
  await expect(startTestService({ database, environment })).rejects.toMatchObject({ code: 'ROOT_KEY_REFUSED' });
  kms.mood = null;
  await using service = await startTestService({ database, environment });
  await expectSigning(service, database);
  await expectLedgerIntact(database.urls.auditor);
});

test('a master key that is replaced by another opens what it wrapped as the former one', async () => {
  const [old, fresh] = ['11'.repeat(32), '22'.repeat(32)];
  const folder = { dataDir: join(tmpdir(), 'daybook-without-a-file') };
  const none = { masterKey: undefined, kms: undefined };
  const only = (masterKey: string) => ({ ...none, masterKey, former: none });
  const before = await openRootKey({ ...folder, rootKey: only(old) });
  const key = await before.wrap(Buffer.from('key'), 'place');
  const root = await openRootKey({ ...folder, rootKey: { ...only(fresh), former: { ...none, masterKey: old } } });
  expect(Buffer.from(await root.unwrap(key, 'place')).toString()).toBe('key');
  expect((await root.wrap(Buffer.from('key'), 'place')).rootKeyId).toBe(
    await (await openRootKey({ ...folder, rootKey: only(fresh) })).id(),
  );
});

test('an encryption key is asked of KMS when it is needed, kept for a while, and asked for again', async () => {
  await using database = await createTestDatabase();
  const pool = openPool({ connectionString: database.urls.application, max: 2 }, () => undefined);
  try {
    const { url: endpoint, region, credentials } = kms;
    const root = kmsRootKey({ keyId: kms.makeKey(), region, endpoint, credentials });
    const keyMemoryMs = 500;
    const ring = await KeyRing.open(pool, root, { keyMemoryMs });
    const decrypted = () => kms.calls.filter(({ action }) => action === 'Decrypt').length;
    const atStart = decrypted();
    const sealed: Sealed = await ring.seal(Buffer.from('a value'), 'place');
    await insertDataKey(pool, sealed.dataKey);
    const open = async () => Buffer.from(await ring.open(sealed, 'place')).toString();
    expect([await open(), await open(), decrypted() - atStart]).toEqual(['a value', 'a value', 1]);
    await waitUntil('it is asked for again', async () => (await open()) === 'a value' && decrypted() - atStart === 2);
    kms.mood = 'hang';
    // What is remembered is used on without KMS.
    expect(await open()).toBe('a value');
    kms.mood = 'deny';
    await waitUntil('it is forgotten', async () =>
      open().then(
        () => false,
        (error: { code?: string }) => error.code === 'ROOT_KEY_REFUSED',
      ),
    );
    kms.mood = null;
    expect(await open()).toBe('a value');
  } finally {
    await pool.end();
  }
});

test('two nodes learn of each other: both sign with a new key, seal with a new key, and drop what has ended', async () => {
  await using database = await createTestDatabase();
  const environment = { ...quick, DAYBOOK_MASTER_KEY: '11'.repeat(32) };
  await using left = await startTestService({ database, environment });
  await using right = await startTestService({ database, environment });
  for (const secretType of ['SIGNING_KEY', 'ENCRYPTION_KEY']) {
    const grace =
      'mutation ($input: UpdateRotationPolicyInput!) { updateRotationPolicy(input: $input) { policy { window } } }';
    await left.call(grace, { input: { secretType, gracePeriodDays: 2 / 86_400 } });
  }
  const { keys } = right.context.services.proofs;
  const { ring, database: pool } = right.context.services.secrets;
  const sealed = await ring.seal(Buffer.from('sealed before'), 'place');
  await insertDataKey(pool, sealed.dataKey);
  const rotate = 'mutation ($input: RotateSecretInput!) { rotateSecret(input: $input) { rotation { status } } }';
  for (const [secretType, secretName] of [
    ['SIGNING_KEY', 'audit'],
    ['ENCRYPTION_KEY', 'data-keys'],
  ]) {
    const { data } = await left.call(rotate, { input: { secretType, secretName } });
    expect(data?.rotateSecret.rotation.status).toBe('ROTATED');
  }
  await waitUntil('the other node signs with both', () => keys.sign('audit', 'text\n').length === 2);
  await waitUntil('and seals with the new key', async () => {
    const { dataKey } = await ring.seal(Buffer.from('sealed after'), 'place');
    return dataKey.generation === 2;
  });
  const { rows } = await pool.query<{ generation: number; wrapped: string }>(
    'SELECT generation, wrapped FROM public.data_keys WHERE id = $1',
    [sealed.dataKey.id],
  );
  const [stored] = rows;
  const rewrapped = { ...sealed, dataKey: { id: sealed.dataKey.id, generation: 2, wrapped: stored?.wrapped ?? '' } };
  expect(stored?.generation).toBe(2);
  expect(Buffer.from(await ring.open(rewrapped, 'place')).toString()).toBe('sealed before');

  const machine = new RotationMachine(left.context.services.secrets);
  await waitUntil('both old keys are revoked', async () => {
    await machine.runDue(new AbortController().signal);
    const { data } = await left.call('{ rotationHistory(first: 10) { nodes { status } } }');
    return (data?.rotationHistory.nodes as { status: string }[]).every(({ status }) => status === 'REVOKED');
  });
  await waitUntil('the other node signs with the new one alone', () => keys.sign('audit', 'text\n').length === 1);
  await waitUntil('and forgets what was destroyed', async () => {
    await ring.seal(Buffer.from('one more'), 'place');
    return ring.open(sealed, 'place').then(
      () => false,
      (error: { code?: string }) => error.code === 'SIGNING_UNAVAILABLE',
    );
  });
  await expectSigning(right, database);
  await using session = await openSession(database.urls.superuser);
  expect(
    await session.value(`SELECT string_agg(length(sealed_private_key)::text, ',' ORDER BY valid_from)
    FROM public.signing_keys WHERE log = 'audit'`),
  ).toMatch(/^0,\d+$/);
  await expectLedgerIntact(database.urls.auditor);
});
