import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { kmsRootKey, type KmsOptions } from '../../src/access/kms-root-key.js';
import { localRootKey, withFormerRootKeys } from '../../src/access/root-key.js';
import { KmsEndpoint } from '../support/kms-endpoint.js';

const place = 'signing-key daybook.local/audit 0a1b2c3d';
const secret = Buffer.from('a private key that stays private');
let kms: KmsEndpoint;
let arn: string;

beforeAll(async () => {
  kms = await KmsEndpoint.start();
  arn = kms.makeKey({ alias: 'alias/daybook' });
});

afterAll(async () => {
  await kms[Symbol.asyncDispose]();
});

beforeEach(() => {
  kms.mood = null;
  kms.denied.clear();
  kms.setState(arn, 'Enabled');
  kms.calls.length = 0;
});

const rootOf = (options: Partial<KmsOptions> = {}) =>
  kmsRootKey({ keyId: arn, region: kms.region, endpoint: kms.url, credentials: kms.credentials, ...options });

test.each([
  ['its ARN', () => arn],
  ['its id', () => arn.split('/')[1]!],
  ['an alias', () => 'alias/daybook'],
])('a key that is named by %s wraps and unwraps, and goes by its ARN', async (_case, keyId) => {
  const root = rootOf({ keyId: keyId() });
  const key = await root.wrap(secret, place);
  expect(key.rootKeyId).toBe(arn);
  expect(Buffer.from(key.wrapped).includes(secret)).toBe(false);
  expect(await root.id()).toBe(arn);
  expect(Buffer.from(await root.unwrap(key, place))).toEqual(secret);
  expect(kms.calls).toEqual([
    { action: 'DescribeKey', outcome: '200', context: undefined },
    { action: 'Encrypt', outcome: '200', context: { daybook: place } },
    { action: 'Decrypt', outcome: '200', context: { daybook: place } },
  ]);
});

describe('what does not belong together is not unwrapped:', () => {
  test('another place', async () => {
    const root = rootOf();
    const key = await root.wrap(secret, place);
    await expect(root.unwrap(key, `${place}0`)).rejects.toMatchObject({ code: 'LEDGER_BROKEN' });
  });

  test('altered bytes', async () => {
    const root = rootOf();
    const { wrapped, rootKeyId } = await root.wrap(secret, place);
    const altered = Buffer.from(wrapped);
    altered[altered.length - 1]! ^= 1;
    await expect(root.unwrap({ wrapped: altered, rootKeyId }, place)).rejects.toMatchObject({ code: 'LEDGER_BROKEN' });
  });

  test('a key of the same account that is not the one configured', async () => {
    const other = await rootOf({ keyId: kms.makeKey() }).wrap(secret, place);
    await expect(rootOf().unwrap(other, place)).rejects.toMatchObject({ code: 'SIGNING_UNAVAILABLE' });
    const disguised = { ...other, rootKeyId: arn };
    await expect(rootOf().unwrap(disguised, place)).rejects.toMatchObject({ code: 'SIGNING_UNAVAILABLE' });
  });

  test('what a local root key wrapped, without asking KMS', async () => {
    const local = await localRootKey(Buffer.alloc(32, 1)).wrap(secret, place);
    await expect(rootOf().unwrap(local, place)).rejects.toMatchObject({ code: 'SIGNING_UNAVAILABLE' });
    expect(kms.calls).toEqual([]);
  });
});

