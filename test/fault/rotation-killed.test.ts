import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { requestRotation, rollBackRotation } from '../../src/secrets/request-rotation.js';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import { readRotation } from '../../src/secrets/rotation-rows.js';
import { serviceSecretOrigin } from '../../src/secrets/secret-entries.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { checkInFull } from '../support/retained-log.js';
import { RotationNodes } from '../support/rotation-node.js';
import { faultOf, rotatedTargets, type RotatedTarget } from '../support/rotation-targets.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

/** What a rotation that nothing happens to goes through. */
const plain = 'PLANNED STAGED APPLYING APPLIED VERIFIED ROTATED REVOKING REVOKED';
const appliedAgain = 'PLANNED STAGED APPLYING UNKNOWN STAGED APPLYING APPLIED VERIFIED ROTATED REVOKING REVOKED';
const foundApplied = 'PLANNED STAGED APPLYING UNKNOWN APPLIED VERIFIED ROTATED REVOKING REVOKED';

/** Where a node is killed, and what the next one makes of the rotation that it left. */
const places: readonly (readonly [string, string])[] = [
  ['before create', plain],
  ['after create', plain],
  ['STAGED', plain],
  ['APPLYING', appliedAgain],
  ['after apply', foundApplied],
  ['APPLIED', plain],
  ['after verify', plain],
  ['VERIFIED', plain],
  ['ROTATED', plain],
  ['after promoted', plain],
  ['before isInUse', plain],
  ['REVOKING', plain],
  ['after revoke', plain],
  ['REVOKED', plain],
];
/** Places inside a transaction, which holds the ledger: one rotation at a time gets there. */
const heldPlaces = ['STAGED', 'APPLIED', 'ROTATED', 'REVOKED'].map((step) => `${step} before its commit`);

let service: TestService;
let superuser: SqlSession;
let nodes: RotationNodes;
const owned = new AsyncDisposableStack();

beforeAll(async () => {
  service = await startTestService({ environment: { DAYBOOK_JOBS: 'off' } });
  nodes = new RotationNodes(service, 2);
  superuser = await openSession(service.database.urls.superuser);
  for (const target of rotatedTargets) await target.prepare(service, owned);
  await superuser.run("UPDATE public.rotation_policies SET grace = '0'");
});

