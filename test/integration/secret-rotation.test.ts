import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertEntriesSql, openSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const never = new AbortController().signal;
const reason = 'asked for by the test';
let service: TestService;

beforeAll(async () => {
  service = await startTestService({ environment: { DAYBOOK_JOBS: 'off', DAYBOOK_CHECKPOINT_SECONDS: '0.05' } });
});

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
});

const runDue = () => new RotationMachine(service.context.services.secrets).runDue(never);

interface Rotation {
  readonly id: string;
  readonly status: string;
  readonly steps: readonly { readonly status: string }[];
}

async function rotate(secretType: string, secretName: string): Promise<Rotation> {
  const { data, errors } = await service.call(
    `mutation ($input: RotateSecretInput!) { rotateSecret(input: $input) { rotation { id status steps { status } } } }`,
    { input: { secretType, secretName, reason } },
  );
  expect(errors).toBeUndefined();
  return (data?.rotateSecret as { rotation: Rotation }).rotation;
}

async function setGrace(secretType: string, seconds: number): Promise<void> {
  const { errors } = await service.call(
    `mutation ($input: UpdateRotationPolicyInput!) { updateRotationPolicy(input: $input) { policy { gracePeriodDays } } }`,
    { input: { secretType, gracePeriodDays: seconds / 86_400 } },
  );
  expect(errors).toBeUndefined();
}

async function statusOf(id: string): Promise<string> {
  const { data } = await service.call('{ rotationHistory(first: 100) { nodes { id status } } }');
  const nodes = data?.rotationHistory.nodes as Rotation[];
  return nodes.find((node) => node.id === id)?.status ?? '';
}

async function fullCheck(): Promise<object> {
  const { data } = await service.call(
    'mutation { runIntegrityCheck(input: { kind: FULL }) { check { result breaks { code message } } } }',
  );
  return (data?.runIntegrityCheck as { check: object }).check;
}

test('the service registers its own secrets, with the schedule of their types', async () => {
  const { data, errors } = await service.call(
    '{ rotationSchedule { secretType secretName daysUntilRotation status zeroDowntime } }',
  );
  expect(errors).toBeUndefined();
  expect(data?.rotationSchedule).toMatchObject([
    { secretType: 'ENCRYPTION_KEY', secretName: 'data-keys', daysUntilRotation: 179, status: 'ACTIVE' },
    { secretType: 'SIGNING_KEY', status: 'ACTIVE', zeroDowntime: true },
    { secretType: 'SIGNING_KEY', status: 'ACTIVE' },
  ]);
});

describe('a signing key', () => {
  test('overlaps: checkpoints carry both signatures, then the new one alone, and the ledger verifies throughout', async () => {
    await setGrace('SIGNING_KEY', 1);
    const rotation = await rotate('SIGNING_KEY', 'audit');
    expect(rotation.steps.map(({ status }) => status)).toEqual([
      'PLANNED',
      'STAGED',
      'APPLYING',
      'APPLIED',
      'VERIFIED',
      'ROTATED',
    ]);
    await using session = await openSession(service.database.urls.application);
    await session.run(insertEntriesSql(1));
    const signatures = async () => {
      const { data } = await service.call('{ checkpoint(log: AUDIT) { note } }');
      return (data?.checkpoint as { note: string }).note.split('\n').filter((line) => line.startsWith('— ')).length;
    };
    await waitUntil('both keys sign', async () => (await signatures()) === 2);
    await expectLedgerIntact(service.database.urls.auditor);
    await waitUntil('the old key is revoked', async () => {
      await runDue();
      return (await statusOf(rotation.id)) === 'REVOKED';
    });
    await session.run(insertEntriesSql(1));
    await waitUntil('the new key signs alone', async () => (await signatures()) === 1);
    expect(await fullCheck()).toMatchObject({ result: 'OK', breaks: [] });
  });

  test('is not to be had by INSERT without a rotation', async () => {
    await using session = await openSession(service.database.urls.application);
    const error = await session.failure(
      `INSERT INTO public.signing_keys (origin, key_id, log, public_key, sealed_private_key, master_key_id, generation)
       SELECT origin, key_id, log, public_key, sealed_private_key, master_key_id, 7 FROM public.signing_keys LIMIT 1`,
    );
    expect(error.code).toBe('DB007');
  });
});

