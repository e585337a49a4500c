import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readSchedule, runSchedule } from '../../src/secrets/run-schedule.js';
import type { SecretServices } from '../../src/secrets/secret-services.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { startTestService, type TestService } from '../support/test-service.js';

const never = new AbortController().signal;
const hourMs = 3_600_000;
const environment = { DAYBOOK_JOBS: 'off', DAYBOOK_MASTER_KEY: '11'.repeat(32) };

let database: TestDatabase;
let nodes: readonly TestService[];
let session: SqlSession;

beforeAll(async () => {
  database = await createTestDatabase();
  nodes = [await startTestService({ database, environment }), await startTestService({ database, environment })];
  session = await openSession(database.urls.superuser);
});

afterAll(async () => {
  await expectLedgerIntact(database.urls.auditor);
  await session[Symbol.asyncDispose]();
  for (const node of nodes) await node[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** A secret whose value has been current since then. */
async function secretSince(name: string, since: string): Promise<void> {
  await session.run(
    `WITH secret AS (INSERT INTO public.secrets (type, name, zero_downtime, registered_by)
       VALUES ('WEBHOOK', '${name}', true, 'test') RETURNING id)
     INSERT INTO public.secret_versions (secret, generation, label, current_from) SELECT id, 1, 'CURRENT', '${since}' FROM secret`,
  );
}

const atTime = (node: TestService, nowMs: number): SecretServices => ({
  ...node.context.services.secrets,
  clock: { nowMs: () => nowMs },
});

/** Both nodes look at once, and each once more. */
async function lookAt(nowMs: number): Promise<void> {
  for (let round = 0; round < 2; round += 1) {
    await Promise.all(nodes.map((node) => runSchedule(atTime(node, nowMs), never)));
  }
}

async function notices(name: string): Promise<string[]> {
  const rows = await session.run(
    `SELECT event, details FROM public.audit_entries WHERE category = 'ALERT' AND resource = 'secret/WEBHOOK/${name}' ORDER BY chain_index`,
  );
  return rows.map(({ event, details }) => {
    const { threshold, daysUntilRotation } = details as { threshold: string; daysUntilRotation: number };
    return `${String(event)} ${threshold} ${daysUntilRotation}`;
  });
}

test('the schedule has exact days: 90 after 2025-10-09 is 2026-01-07, and 60 are left on 2025-11-09 until 2026-01-09', async () => {
  await secretSince('due in January', '2025-10-09T00:00:00Z');
  await secretSince('due two days later', '2025-10-11T00:00:00Z');
  await secretSince('due on a leap day', '2023-12-01T05:00:00Z');
  const nowMs = Date.parse('2025-11-09T10:45:00Z');
  const schedule = await readSchedule(nodes[0]!.context.services.database, nowMs);
  const shown = (name: string) => {
    const entry = schedule.find(({ secretName }) => secretName === name);
    return [entry?.nextRotation, entry?.daysUntilRotation, entry?.status];
  };
  expect(shown('due in January')).toEqual(['2026-01-07T00:00:00.000000Z', 58, 'ACTIVE']);
  expect(shown('due two days later')).toEqual(['2026-01-09T00:00:00.000000Z', 60, 'ACTIVE']);
  expect(shown('due on a leap day')).toEqual(['2024-02-29T05:00:00.000000Z', -620, 'OVERDUE']);
});

test('each notice is given once, by two nodes that look at once, and the latest alone after a time without any', async () => {
  const name = 'told of';
  await secretSince(name, '2026-01-01T12:00:00Z');
  const nextMs = Date.parse('2026-04-01T12:00:00Z');
  const lookBefore = (hours: number) => lookAt(nextMs - hours * hourMs);
  for (const hours of [8 * 24, 7 * 24 + 1]) await lookBefore(hours);
  expect(await notices(name)).toEqual([]);
  for (const hours of [7 * 24, 6 * 24, 3 * 24 + 1]) await lookBefore(hours);
  expect(await notices(name)).toEqual(['SecretRotationDue DAYS:7 7']);
  // Nobody ran over the threshold of three days, nor that of one.
  await lookBefore(5);
  const soFar = ['SecretRotationDue DAYS:7 7', 'SecretRotationDue DAYS:1 0'];
  expect(await notices(name)).toEqual(soFar);
  // Nor on the first five days after.
  for (const hours of [-(5 * 24 + 2), -(5 * 24 + 20), -(6 * 24)]) await lookBefore(hours);
  expect(await notices(name)).toEqual([
    ...soFar,
    'SecretRotationOverdue OVERDUE:5 -6',
    'SecretRotationOverdue OVERDUE:6 -6',
  ]);
});

test('a notice that could not be recorded is given by the next look', async () => {
  const name = 'told of later';
  await secretSince(name, '2027-01-01T12:00:00Z');
  const nowMs = Date.parse('2027-03-29T12:00:00Z');
  const [node] = nodes as [TestService];
  const failing = { ...atTime(node, nowMs), append: () => Promise.reject(new Error('nothing can be recorded')) };
  await expect(runSchedule(failing, never)).rejects.toThrow('nothing can be recorded');
  expect(await notices(name)).toEqual([]);
  await lookAt(nowMs);
  expect(await notices(name)).toEqual(['SecretRotationDue DAYS:3 3']);
});

test('an overdue secret is rotated once, by one of the nodes, and not in hours of trading', async () => {
  const window = {
    timeZone: 'America/New_York',
    blackouts: [{ days: [1, 2, 3, 4, 5], from: '09:30', to: '16:00' }],
  };
  const { errors } = await nodes[0]!.call(
    'mutation ($input: UpdateRotationPolicyInput!) { updateRotationPolicy(input: $input) { policy { window } } }',
    { input: { secretType: 'ENCRYPTION_KEY', autoRotate: true, rotationIntervalDays: 1, window } },
  );
  expect(errors).toBeUndefined();
  const begun = async (at: string) => {
    const done = await Promise.all(nodes.map((node) => runSchedule(atTime(node, Date.parse(at)), never)));
    return done.reduce((sum, each) => sum + each.begun, 0);
  };
  // A Friday in summer, a quarter past ten in New York; then the same in winter, when that is in the window's hours no more.
  expect(await begun('2099-07-10T14:15:00Z')).toBe(0);
  expect(await begun('2099-12-11T14:15:00Z')).toBe(1);
  expect(await begun('2099-12-11T14:16:00Z')).toBe(0);
  const { data } = await nodes[0]!.call(
    '{ rotationHistory(secretType: ENCRYPTION_KEY, first: 5) { nodes { rotatedBy status } } }',
  );
  expect(data?.rotationHistory.nodes).toEqual([{ rotatedBy: null, status: 'PLANNED' }]);
});