afterAll(async () => {
  for (const stop of users) await stop();
  await nodes[Symbol.asyncDispose]();
  await owned.disposeAsync();
  await superuser[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

async function plan({ type, name }: RotatedTarget): Promise<string> {
  const origin = serviceSecretOrigin(randomUUID());
  const request = { type, name, reason: 'asked for by the test', requestedBy: 'the test', origin };
  return (await requestRotation(service.context.services.secrets, request)).id;
}

/** As if the leases of dead nodes, and the pauses before attempts, were over. */
async function passTime(): Promise<void> {
  await superuser.run('UPDATE public.rotations SET leased_until = NULL, next_attempt_at = clock_timestamp()');
}

async function stepsOf(id: string): Promise<string> {
  const rotation = await readRotation(service.context.services.database, id);
  return (rotation?.steps ?? []).map(({ status }) => status).join(' ');
}

/**
 * The path, where it makes no difference: another secret that was sealed with the key before, by a node that had not seen the new
 * one, is wrapped anew, which is one more application.
 */
function asFound({ type }: RotatedTarget, path: string): string {
  return type === 'ENCRYPTION_KEY' && path === appliedAgain ? foundApplied : path;
}

/** Another node takes over what a dead one left, until nothing is to be done any more. */
async function takeOver(ids: readonly string[]): Promise<void> {
  const machine = new RotationMachine(service.context.services.secrets);
  const { signal } = new AbortController();
  await waitUntil('the rotations have ended', async () => {
    await passTime();
    await machine.runDue(signal);
    const open = await superuser.value(
      `SELECT count(*) FROM public.rotations WHERE id = ANY ($1::uuid[]) AND status NOT IN ('REVOKED', 'FAILED', 'ROLLED_BACK')`,
      [ids],
    );
    return Number(open) === 0;
  });
}

/** Whatever becomes of a test, they end with it. */
const users: (() => Promise<unknown>)[] = [];

/** Uses every current value, over and over, until it is told to stop; gives how often that was, and what did not work. */
function keepUsing(): () => Promise<{ uses: number; faults: string[] }> {
  const faults = new Set<string>();
  let [uses, stopped] = [0, false];
  const using = (async () => {
    while (!stopped) {
      for (const target of rotatedTargets) {
        const fault = await faultOf(service, target);
        if (fault !== null) faults.add(fault);
        uses += 1;
      }
      // Often enough to meet every step, and the nodes need the processor too.
      await pause(20);
    }
  })();
  const stop = async () => {
    stopped = true;
    await using;
    return { uses, faults: [...faults] };
  };
  users.push(stop);
  return stop;
}

/** What is there of a secret after all of its rotations: each generation once, the last one valid alone. */
async function remains({ type, name, given, valid }: RotatedTarget): Promise<object> {
  const versions = await superuser.run(
    `SELECT generation, label FROM public.secret_versions JOIN public.secrets ON id = secret
     WHERE type = $1 AND name = $2 AND revoked_at IS NULL ORDER BY generation`,
    [type, name],
  );
  const repeated = await superuser.run(
    `SELECT event, count(*)::integer AS count FROM public.audit_entries
     WHERE resource = $1 AND event IN ('SecretRotationStarted', 'SecretRotated', 'SecretRevoked', 'SecretRolledBack')
     GROUP BY event, details ->> 'rotation' HAVING count(*) > 1`,
    [`secret/${type}/${name}`],
  );
  const ofTarget = await given(superuser);
  return { type, versions, repeated, valid: await valid(superuser), given: ofTarget };
}

test('a node that is killed at any step of a rotation leaves it to the next one, and the current value works throughout', async () => {
  const stopUsing = keepUsing();
  const found: Record<string, Record<string, string>> = {};
  const note = async (place: string, target: RotatedTarget, id: string) =>
    void ((found[place] ??= {})[target.type] = asFound(target, await stepsOf(id)));

  for (const [place] of places) {
    const ids = await Promise.all(rotatedTargets.map(plan));
    const node = await nodes.take();
    await node.halt(place, ids);
    await node.kill();
    await takeOver(ids);
    for (const [index, target] of rotatedTargets.entries()) await note(place, target, ids[index]!);
  }
  for (const place of heldPlaces) {
    for (const target of rotatedTargets) {
      const id = await plan(target);
      const node = await nodes.take();
      await node.halt(place, [id]);
      await node.kill();
      await takeOver([id]);
      await note(place, target, id);
    }
  }
  const { uses, faults } = await stopUsing();

  const expected = [
    ...places,
    ...heldPlaces.map((place) => [place, place.startsWith('APPLIED') ? foundApplied : plain]),
  ];
  const row = (path: string) => Object.fromEntries(rotatedTargets.map((each) => [each.type, asFound(each, path)]));
  expect(found).toEqual(Object.fromEntries(expected.map(([place, path]) => [place, row(path)])));
  expect(faults).toEqual([]);
  expect(uses).toBeGreaterThan(100);
  await expectNothingTwice();
}, 240_000);

test('a rotation whose nodes are killed one after the other comes to its end', async () => {
  const stopUsing = keepUsing();
  const ids = await Promise.all(rotatedTargets.map(plan));
  for (const place of ['after apply', 'UNKNOWN', 'APPLIED', 'VERIFIED', 'ROTATED', 'after revoke']) {
    const node = await nodes.take();
    await node.halt(place, ids);
    await node.kill();
    await passTime();
  }
  await takeOver(ids);
  const paths = await Promise.all(ids.map(stepsOf));
  expect(paths.map((path, place) => asFound(rotatedTargets[place]!, path))).toEqual(paths.map(() => foundApplied));

  const encryption = rotatedTargets.filter(({ type }) => type === 'ENCRYPTION_KEY');
  for (const target of encryption) {
    const id = await plan(target);
    const node = await nodes.take();
    await node.halt('a batch of data keys', [id]);
    await node.kill();
    await takeOver([id]);
    expect(await stepsOf(id)).toBe(appliedAgain);
  }
  expect(await stopUsing()).toMatchObject({ faults: [] });
  await expectNothingTwice();
}, 120_000);

test('a roll-back whose node is killed is whole or has not happened, and the next node ends it', async () => {
  await superuser.run("UPDATE public.rotation_policies SET grace = '1 day'");
  const targets = rotatedTargets.filter(({ hasTwoPlaces }) => hasTwoPlaces);
  const machine = new RotationMachine(service.context.services.secrets);
  const ids: string[] = [];
  for (const target of targets) {
    const id = await plan(target);
    ids.push(id);
    await machine.runOne(id, null, new AbortController().signal);
    const before = await currentGeneration(target);
    const stopUsing = keepUsing();
    const stayed = await nodes.take();
    await stayed.halt('ROLLED_BACK before its commit', [id], true);
    await stayed.kill();
    expect(await currentGeneration(target)).toBe(before);
    const origin = serviceSecretOrigin(randomUUID());
    await rollBackRotation(service.context.services.secrets, { rotationId: id, reason: 'it does not work', origin });
    expect(await currentGeneration(target)).toBe(before - 1);
    for (const place of ['before revoke', 'after revoke']) {
      const node = await nodes.take();
      await node.halt(place);
      await node.kill();
      await passTime();
    }
    await takeOver([id]);
    expect(await stopUsing()).toMatchObject({ faults: [] });
  }
  expect(await Promise.all(ids.map(stepsOf))).toEqual(
    targets.map(() => 'PLANNED STAGED APPLYING APPLIED VERIFIED ROTATED ROLLED_BACK'),
  );
  // The rotation after it leaves nothing of what was rolled back.
  await superuser.run("UPDATE public.rotation_policies SET grace = '0'");
  await takeOver(await Promise.all(rotatedTargets.map(plan)));
  await expectNothingTwice();
}, 120_000);

/** What is left of each secret, and the ledger, after every rotation has ended. */
async function expectNothingTwice(): Promise<void> {
  for (const target of rotatedTargets) {
    const last = await currentGeneration(target);
    expect(await remains(target)).toEqual({
      type: target.type,
      versions: [{ generation: last, label: 'CURRENT' }],
      repeated: [],
      valid: [last],
      given: Array.from({ length: last }, (_, index) => index + 1),
    });
  }
  await expectLedgerIntact(service.database.urls.auditor);
  expect(await checkInFull(service)).toMatchObject({ result: 'OK', breaks: [] });
}

async function currentGeneration({ type, name }: RotatedTarget): Promise<number> {
  const { database } = service.context.services;
  const found = await database.query<{ generation: number }>(
    `SELECT generation FROM public.secret_versions JOIN public.secrets ON id = secret
     WHERE type = $1 AND name = $2 AND label = 'CURRENT'`,
    [type, name],
  );
  return found.rows[0]?.generation ?? 0;
}
