import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { RotationBed } from '../support/rotation-bed.js';
import { startRotationHook, type RotationHook } from '../support/rotation-hook.js';
import { startTestService } from '../support/test-service.js';

const never = new AbortController().signal;
const signingKey = 'a key that only the two sides have';
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

interface Enrolled {
  readonly hook: RotationHook;
  readonly secretName: string;
  /** The value it has first. */
  readonly first: string;
}

/** A target of its own with a secret that is registered here. */
async function enrol(places: 1 | 2, settings: Record<string, string> = {}): Promise<Enrolled> {
  const secretName = `target-${(names += 1)}`;
  const first = `first-value-of-${secretName}`;
  const hook = owned.use(await startRotationHook({ signingKey, value: first, places }));
  const all = { url: hook.url, zeroDowntime: String(places === 2), ...settings };
  const code = await bed.register({
    secretType: 'WEBHOOK',
    secretName,
    settings: Object.entries(all).map(([name, value]) => ({ name, value })),
    value: first,
    credential: signingKey,
  });
  expect(code).toBeUndefined();
  return { hook, secretName, first };
}

const rotate = (secretName: string, more = {}) => bed.rotate({ secretType: 'WEBHOOK', secretName, ...more });
const valueOf = async (secretName: string) => (await bed.value('WEBHOOK', secretName)) ?? '';

/** The current value is the one of before, and works. */
async function expectUntouched({ hook, secretName, first }: Enrolled): Promise<void> {
  expect(await valueOf(secretName)).toBe(first);
  expect(hook.lets(first)).toBe(true);
}

const becomes = (id: string, status: string) => bed.becomes(id, status);

describe('a target that does what it says', () => {
  test.each([
    [2, ['set', 'test', 'finish', 'finish', 'revoke', 'test']],
    [1, ['set', 'test', 'finish', 'finish', 'test']],
  ] as const)('with %i places is rotated by signed calls, then refuses the value before', async (places, steps) => {
    const { hook, secretName, first } = await enrol(places);
    const { id, status } = await rotate(secretName);
    expect(status).toBe('ROTATED');
    const value = await valueOf(secretName);
    expect(hook.lets(value)).toBe(true);
    expect(hook.lets(first)).toBe(places === 2);
    await becomes(id, 'REVOKED');
    expect(hook.lets(first)).toBe(false);
    expect(hook.lets(value)).toBe(true);
    expect(hook.calls.map(({ step }) => step)).toEqual(steps);
    const withValues = hook.calls.filter((call) => call.value !== undefined).map(({ step }) => step);
    expect(new Set(withValues)).toEqual(new Set(['set', 'test']));
    expect(hook.bodies.join()).not.toContain(signingKey);
  });

  test('makes the value itself where the settings say so, and is told its own name of it', async () => {
    const { hook, secretName } = await enrol(2, { makesValues: 'true', reference: 'the-first' });
    const { id, generation } = await rotate(secretName);
    expect(await valueOf(secretName)).toBe(`made-for-${generation}-by-the-target`);
    await becomes(id, 'REVOKED');
    const referenceOf = (step: string) => hook.calls.find((call) => call.step === step)?.reference;
    expect(referenceOf('finish')).toBe('place-2');
    expect(referenceOf('revoke')).toBe('the-first');
  });

  test('takes a value that the caller gives', async () => {
    const { hook, secretName } = await enrol(2);
    expect((await rotate(secretName, { newValue: 'given by the caller' })).status).toBe('ROTATED');
    expect(hook.lets('given by the caller')).toBe(true);
  });

  test('that says the value before is in use holds its revocation until it is not', async () => {
    const { hook, secretName, first } = await enrol(2, { reportsUse: 'true' });
    hook.misbehave(({ step }) => (step === 'usage' ? { status: 200, body: { inUse: true } } : undefined));
    const { id } = await rotate(secretName);
    await becomes(id, 'HELD');
    expect(hook.lets(first)).toBe(true);
    hook.misbehave(() => undefined);
    await becomes(id, 'REVOKED');
  });
});

describe('a target that rejects the value', () => {
  test.each([400, 403, 422, 307])('with %i: FAILED, with its alert; the next rotation succeeds', async (status) => {
    const enrolled = await enrol(1);
    const secret = 'an answer that repeats what is private';
    enrolled.hook.misbehave(({ step }) => (step === 'set' ? { status, body: secret } : undefined));
    const { id, status: ended, steps } = await rotate(enrolled.secretName);
    expect(ended).toBe('FAILED');
    expect(steps.at(-1)?.note).toContain(String(status));
    expect(JSON.stringify(steps)).not.toContain(secret);
    expect(await bed.alerts(id)).toEqual(['SecretRotationFailed']);
    await expectUntouched(enrolled);
    enrolled.hook.misbehave(() => undefined);
    expect((await rotate(enrolled.secretName)).status).toBe('ROTATED');
  });
});

