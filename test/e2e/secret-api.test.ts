import { createPrivateKey, createPublicKey } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseVerifierKey } from '../../src/core/verifier-key.js';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { SocketClient } from '../support/socket-client.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { adminKey, startTestService, type Answer, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const { signal } = new AbortController();
const reason = 'asked for by the test';

let service: TestService;
let superuser: SqlSession;

beforeAll(async () => {
  service = await startTestService({ environment: { DAYBOOK_JOBS: 'off' } });
  superuser = await openSession(service.database.urls.superuser);
  await superuser.run("UPDATE public.rotation_policies SET grace = '1 hour'");
});

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await superuser[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

const codeOf = ({ errors }: Answer) => errors?.[0]?.extensions.code;

const mutations: Readonly<Record<string, string>> = {
  rotateSecret: 'rotation { id status generation rotatedAt rotatedBy reason graceEndsAt steps { status note } }',
  rollBackRotation: 'rotation { id status steps { status note } }',
  updateRotationPolicy: 'policy { secretType secretName rotationIntervalDays gracePeriodDays autoRotate window }',
  registerSecret: 'schedule { secretType secretName status daysUntilRotation zeroDowntime }',
  readSecret: 'generation value',
};

function mutate(name: string, input: Record<string, unknown>, key = adminKey): Promise<Answer> {
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  return service.call(`mutation ($input: ${type}!) { ${name}(input: $input) { ${mutations[name]} } }`, { input }, key);
}

/** An API key that is registered as a secret. */
async function registerKey(more: Record<string, unknown> = {}): Promise<{ key: string; name: string; answer: Answer }> {
  const key = await service.makeKey('ANALYST');
  const { data } = await service.call('{ viewer { name } }', {}, key);
  const name = data?.viewer.name as string;
  const settings = [{ name: 'quietSeconds', value: '0' }];
  const answer = await mutate('registerSecret', { secretType: 'API_KEY', secretName: name, settings, ...more });
  return { key, name, answer };
}

async function rotate(secretType: string, secretName: string): Promise<any> {
  const answer = await mutate('rotateSecret', { secretType, secretName, reason });
  expect(answer.errors).toBeUndefined();
  return answer.data?.rotateSecret.rotation;
}

async function entries(resource: string): Promise<Record<string, unknown>[]> {
  return superuser.run(
    'SELECT event, actor, outcome, details::jsonb AS details FROM public.audit_entries WHERE resource = $1 ORDER BY chain_index',
    [resource],
  );
}

describe('registerSecret', () => {
  test('gives the schedule of the secret, and is refused a second time', async () => {
    const { name, answer } = await registerKey();
    expect(answer.data?.registerSecret.schedule).toEqual({
      secretType: 'API_KEY',
      secretName: name,
      status: 'ACTIVE',
      daysUntilRotation: 59,
      zeroDowntime: true,
    });
    expect(codeOf(await mutate('registerSecret', { secretType: 'API_KEY', secretName: name }))).toBe('BAD_USER_INPUT');
    expect(await entries(`secret/API_KEY/${name}`)).toMatchObject([{ event: 'SecretRegistered', actor: 'admin' }]);
  });

  test('takes null for what is not given', async () => {
    const { answer } = await registerKey({ value: null });
    expect(answer.errors).toBeUndefined();
  });

  test.each([
    ['a name that nothing has', { secretType: 'API_KEY', secretName: 'nobody' }],
    ['an empty name', { secretType: 'API_KEY', secretName: '' }],
    ['a log that is none', { secretType: 'SIGNING_KEY', secretName: 'orders' }],
  ])('refuses %s', async (_what, input) => {
    expect(['BAD_USER_INPUT', 'NOT_FOUND', 'SECRET_REFUSED']).toContain(codeOf(await mutate('registerSecret', input)));
  });

  test.each(['soon', '-1', '1e999', ''])('refuses quietSeconds of %p, by which nobody could tell', async (value) => {
    const { answer } = await registerKey({ settings: [{ name: 'quietSeconds', value }] });
    expect(codeOf(answer)).toBe('BAD_USER_INPUT');
  });
});

describe('readSecret', () => {
  const input = (secretName: string) => ({ secretType: 'API_KEY', secretName, reason });

  test('gives the value to an ADMIN who says why, and leaves an entry with that', async () => {
    const { name } = await registerKey();
    expect((await mutate('readSecret', input(name))).data?.readSecret).toEqual({ generation: 1, value: null });
    await rotate('API_KEY', name);
    const { data } = await mutate('readSecret', input(name));
    const { generation, value } = data?.readSecret as { generation: number; value: string };
    expect(generation).toBe(2);
    expect((await service.call('{ viewer { name role } }', {}, value)).data?.viewer).toEqual({ name, role: 'ANALYST' });
    expect(await entries(`secret/API_KEY/${name}`)).toContainEqual(
      expect.objectContaining({ event: 'SecretRead', actor: 'admin', details: { generation: 2, reason } }),
    );
  });

  test('of a signing key is one that signs', async () => {
    await rotate('SIGNING_KEY', 'audit');
    const { data } = await mutate('readSecret', { secretType: 'SIGNING_KEY', secretName: 'audit', reason });
    const value = data?.readSecret.value as string;
    const privateKey = createPrivateKey({ key: Buffer.from(value, 'base64'), format: 'der', type: 'pkcs8' });
    const raw = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
    const { data: keys } = await service.call('{ verifierKeys }');
    const published = (keys?.verifierKeys as string[]).filter((key) => key.includes('/audit+'));
    expect(published.map((key) => Buffer.from(parseVerifierKey(key).publicKey))).toContainEqual(raw);
  });

  test.each([
    ['no reason', { reason: '' }, 'BAD_USER_INPUT'],
    ['a reason that is too short', { reason: 'because' }, 'BAD_USER_INPUT'],
    ['a name that nothing has', { secretName: 'nobody' }, 'NOT_FOUND'],
  ])('is refused with %s', async (_what, change, code) => {
    const { name } = await registerKey();
    expect(codeOf(await mutate('readSecret', { ...input(name), ...change }))).toBe(code);
    expect((await entries(`secret/API_KEY/${name}`)).map(({ event }) => event)).toEqual(['SecretRegistered']);
  });
});

describe('rotateSecret and rollBackRotation', () => {
  test('leave one entry of the call each, and the history has every step', async () => {
    const { name } = await registerKey();
    const before = (await entries('rotateSecret')).length;
    const rotation = await rotate('API_KEY', name);
    expect(rotation).toMatchObject({ status: 'ROTATED', generation: 2, rotatedBy: 'admin', reason });
    expect((await entries('rotateSecret')).length).toBe(before + 1);
    const rolledBack = await mutate('rollBackRotation', { rotationId: rotation.id, reason: 'it does not work' });
    expect(rolledBack.data?.rollBackRotation.rotation.steps.at(-1)).toEqual({
      status: 'ROLLED_BACK',
      note: 'it does not work',
    });
    expect(codeOf(await mutate('rollBackRotation', { rotationId: rotation.id, reason }))).toBe('ROTATION_CONFLICT');
    const { data } = await service.call(
      `{ rotationHistory(secretType: API_KEY, secretName: "${name}", first: 10) { totalCount nodes { id status } } }`,
    );
    expect(data?.rotationHistory.nodes).toEqual([{ id: rotation.id, status: 'ROLLED_BACK' }]);
  });

  test('a rotation that makes way for another one leaves one entry of the call', async () => {
    const { name } = await registerKey();
    const rotation = await rotate('API_KEY', name);
    await mutate('rollBackRotation', { rotationId: rotation.id, reason });
    const { secrets } = service.context.services;
    await new RotationMachine(secrets).runDue(signal);
    const { id } = await planned(name);
    await superuser.run(
      "SELECT daybook.step_rotation(id, fence, 'PLANNED', 'HELD', 'the test') FROM rotations WHERE id = $1",
      [id],
    );
    const before = (await entries('rotateSecret')).length;
    await rotate('API_KEY', name);
    expect((await entries('rotateSecret')).length).toBe(before + 1);
  });

  test.each([
    ['that is empty', ''],
    ['with a NUL', 'a\0b'],
    ['that is too long', 'x'.repeat(1_001)],
  ])('refuse a reason %s', async (_what, text) => {
    const input = { secretType: 'SIGNING_KEY', secretName: 'signals', reason: text };
    expect(codeOf(await mutate('rotateSecret', input))).toBe('BAD_USER_INPUT');
    expect(codeOf(await mutate('rollBackRotation', { rotationId: 'none', reason: text }))).toBe('BAD_USER_INPUT');
  });

  test('refuse a rotation that is none', async () => {
    expect(codeOf(await mutate('rollBackRotation', { rotationId: 'none', reason }))).toBe('NOT_FOUND');
  });

  test('refuse to go back to a value that a target may have given up already', async () => {
    const { name } = await registerKey();
    const { id } = await rotate('API_KEY', name);
    await superuser.run(
      `SELECT daybook.step_rotation(id, fence, 'ROTATED', 'REVOKING', NULL) FROM rotations WHERE id = $1`,
      [id],
    );
    await superuser.run(
      `SELECT daybook.step_rotation(id, fence, 'REVOKING', 'HELD', 'the test') FROM rotations WHERE id = $1`,
      [id],
    );
    expect(codeOf(await mutate('rollBackRotation', { rotationId: id, reason }))).toBe('ROTATION_CONFLICT');
  });
});

/** A rotation that nobody has begun to work on. */
async function planned(name: string): Promise<{ id: string }> {
  const { requestRotation } = await import('../../src/secrets/request-rotation.js');
  const { serviceSecretOrigin } = await import('../../src/secrets/secret-entries.js');
  const request = { type: 'API_KEY' as const, name, reason: null, requestedBy: 'the test' };
  return requestRotation(service.context.services.secrets, { ...request, origin: serviceSecretOrigin('the test') });
}

describe('updateRotationPolicy', () => {
  test('changes what is given, and leaves the rest, also where null is given', async () => {
    const change = { secretType: 'DATABASE', rotationIntervalDays: 45, gracePeriodDays: 0.5, autoRotate: true };
    const set = await mutate('updateRotationPolicy', change);
    const policy = { ...change, secretName: null, window: {} };
    expect(set.data?.updateRotationPolicy.policy).toEqual(policy);
    const nothing = { rotationIntervalDays: null, gracePeriodDays: null, autoRotate: null, window: null };
    const again = await mutate('updateRotationPolicy', { secretType: 'DATABASE', ...nothing });
    expect(again.data?.updateRotationPolicy.policy).toEqual(policy);
    const { data } = await service.call('{ rotationPolicies { secretType gracePeriodDays } }');
    expect(data?.rotationPolicies).toContainEqual({ secretType: 'DATABASE', gracePeriodDays: 0.5 });
  });

  test('takes a window, and refuses one that is none', async () => {
    const window = { timeZone: 'America/New_York', blackouts: [{ days: [1, 2, 3, 4, 5], from: '09:30', to: '16:00' }] };
    const { data } = await mutate('updateRotationPolicy', { secretType: 'DATABASE', window });
    expect(data?.updateRotationPolicy.policy.window).toMatchObject(window);
    const wrong = { secretType: 'DATABASE', window: { timeZone: 'Mars/Olympus' } };
    expect(codeOf(await mutate('updateRotationPolicy', wrong))).toBe('BAD_USER_INPUT');
  });
});

test('reading is for MONITOR, AUDITOR and ADMIN, changing and values are for ADMIN', async () => {
  const fields = ['rotationSchedule { status }', 'rotationHistory { nodes { id } }', 'rotationPolicies { autoRotate }'];
  const found: Record<string, (string | undefined)[]> = {};
  for (const role of ['PRODUCER', 'ANALYST', 'MONITOR', 'AUDITOR']) {
    const key = await service.makeKey(role);
    found[role] = [];
    for (const field of fields) found[role].push(codeOf(await service.call(`{ ${field} }`, {}, key)));
    const secret = { secretType: 'SIGNING_KEY', secretName: 'signals' };
    found[role].push(
      codeOf(await mutate('rotateSecret', secret, key)),
      codeOf(await mutate('rollBackRotation', { rotationId: 'none', reason }, key)),
      codeOf(await mutate('updateRotationPolicy', { secretType: 'OAUTH' }, key)),
      codeOf(await mutate('registerSecret', secret, key)),
      codeOf(await mutate('readSecret', { ...secret, reason }, key)),
    );
  }
  const [yes, no] = [undefined, 'FORBIDDEN'];
  expect(found).toEqual({
    PRODUCER: Array(8).fill(no),
    ANALYST: Array(8).fill(no),
    MONITOR: [yes, yes, yes, no, no, no, no, no],
    AUDITOR: [yes, yes, yes, no, no, no, no, no],
  });
});

describe('rotationProgress', () => {
  const query = `subscription ($id: ID!) { rotationProgress(rotationId: $id) { status steps { status } } }`;
  const open = (key: string) => SocketClient.open(service.socketUrl, { authorization: `Bearer ${key}` });
  const statuses = (client: SocketClient): string[] =>
    client.of('next', '1').map(({ payload }) => (payload as any).data.rotationProgress.status as string);

  test('follows a rotation from PLANNED to its end, and whoever comes later has all steps of before', async () => {
    const { name } = await registerKey();
    await superuser.run("UPDATE public.rotation_policies SET grace = '0' WHERE type = 'API_KEY'");
    const { id } = await planned(name);
    const client = await open(adminKey);
    client.subscribe('1', query, { id });
    await waitUntil('it says PLANNED', () => statuses(client).includes('PLANNED'));
    // Leaves and comes back: what it missed is in the first thing it hears.
    client.complete('1');
    await superuser.run("UPDATE public.rotation_policies SET grace = '1 hour' WHERE type = 'API_KEY'");
    client.socket.close();
    const machine = new RotationMachine(service.context.services.secrets);
    const later = await open(adminKey);
    later.subscribe('1', query, { id });
    await waitUntil('it says PLANNED again', () => statuses(later).includes('PLANNED'));
    await machine.runDue(signal);
    await later.message('complete', '1');
    expect(statuses(later).at(-1)).toBe('REVOKED');
    const last = later.of('next', '1').at(-1)?.payload as any;
    expect(last.data.rotationProgress.steps.map(({ status }: { status: string }) => status)).toEqual([
      'PLANNED',
      'STAGED',
      'APPLYING',
      'APPLIED',
      'VERIFIED',
      'ROTATED',
      'REVOKING',
      'REVOKED',
    ]);
    const resumed = await open(adminKey);
    resumed.subscribe('1', query, { id });
    await resumed.message('complete', '1');
    expect(statuses(resumed)).toEqual(['REVOKED']);
    const phases = (await entries('rotationProgress')).map(({ details }) => (details as { phase: string }).phase);
    expect(phases.sort()).toEqual(['ended', 'ended', 'ended', 'opened', 'opened', 'opened']);
    for (const each of [later, resumed]) each.socket.close();
  });

  test('is for those who may read the audit log, and of a rotation that is there', async () => {
    const [rotation] = await superuser.run('SELECT id FROM public.rotations LIMIT 1');
    const refusalFor = async (key: string, id: unknown) => {
      const client = await open(key);
      client.subscribe('1', query, { id });
      const { payload } = await client.message('next', '1');
      client.socket.close();
      return codeOf(payload as Answer);
    };
    expect(await refusalFor(await service.makeKey('ANALYST'), rotation?.id)).toBe('FORBIDDEN');
    expect(await refusalFor(await service.makeKey('PRODUCER'), rotation?.id)).toBe('FORBIDDEN');
    expect(await refusalFor(await service.makeKey('MONITOR'), rotation?.id)).toBeUndefined();
    expect(await refusalFor(adminKey, 'none')).toBe('NOT_FOUND');
  });
});