describe('an API key', () => {
  const register = async (secretName: string) => {
    const { errors } = await service.call(
      `mutation ($input: RegisterSecretInput!) { registerSecret(input: $input) { schedule { status } } }`,
      { input: { secretType: 'API_KEY', secretName, settings: [{ name: 'quietSeconds', value: '1' }] } },
    );
    expect(errors).toBeUndefined();
  };
  const viewer = async (key: string) =>
    (await service.call('{ viewer { name } }', {}, key)).data?.viewer?.name as unknown;

  test('is valid beside the old one until that is no longer used, then the old one is refused', async () => {
    await setGrace('API_KEY', 0.2);
    const old = await service.makeKey('ANALYST');
    const name = (await viewer(old)) as string;
    await register(name);
    const { id } = await rotate('API_KEY', name);
    const { data } = await service.call(
      `mutation ($input: ReadSecretInput!) { readSecret(input: $input) { generation value } }`,
      { input: { secretType: 'API_KEY', secretName: name, reason } },
    );
    const { value, generation } = data?.readSecret as { value: string; generation: number };
    expect(generation).toBe(2);
    expect(await viewer(value)).toBe(name);
    expect(await viewer(old)).toBe(name);
    await waitUntil('the old key is revoked', async () => {
      await runDue();
      await using session = await openSession(service.database.urls.application);
      await session.run('UPDATE public.rotations SET next_attempt_at = clock_timestamp()');
      return (await statusOf(id)) === 'REVOKED';
    });
    expect(await viewer(old)).toBeUndefined();
    expect(await viewer(value)).toBe(name);
    expect(await fullCheck()).toMatchObject({ result: 'OK', breaks: [] });
  });

  test('goes back to the value before while that is valid, and the new one is refused', async () => {
    await setGrace('API_KEY', 3600);
    const old = await service.makeKey('ANALYST');
    const name = (await viewer(old)) as string;
    await register(name);
    const { id } = await rotate('API_KEY', name);
    const input = { secretType: 'API_KEY', secretName: name, reason };
    const read = async () =>
      (await service.call('mutation ($input: ReadSecretInput!) { readSecret(input: $input) { value } }', { input }))
        .data?.readSecret.value as string | null;
    const value = (await read()) ?? '';
    const { errors } = await service.call(
      'mutation ($input: RollBackRotationInput!) { rollBackRotation(input: $input) { rotation { status } } }',
      { input: { rotationId: id, reason } },
    );
    expect(errors).toBeUndefined();
    await runDue();
    expect(await viewer(value)).toBeUndefined();
    expect(await viewer(old)).toBe(name);
    expect(await read()).toBeNull();
  });
});

describe('the encryption key', () => {
  test('wraps every data key anew, values stay readable, and the old key is destroyed', async () => {
    await setGrace('ENCRYPTION_KEY', 0.2);
    const { ring, database } = service.context.services.secrets;
    const sealed = await ring.seal(Buffer.from('a value of before'), 'test');
    const { id: dataKey, generation, wrapped } = sealed.dataKey;
    await database.query("INSERT INTO public.data_keys VALUES ($1, $2, decode($3, 'hex'))", [
      dataKey,
      generation,
      wrapped,
    ]);
    const { id } = await rotate('ENCRYPTION_KEY', 'data-keys');
    const stored = await database.query<{ generation: number; wrapped: string }>(
      'SELECT generation, wrapped FROM public.data_keys WHERE id = $1',
      [dataKey],
    );
    expect(stored.rows[0]?.generation).toBe(2);
    const fresh = { id: dataKey, generation: 2, wrapped: stored.rows[0]?.wrapped ?? '' };
    expect(Buffer.from(await ring.open({ ...sealed, dataKey: fresh }, 'test')).toString()).toBe('a value of before');
    await waitUntil('the old key is destroyed', async () => {
      await runDue();
      return (await statusOf(id)) === 'REVOKED';
    });
    await expect(ring.open(sealed, 'test')).rejects.toMatchObject({ code: 'SIGNING_UNAVAILABLE' });
    await using session = await openSession(service.database.urls.application);
    const error = await session.failure(
      "INSERT INTO public.data_keys VALUES (gen_random_uuid(), 1, decode('00', 'hex'))",
    );
    expect(error.code).toBe('DB009');
  });
});