describe('a target that gives no answer', () => {
  test('is UNKNOWN, then held with its alerts; it blocks neither another secret nor the next rotation of its own', async () => {
    const hasty = new RotationBed(bed.service, 150);
    const enrolled = await enrol(2);
    const other = await enrol(2);
    enrolled.hook.misbehave(() => null);
    const stuck = await hasty.plan('WEBHOOK', enrolled.secretName);
    await hasty.runDue();
    expect((await hasty.read(stuck)).steps.map(({ status }) => status).slice(-2)).toEqual(['APPLYING', 'UNKNOWN']);
    const healthy = await bed.plan('WEBHOOK', other.secretName);
    await hasty.becomes(stuck, 'HELD');
    expect(await hasty.alerts(stuck)).toEqual(['SecretRotationUnknown', 'SecretRotationHeld']);
    await expectUntouched(enrolled);
    await becomes(healthy, 'REVOKED');
    enrolled.hook.misbehave(() => undefined);
    expect((await rotate(enrolled.secretName)).status).toBe('ROTATED');
    expect((await bed.read(stuck)).status).toBe('FAILED');
  });

  test('but took the value: the target is asked, and the rotation goes on without a second call', async () => {
    const hasty = new RotationBed(bed.service, 1_000);
    const { hook, secretName } = await enrol(2);
    let taken = '';
    hook.misbehave(({ step, value = '' }) => {
      if (step === 'set') taken = value;
      if (step === 'set') return null;
      return step === 'test' ? { status: 200, body: { works: value === taken } } : undefined;
    });
    const id = await hasty.plan('WEBHOOK', secretName);
    await hasty.runDue();
    expect((await bed.read(id)).status).toBe('ROTATED');
    expect(await valueOf(secretName)).toBe(taken);
    expect(hook.calls.filter(({ step }) => step === 'set')).toHaveLength(1);
  });

  test('and did not take the value has it applied again under the same id, and is held after five times', async () => {
    const enrolled = await enrol(2);
    enrolled.hook.misbehave(({ step }) => (step === 'set' ? { status: 503 } : undefined));
    const { id } = await rotate(enrolled.secretName);
    await becomes(id, 'HELD');
    const ids = enrolled.hook.calls.filter(({ step }) => step === 'set').map((call) => call.id);
    expect(ids).toHaveLength(5);
    expect(new Set(ids).size).toBe(1);
    await expectUntouched(enrolled);
  });
});

describe('a target that lies', () => {
  test.each([1, 2] as const)('about success with %i places: FAILED, and the current value works', async (places) => {
    const enrolled = await enrol(places);
    enrolled.hook.misbehave(({ step, generation }) =>
      step === 'set' && generation > 1 ? { status: 200, body: {} } : undefined,
    );
    const { id, status, steps } = await rotate(enrolled.secretName);
    expect(status).toBe('FAILED');
    expect(steps.map((step) => step.status)).toEqual(['PLANNED', 'STAGED', 'APPLYING', 'APPLIED', 'FAILED']);
    expect(await bed.alerts(id)).toEqual(['SecretRotationFailed']);
    await expectUntouched(enrolled);
  });

  test('by spoiling its one place gets the current value back at once', async () => {
    const enrolled = await enrol(1);
    enrolled.hook.misbehave(({ step, generation }) =>
      step === 'test' && generation > 1 ? { status: 200, body: { works: false } } : undefined,
    );
    expect((await rotate(enrolled.secretName)).status).toBe('FAILED');
    await expectUntouched(enrolled);
    const sets = enrolled.hook.calls.filter(({ step }) => step === 'set');
    expect(sets.map(({ generation }) => generation)).toEqual([2, 1]);
    expect(new Set(sets.map(({ id }) => id)).size).toBe(2);
  });

  test('in its test, which answers no question: held, and the current value works', async () => {
    const enrolled = await enrol(2);
    enrolled.hook.misbehave(({ step }) => (step === 'test' ? { status: 200, body: { works: 'yes' } } : undefined));
    const { id } = await rotate(enrolled.secretName);
    await becomes(id, 'HELD');
    expect(await bed.alerts(id)).toEqual(['SecretRotationHeld']);
    await expectUntouched(enrolled);
  });

  test('about revocation: held, and the value before is not called revoked', async () => {
    const { hook, secretName, first } = await enrol(2);
    hook.misbehave(({ step }) => (step === 'revoke' ? { status: 200, body: {} } : undefined));
    const { id } = await rotate(secretName);
    await becomes(id, 'HELD');
    expect((await bed.read(id)).steps.at(-1)?.note).toContain('still works');
    expect(hook.lets(first)).toBe(true);
    hook.misbehave(() => undefined);
    await becomes(id, 'REVOKED');
    expect(hook.lets(first)).toBe(false);
  });

  test('with an answer without end: it is cut off, and nothing of it is taken', async () => {
    const enrolled = await enrol(2);
    const body = { works: true, filler: 'x'.repeat(100_000) };
    enrolled.hook.misbehave(({ step }) => (step === 'test' ? { status: 200, body } : undefined));
    const { id } = await rotate(enrolled.secretName);
    await becomes(id, 'HELD');
    expect((await bed.read(id)).steps.at(-1)?.note).toContain('too much');
    await expectUntouched(enrolled);
  });
});

