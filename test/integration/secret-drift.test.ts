import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { checkDrift } from '../../src/secrets/check-drift.js';
import type { SecretServices } from '../../src/secrets/secret-services.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { startTestService, type TestService } from '../support/test-service.js';

const never = new AbortController().signal;
const hourMs = 3_600_000;
const environment = { DAYBOOK_JOBS: 'off', DAYBOOK_MASTER_KEY: '11'.repeat(32), DAYBOOK_DRIFT_CHECK_HOURS: '1' };
const startMs = Date.parse('2026-03-10T08:00:00Z');

let database: TestDatabase;
let service: TestService;
let other: TestService;
let session: SqlSession;

beforeAll(async () => {
  database = await createTestDatabase();
  service = await startTestService({ database, environment });
  other = await startTestService({ database, environment });
  session = await openSession(database.urls.superuser);
});

afterAll(async () => {
  await expectLedgerIntact(database.urls.auditor);
  await session[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** A node's services at a time of the test's choosing, `hours` after its start. */
function servicesAt(hours: number, node = service): SecretServices {
  return { ...node.context.services.secrets, clock: { nowMs: () => startMs + hours * hourMs } };
}

const check = (hours: number) => checkDrift(servicesAt(hours), never);

async function alerts(secret: string): Promise<string[]> {
  const rows = await session.run(
    `SELECT event, category FROM public.audit_entries WHERE resource = 'secret/${secret}' AND event LIKE 'SecretDrift%' ORDER BY chain_index`,
  );
  expect(rows.every(({ category }) => category === 'ALERT')).toBe(true);
  return rows.map(({ event }) => String(event));
}

async function shown(secretType: string, secretName: string): Promise<string | null> {
  const { data } = await service.call('{ rotationSchedule { secretType secretName driftDetectedAt } }');
  const entries = data?.rotationSchedule as {
    secretType: string;
    secretName: string;
    driftDetectedAt: string | null;
  }[];
  return entries.find((one) => one.secretType === secretType && one.secretName === secretName)!.driftDetectedAt;
}

test('an API key that is revoked behind the store is told of once a day, whichever node looks, and shows in the schedule', async () => {
  const key = await service.makeKey('ANALYST');
  const name = (await service.call('{ viewer { name } }', {}, key)).data?.viewer.name as string;
  await service.call(
    'mutation ($input: RegisterSecretInput!) { registerSecret(input: $input) { schedule { driftDetectedAt } } }',
    { input: { secretType: 'API_KEY', secretName: name } },
  );
  expect(await check(0)).toBe(0);
  await session.run(`UPDATE public.api_keys SET revoked_at = clock_timestamp() WHERE name = '${name}'`);
  // Its turn has not come.
  expect(await check(0.9)).toBe(0);
  const found = await Promise.all([checkDrift(servicesAt(1), never), checkDrift(servicesAt(1, other), never)]);
  expect(Math.max(...found)).toBe(1);
  expect(await alerts(`API_KEY/${name}`)).toEqual(['SecretDrifted']);
  expect(await shown('API_KEY', name)).toBe('2026-03-10T09:00:00.000000Z');
  expect([await check(3), await check(15.9)]).toEqual([1, 1]);
  expect(await alerts(`API_KEY/${name}`)).toEqual(['SecretDrifted']);
  // Past midnight, UTC.
  expect(await check(17)).toBe(1);
  expect(await alerts(`API_KEY/${name}`)).toEqual(['SecretDrifted', 'SecretDrifted']);
  expect(await shown('API_KEY', name)).toBe('2026-03-10T09:00:00.000000Z');
});

test('an encryption key that is altered is told of, and no more once it is as it was', async () => {
  const [kept] = await session.run("SELECT encode(wrapped, 'hex') AS wrapped FROM public.encryption_keys");
  expect(await check(100)).toBeGreaterThanOrEqual(0);
  expect(await shown('ENCRYPTION_KEY', 'data-keys')).toBeNull();
  await session.run('UPDATE public.encryption_keys SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1)');
  await check(102);
  expect(await shown('ENCRYPTION_KEY', 'data-keys')).not.toBeNull();
  await session.run(`UPDATE public.encryption_keys SET wrapped = decode('${String(kept?.wrapped)}', 'hex')`);
  await check(104);
  expect(await shown('ENCRYPTION_KEY', 'data-keys')).toBeNull();
  expect(await alerts('ENCRYPTION_KEY/data-keys')).toEqual(['SecretDrifted', 'SecretDriftEnded']);
});

test('where nobody can tell, nobody is told', async () => {
  const [kept] = await session.run('SELECT root_key_id AS root FROM public.encryption_keys');
  await session.run("UPDATE public.encryption_keys SET root_key_id = 'of another node'");
  await check(200);
  expect(await shown('ENCRYPTION_KEY', 'data-keys')).toBeNull();
  await session.run(`UPDATE public.encryption_keys SET root_key_id = '${String(kept?.root)}'`);
  expect(await alerts('ENCRYPTION_KEY/data-keys')).toEqual(['SecretDrifted', 'SecretDriftEnded']);
});

test('a value is left alone while another is on its way to the target, and looked at again when that failed', async () => {
  const ends =
    "UPDATE public.signing_keys SET valid_until = clock_timestamp() WHERE log = 'signals' AND valid_until IS NULL";
  const secret = "(SELECT id FROM public.secrets WHERE type = 'SIGNING_KEY' AND name = 'signals')";
  await session.run(`INSERT INTO public.rotations (secret, generation, grace) VALUES (${secret}, 2, '1 hour')`);
  await session.run(ends);
  await check(300);
  expect(await shown('SIGNING_KEY', 'signals')).toBeNull();
  await session.run(`UPDATE public.rotations SET status = 'FAILED' WHERE secret = ${secret}`);
  await check(301);
  expect(await shown('SIGNING_KEY', 'signals')).toBe('2026-03-22T21:00:00.000000Z');
  expect(await alerts('SIGNING_KEY/signals')).toEqual(['SecretDrifted']);
});

test('a signing key whose stored part is altered is told of, and a new one is none of its', async () => {
  await session.run(
    "UPDATE public.signing_keys SET sealed_private_key = set_byte(sealed_private_key, 20, get_byte(sealed_private_key, 20) # 1) WHERE log = 'audit'",
  );
  await check(400);
  expect(await shown('SIGNING_KEY', 'audit')).not.toBeNull();
  const rotate = 'mutation ($input: RotateSecretInput!) { rotateSecret(input: $input) { rotation { status } } }';
  const { data } = await service.call(rotate, { input: { secretType: 'SIGNING_KEY', secretName: 'audit' } });
  expect(data?.rotateSecret.rotation.status).toBe('ROTATED');
  expect(await shown('SIGNING_KEY', 'audit')).toBeNull();
  await check(402);
  expect(await shown('SIGNING_KEY', 'audit')).toBeNull();
  expect(await alerts('SIGNING_KEY/audit')).toEqual(['SecretDrifted']);
});
