import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RotationTarget, RotationWork, SecretVersion } from '../../src/core/rotation.js';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import { OauthRotator } from '../../src/secrets/rotators/oauth-rotator.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { startOpenidProvider, type OpenidProvider, type RegisteredClient } from '../support/openid-provider.js';
import { RotationBed } from '../support/rotation-bed.js';
import { startTestService } from '../support/test-service.js';

const never = new AbortController().signal;
const owned = new AsyncDisposableStack();
let bed: RotationBed;

beforeAll(async () => {
  bed = new RotationBed(owned.use(await startTestService({ environment: { DAYBOOK_JOBS: 'off' } })));
});

afterAll(async () => {
  await expectLedgerIntact(bed.service.database.urls.auditor);
  await owned.disposeAsync();
});

let names = 0;

/** Registers a client at the provider, and its secret here. */
async function enrol(provider: OpenidProvider, metadata = {}, settings: Record<string, string> = {}) {
  const client = await provider.register(metadata);
  const secretName = `client-${(names += 1)}`;
  const all = { clientId: client.client_id, registrationUrl: client.registration_client_uri, ...settings };
  if (settings.issuer === undefined) Object.assign(all, { grantUrl: provider.tokenUrl });
  const code = await bed.register({
    secretType: 'OAUTH',
    secretName,
    settings: Object.entries(all).map(([name, value]) => ({ name, value })),
    value: client.client_secret,
    credential: client.registration_access_token,
  });
  expect(code).toBeUndefined();
  return { client, secretName };
}

/** A rotator whose node stops with the provider's answer in its memory: `release` lets it go on. */
class StoppingRotator extends OauthRotator {
  readonly stopped = Promise.withResolvers<void>();
  readonly release = Promise.withResolvers<void>();
  readonly ended = Promise.withResolvers<unknown>();

  override async apply(target: RotationTarget, pending: SecretVersion, work: RotationWork): Promise<void> {
    const keep: RotationWork['keep'] = async (learned) => {
      if (learned.value !== undefined) {
        this.stopped.resolve();
        await this.release.promise;
      }
      await work.keep(learned);
    };
    try {
      await super.apply(target, pending, { ...work, keep });
      this.ended.resolve(null);
    } catch (error) {
      this.ended.resolve(error);
      throw error;
    }
  }
}

/** Rotates on a node that dies when the provider has answered; another takes over. Returns what the first one ends with. */
async function rotateOnDyingNode(secretName: string): Promise<{ id: string; end: () => Promise<unknown> }> {
  const { secrets } = bed.service.context.services;
  const stopping = new StoppingRotator();
  const rotators = new Map([...secrets.rotators, ['OAUTH' as const, stopping]]);
  const planned = await bed.plan('OAUTH', secretName);
  const dying = new RotationMachine({ ...secrets, rotators, node: 'dying' }).runOne(planned, null, never);
  await stopping.stopped.promise;
  await secrets.database.query('UPDATE public.rotations SET leased_until = clock_timestamp() WHERE id = $1', [planned]);
  const end = async () => {
    stopping.release.resolve();
    const error = await stopping.ended.promise;
    await dying;
    return error;
  };
  return { id: planned, end };
}

describe.each([{ rotatesAccessToken: false }, { rotatesAccessToken: true }])('a provider with %p', (rotates) => {
  let provider: OpenidProvider;
  beforeAll(async () => {
    provider = owned.use(await startOpenidProvider({ renewsSecret: true, ...rotates }));
  });

  test('makes a new secret twice in a row: each lets the client in, the one before does not', async () => {
    const { client, secretName } = await enrol(provider);
    let before = client.client_secret;
    for (const generation of [2, 3]) {
      const rotation = await bed.rotate({ secretType: 'OAUTH', secretName });
      expect(rotation).toMatchObject({ status: 'ROTATED', generation });
      expect(rotation.steps.at(-2)).toEqual({ status: 'VERIFIED', note: null });
      const value = (await bed.value('OAUTH', secretName)) ?? '';
      expect(value).not.toBe(before);
      expect(await provider.lets(client.client_id, value)).toBe(true);
      expect(await provider.lets(client.client_id, before)).toBe(false);
      await bed.becomes(rotation.id, 'REVOKED');
      before = value;
    }
  });

  test('has the secret of a client that logs in by POST and gets no tokens in its own name, found by its issuer', async () => {
    const metadata = {
      grant_types: ['authorization_code'],
      response_types: ['code'],
      redirect_uris: ['https://client.example/back'],
      token_endpoint_auth_method: 'client_secret_post',
    };
    const { secretName } = await enrol(provider, metadata, { issuer: provider.issuer });
    expect(await bed.rotate({ secretType: 'OAUTH', secretName })).toMatchObject({ status: 'ROTATED' });
  });

  test('is not rolled back: the secret before is gone', async () => {
    const { secretName } = await enrol(provider);
    const { id } = await bed.rotate({ secretType: 'OAUTH', secretName });
    const { errors } = await bed.service.call(
      'mutation ($input: RollBackRotationInput!) { rollBackRotation(input: $input) { rotation { status } } }',
      { input: { rotationId: id, reason: 'asked for by the test' } },
    );
    expect(errors?.[0]?.extensions.code).toBe('ROTATION_CONFLICT');
  });
});