test('what a failed rotation has left is not touched while its secret is rotated again', async () => {
  const enrolled = await enrol(1);
  enrolled.hook.misbehave(({ step, generation }) => {
    if (step === 'test' && generation === 2) return { status: 200, body: { works: false } };
    return step === 'set' && generation === 1 ? { status: 503 } : undefined;
  });
  expect((await rotate(enrolled.secretName)).status).toBe('FAILED');
  const next = await bed.plan('WEBHOOK', enrolled.secretName);
  const before = enrolled.hook.calls.length;
  const { secrets } = bed.service.context.services;
  await secrets.database.query(
    `UPDATE public.rotations SET next_attempt_at = clock_timestamp() + interval '1 hour' WHERE id = $1`,
    [next],
  );
  await bed.runDue(false);
  expect(enrolled.hook.calls).toHaveLength(before);
  enrolled.hook.misbehave(() => undefined);
  await bed.runDue();
  const value = await valueOf(enrolled.secretName);
  expect(value).not.toBe(enrolled.first);
  await bed.runDue();
  expect(enrolled.hook.lets(value)).toBe(true);
});

test('a value that was given and lost with its node is replaced by no other: the rotation fails', async () => {
  const enrolled = await enrol(2);
  const id = await bed.plan('WEBHOOK', enrolled.secretName, true);
  await bed.runDue();
  expect((await bed.read(id)).status).toBe('PLANNED');
  await new RotationMachine(bed.service.context.services.secrets).runOne(id, null, never);
  expect((await bed.read(id)).status).toBe('FAILED');
  expect(enrolled.hook.calls).toEqual([]);
  await expectUntouched(enrolled);
});

test('a value or a credential that a rotator has no use for fails its rotation', async () => {
  const audit = { secretType: 'SIGNING_KEY', secretName: 'audit' };
  expect((await bed.rotate({ ...audit, newValue: 'of my own choice' })).status).toBe('FAILED');
  expect((await bed.rotate({ ...audit, newCredential: 'of my own choice' })).status).toBe('FAILED');
  expect((await bed.rotate(audit)).status).toBe('ROTATED');
});

test('a rotation that waits before it is tried again is not taken by name either', async () => {
  const enrolled = await enrol(2);
  enrolled.hook.misbehave(({ step }) => (step === 'set' || step === 'test' ? { status: 503 } : undefined));
  const { id, status } = await rotate(enrolled.secretName);
  expect(status).toBe('UNKNOWN');
  const before = enrolled.hook.calls.length;
  await new RotationMachine(bed.service.context.services.secrets).runOne(id, null, never);
  expect(enrolled.hook.calls).toHaveLength(before);
  await becomes(id, 'HELD');
});

test.each([
  ['no key to sign with', { credential: undefined }, {}],
  ['a key that is too short', { credential: 'short' }, {}],
  ['an address that is not encrypted', {}, { url: 'http://target.example/hook' }],
  ['an address with a password', {}, { url: 'https://user:word@target.example/hook' }],
  ['one place without the value that it has', { value: undefined }, { zeroDowntime: 'false' }],
  ['a setting that there is not', {}, { colour: 'red' }],
])('registration refuses %s', async (_what, input, settings) => {
  const all = { url: 'https://target.example/hook', ...settings };
  const code = await bed.register({
    secretType: 'WEBHOOK',
    secretName: 'refused',
    settings: Object.entries(all).map(([name, value]) => ({ name, value })),
    value: 'a value',
    credential: signingKey,
    ...input,
  });
  expect(code).toBe('BAD_USER_INPUT');
});
