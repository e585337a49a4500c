import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { requestRotation } from '../../src/secrets/request-rotation.js';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import { runSchedule } from '../../src/secrets/run-schedule.js';
import { serviceSecretOrigin } from '../../src/secrets/secret-entries.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { dumpDatabase } from '../support/find-texts.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { adminKey, startTestService, type TestService } from '../support/test-service.js';

const { signal } = new AbortController();
const day = 86_400_000;
/** In no answer, no table and no entry. */
const value = 'a-value-that-nobody-is-to-see-4711';

let service: TestService;
let superuser: SqlSession;
let answered = '';

beforeAll(async () => {
  service = await startTestService({ environment: { DAYBOOK_JOBS: 'off' } });
  superuser = await openSession(service.database.urls.superuser);
});

afterAll(async () => {
  await superuser[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

beforeEach(() => putClockForward(0));

/** The service's clock, by which it says what is due. */
function putClockForward(days: number): void {
  service.context.services.clock.nowMs = () => Date.now() + days * day;
}

interface Asked {
  readonly status: number;
  readonly body: any;
  readonly text: string;
}

async function ask(method: string, path: string, body?: unknown, key: string | null = adminKey): Promise<Asked> {
  const response = await fetch(`${service.url}/secrets/rotation${path}`, {
    method,
    headers: {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  answered += text;
  return { status: response.status, body: JSON.parse(text), text };
}

/** An API key that is registered as a secret; gives its name. */
async function registerKey(settings: Record<string, string> = { quietSeconds: '0' }): Promise<string> {
  const key = await service.makeKey('ANALYST');
  const { data } = await service.call('{ viewer { name } }', {}, key);
  const secretName = data?.viewer.name as string;
  const input = {
    secretType: 'API_KEY',
    secretName,
    settings: Object.entries(settings).map(([name, text]) => ({ name, value: text })),
  };
  const { errors } = await service.call(
    'mutation ($input: RegisterSecretInput!) { registerSecret(input: $input) { schedule { status } } }',
    { input },
  );
  expect(errors).toBeUndefined();
  return secretName;
}

async function scheduleOf(name: string): Promise<any> {
  const { body } = await ask('GET', '/schedule');
  return body.schedules.find(({ secretName }: { secretName: string }) => secretName === name);
}

describe('GET schedule', () => {
  test('gives each secret with the members that their users know, the most urgent first', async () => {
    const { status, body } = await ask('GET', '/schedule');
    expect(status).toBe(200);
    expect(Object.keys(body)).toEqual(['schedules']);
    expect(Object.keys(body.schedules[0]).sort()).toEqual(
      ['daysUntilRotation', 'lastRotated', 'nextRotation', 'secretName', 'secretType', 'status'].sort(),
    );
    expect(body.schedules[0]).toMatchObject({
      secretType: 'ENCRYPTION_KEY',
      secretName: 'data-keys',
      daysUntilRotation: 179,
      status: 'ACTIVE',
    });
    const { lastRotated, nextRotation } = body.schedules[0];
    expect(Date.parse(nextRotation) - Date.parse(lastRotated)).toBe(180 * day);
  });

  test('says ACTIVE, DUE, OVERDUE, ROTATING and HELD', async () => {
    const name = await registerKey({ quietSeconds: '3600' });
    const seen = async () => (await scheduleOf(name)) as { status: string; daysUntilRotation: number };
    expect(await seen()).toMatchObject({ status: 'ACTIVE', daysUntilRotation: 59 });
    putClockForward(59);
    expect(await seen()).toMatchObject({ status: 'DUE', daysUntilRotation: 0 });
    putClockForward(60);
    expect(await seen()).toMatchObject({ status: 'OVERDUE', daysUntilRotation: -1 });
    putClockForward(0);
    const { secrets } = service.context.services;
    const { id } = await requestRotation(secrets, {
      type: 'API_KEY',
      name,
      reason: null,
      requestedBy: 'the test',
      origin: serviceSecretOrigin(randomUUID()),
    });
    expect(await seen()).toMatchObject({ status: 'ROTATING' });
    await superuser.run("UPDATE public.rotation_policies SET grace = '0' WHERE type = 'API_KEY'");
    await superuser.run('UPDATE public.api_keys SET last_used_at = clock_timestamp() WHERE name = $1', [name]);
    await superuser.run('UPDATE public.rotations SET next_attempt_at = clock_timestamp() WHERE id = $1', [id]);
    await new RotationMachine(secrets).runDue(signal);
    // Its grace period is that of the day it was planned on.
    expect(await seen()).toMatchObject({ status: 'ACTIVE', daysUntilRotation: 59 });
    await ask('POST', '/rotate', { secretType: 'API_KEY', secretName: name });
    const held = await registerKey({ quietSeconds: '3600' });
    await superuser.run('UPDATE public.api_keys SET last_used_at = clock_timestamp() WHERE name = $1', [held]);
    await ask('POST', '/rotate', { secretType: 'API_KEY', secretName: held });
    expect(await scheduleOf(held)).toMatchObject({ status: 'HELD' });
  });
});

describe('POST rotate', () => {
  test('answers when the new value is current, and the history tells who asked', async () => {
    const secretName = await registerKey();
    const { status, body } = await ask('POST', '/rotate', { secretType: 'API_KEY', secretName });
    expect(status).toBe(200);
    expect(body).toEqual({
      status: 'success',
      secretType: 'API_KEY',
      secretName,
      rotatedAt: expect.stringMatching(/Z$/),
      nextRotation: expect.stringMatching(/Z$/),
    });
    expect(Math.round((Date.parse(body.nextRotation) - Date.parse(body.rotatedAt)) / 1_000)).toBe((60 * day) / 1_000);
    const { body: history } = await ask('GET', '/history?secretType=API_KEY&limit=1');
    expect(history).toEqual({
      history: [
        {
          id: expect.any(String),
          secretType: 'API_KEY',
          secretName,
          rotatedAt: body.rotatedAt,
          rotatedBy: 'admin',
          status: 'REVOKED',
        },
      ],
    });
    expect(await entriesOf('rotateSecret')).toMatchObject([{ outcome: 'OK' }]);
    // What has ended holds up nothing.
    expect((await ask('POST', '/rotate', { secretType: 'API_KEY', secretName })).status).toBe(200);
  });

  test('by the schedule it is nobody who asked', async () => {
    const secretName = await registerKey();
    const policy = { secretType: 'API_KEY', rotationIntervalDays: 60, gracePeriodDays: 0, autoRotate: true };
    expect((await ask('PUT', '/policy', policy)).status).toBe(200);
    putClockForward(61);
    const { secrets } = service.context.services;
    expect((await runSchedule(secrets, signal)).begun).toBeGreaterThan(0);
    await new RotationMachine(secrets).runDue(signal);
    await ask('PUT', '/policy', { ...policy, autoRotate: false });
    const { body } = await ask('GET', '/history?secretType=API_KEY&limit=1000');
    const found = body.history.filter((one: { secretName: string }) => one.secretName === secretName);
    expect(found).toMatchObject([{ rotatedBy: null, rotatedAt: expect.any(String), status: 'REVOKED' }]);
  });

  test('a value that is not taken is refused, the rotation has failed, and the value is nowhere', async () => {
    const secretName = await registerKey();
    const { status, body } = await ask('POST', '/rotate', { secretType: 'API_KEY', secretName, newValue: value });
    expect(status).toBe(502);
    expect(body.error).toMatchObject({ code: 'SECRET_REFUSED', retryable: false });
    const { body: answer } = await ask('GET', '/history?secretType=API_KEY&limit=1');
    expect(answer.history).toMatchObject([{ secretName, rotatedAt: null, status: 'FAILED' }]);
    await superuser.run('UPDATE public.rotations SET leased_until = NULL, next_attempt_at = clock_timestamp()');
    await new RotationMachine(service.context.services.secrets).runDue(signal);
    expect(await scheduleOf(secretName)).toMatchObject({ status: 'ACTIVE' });
    expect((await ask('GET', '/history?secretType=API_KEY&limit=1')).body).toEqual(answer);
  });

  test('of what is under way, or is not there, is refused with its code', async () => {
    const unknown = await ask('POST', '/rotate', { secretType: 'API_KEY', secretName: 'nobody' });
    expect({ status: unknown.status, code: unknown.body.error.code }).toEqual({ status: 404, code: 'NOT_FOUND' });
    await ask('POST', '/rotate', { secretType: 'SIGNING_KEY', secretName: 'audit' });
    const again = await ask('POST', '/rotate', { secretType: 'SIGNING_KEY', secretName: 'audit' });
    expect({ status: again.status, code: again.body.error.code }).toEqual({ status: 409, code: 'ROTATION_CONFLICT' });
  });
});

describe('PUT policy', () => {
  test('sets that of a type, and gives it back', async () => {
    const change = { secretType: 'OAUTH', rotationIntervalDays: 30, gracePeriodDays: 2, autoRotate: true };
    const { status, body } = await ask('PUT', '/policy', change);
    expect(status).toBe(200);
    expect(body).toEqual({ policy: { ...change, secretName: null, window: {} } });
    const { data } = await service.call(
      '{ rotationPolicies { secretType rotationIntervalDays gracePeriodDays autoRotate } }',
    );
    expect(data?.rotationPolicies).toContainEqual(change);
    expect(await entriesOf('updateRotationPolicy')).toMatchObject([{ outcome: 'OK' }]);
  });

  test('of one secret leaves that of its type', async () => {
    const secretName = await registerKey();
    await ask('PUT', '/policy', { secretType: 'API_KEY', secretName, rotationIntervalDays: 1 });
    expect(await scheduleOf(secretName)).toMatchObject({ status: 'DUE', daysUntilRotation: 0 });
    const other = await registerKey();
    expect(await scheduleOf(other)).toMatchObject({ status: 'ACTIVE', daysUntilRotation: 59 });
  });
});

/** Entries of the last call of a kind. */
async function entriesOf(resource: string): Promise<unknown[]> {
  return superuser.run(
    `SELECT outcome FROM public.audit_entries WHERE event = 'ApiCall' AND resource = $1 AND request_id =
       (SELECT request_id FROM public.audit_entries WHERE event = 'ApiCall' AND resource = $1 ORDER BY chain_index DESC LIMIT 1)`,
    [resource],
  );
}

const paths: readonly (readonly [string, string, object | undefined])[] = [
  ['GET', '/schedule', undefined],
  ['GET', '/history', undefined],
  ['POST', '/rotate', { secretType: 'SIGNING_KEY', secretName: 'signals' }],
  ['PUT', '/policy', { secretType: 'WEBHOOK', rotationIntervalDays: 91 }],
];

test('reading is for MONITOR, AUDITOR and ADMIN, changing for ADMIN, and nothing for others', async () => {
  const keys: Record<string, string | null> = { nobody: null };
  for (const role of ['PRODUCER', 'ANALYST', 'MONITOR', 'AUDITOR']) keys[role] = await service.makeKey(role);
  const found: Record<string, Record<string, number>> = {};
  for (const [who, key] of Object.entries(keys)) {
    found[who] = {};
    for (const [method, path, body] of paths) found[who][path] = (await ask(method, path, body, key)).status;
  }
  const none = { '/rotate': 403, '/policy': 403 };
  expect(found).toEqual({
    nobody: { '/schedule': 401, '/history': 401, '/rotate': 401, '/policy': 401 },
    PRODUCER: { '/schedule': 403, '/history': 403, ...none },
    ANALYST: { '/schedule': 403, '/history': 403, ...none },
    MONITOR: { '/schedule': 200, '/history': 200, ...none },
    AUDITOR: { '/schedule': 200, '/history': 200, ...none },
  });
});

const goodPolicy = { secretType: 'WEBHOOK', rotationIntervalDays: 91, gracePeriodDays: 1, autoRotate: false };
const goodRotation = { secretType: 'API_KEY', secretName: 'nobody', newValue: value };

test.each<readonly [string, string, string, unknown]>([
  ['no type', 'POST', '/rotate', { secretName: 'signals', newValue: value }],
  ['a type that is a value', 'POST', '/rotate', { secretType: value, secretName: 'signals' }],
  ['no name', 'POST', '/rotate', { secretType: 'API_KEY', newValue: value }],
  ['an empty name', 'POST', '/rotate', { ...goodRotation, secretName: '' }],
  ['a name with a NUL', 'POST', '/rotate', { ...goodRotation, secretName: 'a\0b' }],
  ['a name that is half a character', 'POST', '/rotate', { ...goodRotation, secretName: 'a\ud800b' }],
  ['a value that is a number', 'POST', '/rotate', { ...goodRotation, newValue: 4711 }],
  ['a value that is an object', 'POST', '/rotate', { ...goodRotation, newValue: { value } }],
  ['a value that is null', 'POST', '/rotate', { ...goodRotation, newValue: null }],
  ['an empty value', 'POST', '/rotate', { ...goodRotation, newValue: '' }],
  ['a value under another name', 'POST', '/rotate', { secretType: 'API_KEY', secretName: 'x', newvalue: value }],
  ['a value as a name of a member', 'POST', '/rotate', { secretType: 'API_KEY', secretName: 'x', [value]: 1 }],
  ['a value in a reason that is too long', 'POST', '/rotate', { ...goodRotation, reason: value.repeat(100) }],
  ['a reason with a NUL', 'POST', '/rotate', { secretType: 'SIGNING_KEY', secretName: 'signals', reason: 'a\0b' }],
  [
    'a reason of half a character',
    'POST',
    '/rotate',
    { secretType: 'SIGNING_KEY', secretName: 'signals', reason: '\ud800' },
  ],
  ['a list', 'POST', '/rotate', [goodRotation]],
  ['nothing', 'POST', '/rotate', undefined],
  ['no type', 'PUT', '/policy', { rotationIntervalDays: 30 }],
  ['an interval of part of a day', 'PUT', '/policy', { ...goodPolicy, rotationIntervalDays: 1.5 }],
  ['an interval of nothing', 'PUT', '/policy', { ...goodPolicy, rotationIntervalDays: 0 }],
  ['an interval of more than ten years', 'PUT', '/policy', { ...goodPolicy, rotationIntervalDays: 3_651 }],
  ['an interval as text', 'PUT', '/policy', { ...goodPolicy, rotationIntervalDays: '30' }],
  ['a grace below nothing', 'PUT', '/policy', { ...goodPolicy, gracePeriodDays: -1 }],
  ['an endless grace', 'PUT', '/policy', '{"secretType":"WEBHOOK","gracePeriodDays":1e999}'],
  ['autoRotate as text', 'PUT', '/policy', { ...goodPolicy, autoRotate: 'yes' }],
  ['a window that is none', 'PUT', '/policy', { ...goodPolicy, window: { timeZone: value } }],
  ['a member too many', 'PUT', '/policy', { ...goodPolicy, [value]: value }],
  ['a limit of none', 'GET', '/history?limit=0', undefined],
  ['a limit of words', 'GET', '/history?limit=many', undefined],
  ['a limit that is too high', 'GET', '/history?limit=1001', undefined],
  ['two limits', 'GET', '/history?limit=1&limit=2', undefined],
  ['another type', 'GET', `/history?secretType=${value}`, undefined],
  ['a parameter too many', 'GET', '/history?secret=1', undefined],
  ['a name with a NUL', 'GET', '/history?secretName=a%00b', undefined],
])('%s is refused: %s %s', async (_what, method, path, body) => {
  const rotations = await superuser.value('SELECT count(*) FROM public.rotations');
  const { status, body: answer, text } = await ask(method, path, body);
  expect({ status, code: answer.error?.code }).toEqual({ status: 400, code: 'BAD_USER_INPUT' });
  expect(text).not.toContain(value);
  expect(await superuser.value('SELECT count(*) FROM public.rotations')).toBe(rotations);
});

test('a body that is no JSON, or too large, is refused without a word of it', async () => {
  const broken = await ask('POST', '/rotate', `{"newValue": "${value}"`);
  expect({ status: broken.status, code: broken.body.error.code }).toEqual({ status: 400, code: 'BAD_REQUEST' });
  const large = await ask('POST', '/rotate', { ...goodRotation, newValue: value.repeat(10_000) });
  expect({ status: large.status, code: large.body.error.code }).toEqual({ status: 400, code: 'BAD_REQUEST' });
  expect(large.body.error.message).toContain('262144 bytes');
  expect(broken.text + large.text).not.toContain(value);
});

test('after all of this the value is in no answer and no table, and the ledger is intact', async () => {
  expect(answered).not.toContain(value);
  expect(await dumpDatabase(service.database.urls.superuser)).not.toContain(value);
  await expectLedgerIntact(service.database.urls.auditor);
});