test('a secret whose node died before it was stored is read from the registration, and the dead node changes nothing', async () => {
  await using provider = await startOpenidProvider({ renewsSecret: true, rotatesAccessToken: false });
  const { client, secretName } = await enrol(provider);
  const { id, end } = await rotateOnDyingNode(secretName);
  expect(await provider.lets(client.client_id, client.client_secret)).toBe(false);
  await bed.runDue();
  const { status, steps } = await bed.read(id);
  expect(status).toBe('ROTATED');
  expect(steps.map((step) => step.status)).toEqual(
    ['PLANNED', 'STAGED', 'APPLYING', 'UNKNOWN', 'APPLIED', 'VERIFIED', 'ROTATED'], //
  );
  const value = (await bed.value('OAUTH', secretName)) ?? '';
  expect(await provider.lets(client.client_id, value)).toBe(true);
  expect(provider.requests.filter((request) => request.startsWith('PUT'))).toHaveLength(1);
  expect(await end()).toMatchObject({ code: 'ROTATION_CONFLICT' });
  expect(await bed.value('OAUTH', secretName)).toBe(value);
});

test('where the token was replaced too it is held, said to whoever has to know, and mended by what the provider gives', async () => {
  await using provider = await startOpenidProvider({ renewsSecret: true, rotatesAccessToken: true });
  const { client, secretName } = await enrol(provider);
  const { id, end } = await rotateOnDyingNode(secretName);
  await bed.becomes(id, 'HELD');
  expect((await bed.read(id)).steps.at(-1)?.note).toContain('clients are locked out');
  expect(await bed.alerts(id)).toEqual(['SecretRotationUnknown', 'SecretRotationHeld']);
  expect(await end()).toMatchObject({ code: 'ROTATION_CONFLICT' });
  const { secret, accessToken } = await provider.changeSecret(client.client_id);
  const given = { secretType: 'OAUTH', secretName, newValue: secret, newCredential: accessToken };
  const mended = await bed.rotate(given);
  expect(mended.status).toBe('ROTATED');
  expect(await bed.value('OAUTH', secretName)).toBe(secret);
  await bed.becomes(mended.id, 'REVOKED');
  expect((await bed.read(id)).status).toBe('FAILED');
});

describe('a provider that keeps the secret when a registration is updated', () => {
  let provider: OpenidProvider;
  let client: RegisteredClient;
  let secretName: string;
  beforeAll(async () => {
    provider = owned.use(await startOpenidProvider({ renewsSecret: false, rotatesAccessToken: true }));
    ({ client, secretName } = await enrol(provider));
  });

  test.each(['first', 'second'])('fails the %s rotation, and the current secret goes on', async () => {
    const { id, status, steps } = await bed.rotate({ secretType: 'OAUTH', secretName });
    expect(status).toBe('FAILED');
    expect(steps.at(-1)?.note).toContain('SECRET_REFUSED');
    // The second one gets as far only with the token that the provider made in the first.
    expect(steps.at(-1)?.note).toContain('makes no new client secret');
    expect(await bed.alerts(id)).toEqual(['SecretRotationFailed']);
    expect(await provider.lets(client.client_id, client.client_secret)).toBe(true);
    expect(await bed.value('OAUTH', secretName)).toBe(client.client_secret);
  });

  test('refuses a secret that it does not have, and takes over one that was changed at the provider', async () => {
    const refused = await bed.rotate({ secretType: 'OAUTH', secretName, newValue: 'of-my-own-choice' });
    expect(refused.status).toBe('FAILED');
    const { secret } = await provider.changeSecret(client.client_id);
    const taken = await bed.rotate({ secretType: 'OAUTH', secretName });
    expect(taken.status).toBe('ROTATED');
    expect(taken.steps.at(-2)?.note).toContain('had another client secret already');
    expect(await bed.value('OAUTH', secretName)).toBe(secret);
  });
});

describe('registration', () => {
  let provider: OpenidProvider;
  let client: RegisteredClient;
  beforeAll(async () => {
    provider = owned.use(await startOpenidProvider({ renewsSecret: true, rotatesAccessToken: false }));
    client = await provider.register();
  });

  test.each([
    ['no access token', { credential: undefined }, {}],
    ['an access token that opens nothing', { credential: 'of-somebody-else' }, {}],
    ['a secret that the provider refuses', { value: 'wrong' }, {}],
    ['an address that is not encrypted', {}, { registrationUrl: 'http://provider.example/reg/1' }],
    ['neither token address nor issuer', {}, { grantUrl: undefined }],
    ['the access token among the settings', {}, { registrationAccess: 'x' }],
  ])('refuses %s', async (_what, input, settings) => {
    const all = {
      clientId: client.client_id,
      registrationUrl: client.registration_client_uri,
      grantUrl: provider.tokenUrl,
      ...settings,
    };
    const code = await bed.register({
      secretType: 'OAUTH',
      secretName: 'refused',
      settings: Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [{ name, value }])),
      value: client.client_secret,
      credential: client.registration_access_token,
      ...input,
    });
    expect(code).toBe('BAD_USER_INPUT');
  });
});