describe('a refusal says what to mend, is not retried, and repeats nothing of what was sent:', () => {
  const deny = () => {
    kms.mood = 'deny';
  };
  const disable = () => kms.setState(arn, 'Disabled');
  const end = () => kms.setState(arn, 'PendingDeletion');
  const nothing = () => undefined;
  test.each<[string, () => void, Partial<KmsOptions>, string, RegExp]>([
    ['denied', deny, {}, 'AccessDeniedException', /kms:Decrypt/],
    ['disabled', disable, {}, 'DisabledException', /Enable the key/],
    ['pending deletion', end, {}, 'KMSInvalidStateException', /cancel its deletion/],
    ['unknown key', nothing, { keyId: 'alias/absent' }, 'NotFoundException', /DAYBOOK_KMS_KEY_ID/],
    [
      'unknown access key',
      nothing,
      { credentials: { accessKeyId: 'AKIAABSENT', secretAccessKey: 'x' } },
      'UnrecognizedClientException',
      /AWS_ACCESS_KEY_ID/,
    ],
  ])('%s', async (_case, arrange, options, kmsCode, remedy) => {
    arrange();
    const failure = (await rootOf(options)
      .wrap(secret, place)
      .catch((error: unknown) => error)) as Error;
    expect(failure).toMatchObject({ code: 'ROOT_KEY_REFUSED', retryable: false, details: { kmsCode } });
    expect(failure.message).toMatch(remedy);
    expect(failure.message).not.toContain(kms.credentials.secretAccessKey);
    expect(kms.calls.filter(({ outcome }) => outcome === kmsCode)).toHaveLength(1);
  });

  test('a secret that is not that of the access key', async () => {
    const root = rootOf({ credentials: { ...kms.credentials, secretAccessKey: 'another' } });
    await expect(root.id()).rejects.toMatchObject({
      code: 'ROOT_KEY_REFUSED',
      details: { kmsCode: 'InvalidSignatureException' },
    });
  });

  test('a key that signs', async () => {
    const root = rootOf({ keyId: kms.makeKey({ spec: 'ECC_NIST_P256' }) });
    await expect(root.wrap(secret, place)).rejects.toMatchObject({ code: 'ROOT_KEY_REFUSED' });
  });

  test('a right that is missing for one action alone', async () => {
    const root = rootOf();
    const key = await root.wrap(secret, place);
    kms.denied.add('Decrypt');
    await expect(root.unwrap(key, place)).rejects.toMatchObject({ code: 'ROOT_KEY_REFUSED' });
  });
});

describe('what may pass is tried again, but not without end:', () => {
  test('two throttled calls are made up for', async () => {
    kms.mood = { throttle: 2 };
    expect(await rootOf().id()).toBe(arn);
    expect(kms.calls.map(({ outcome }) => outcome)).toEqual(['ThrottlingException', 'ThrottlingException', '200']);
  });

  test('three are too many', async () => {
    kms.mood = { throttle: 100 };
    await expect(rootOf().id()).rejects.toMatchObject({ code: 'ROOT_KEY_UNAVAILABLE', retryable: true });
    expect(kms.calls).toHaveLength(3);
  });

  test('a service that fails inside', async () => {
    kms.mood = 'fail';
    await expect(rootOf().id()).rejects.toMatchObject({ code: 'ROOT_KEY_UNAVAILABLE' });
    expect(kms.calls).toHaveLength(3);
  });

  test('no answer at all', async () => {
    kms.mood = 'hang';
    const startedMs = performance.now();
    await expect(rootOf({ answerTimeoutMs: 300 }).id()).rejects.toMatchObject({ code: 'ROOT_KEY_UNAVAILABLE' });
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });

  test('nobody there', async () => {
    const { url } = await KmsEndpoint.start().then(async (gone) => {
      const there = gone.url;
      await gone[Symbol.asyncDispose]();
      return { url: there };
    });
    await expect(rootOf({ endpoint: url }).id()).rejects.toMatchObject({ code: 'ROOT_KEY_UNAVAILABLE' });
  });
});

test('a root key and its former ones: each unwraps what it wrapped, the first wraps', async () => {
  const local = localRootKey(Buffer.alloc(32, 1));
  const before = kms.makeKey();
  const root = withFormerRootKeys(rootOf(), [local, rootOf({ keyId: before })]);
  const keys = [
    await local.wrap(secret, place),
    await rootOf({ keyId: before }).wrap(secret, place),
    await root.wrap(secret, place),
  ];
  expect(keys[2]?.rootKeyId).toBe(arn);
  for (const key of keys) expect(Buffer.from(await root.unwrap(key, place))).toEqual(secret);
  const stranger = await localRootKey(Buffer.alloc(32, 2)).wrap(secret, place);
  await expect(root.unwrap(stranger, place)).rejects.toMatchObject({ code: 'SIGNING_UNAVAILABLE' });
});
