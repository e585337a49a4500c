import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { KeyRing } from '../../src/access/key-ring.js';
import { openRootKey } from '../../src/open-root-key.js';
import { requestRotation } from '../../src/secrets/request-rotation.js';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import { readRotation } from '../../src/secrets/rotation-rows.js';
import { EncryptionKeyRotator } from '../../src/secrets/rotators/encryption-key-rotator.js';
import { serviceSecretOrigin } from '../../src/secrets/secret-entries.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { checkInFull } from '../support/retained-log.js';
import { RotationNodes } from '../support/rotation-node.js';
import {
  apiKeyTarget,
  encryptionKeyTarget,
  faultOf,
  overtakenTargets,
  type RotatedTarget,
} from '../support/rotation-targets.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

let service: TestService;
let superuser: SqlSession;
let nodes: RotationNodes;
const owned = new AsyncDisposableStack();

beforeAll(async () => {
  service = await startTestService({ environment: { DAYBOOK_JOBS: 'off' } });
  nodes = new RotationNodes(service, 1);
  superuser = await openSession(service.database.urls.superuser);
  for (const target of overtakenTargets) await target.prepare(service, owned);
  await superuser.run("UPDATE public.rotation_policies SET grace = '0'");
});

afterAll(async () => {
  await nodes[Symbol.asyncDispose]();
  await owned.disposeAsync();
  await expectLedgerIntact(service.database.urls.auditor);
  await superuser[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

async function plan({ type, name }: RotatedTarget): Promise<string> {
  const origin = serviceSecretOrigin(randomUUID());
  const request = { type, name, reason: 'asked for by the test', requestedBy: 'the test', origin };
  return (await requestRotation(service.context.services.secrets, request)).id;
}

/** As if the leases were over, and pauses before attempts. */
async function passTime(): Promise<void> {
  await superuser.run('UPDATE public.rotations SET leased_until = NULL, next_attempt_at = clock_timestamp()');
}

async function takeOver(): Promise<void> {
  const machine = new RotationMachine(service.context.services.secrets);
  await waitUntil('every rotation has ended', async () => {
    await passTime();
    await machine.runDue(new AbortController().signal);
    const open = await superuser.value(
      "SELECT count(*) FROM public.rotations WHERE status NOT IN ('REVOKED', 'FAILED', 'ROLLED_BACK')",
    );
    return Number(open) === 0;
  });
}

/** All that a node could change: the store, the targets, and what is on record. */
async function everything(): Promise<object> {
  const read = (sql: string) => superuser.run(sql);
  return {
    rotations: await read('SELECT id, status, fence, rotated_at, failures FROM public.rotations ORDER BY number'),
    steps: await read('SELECT rotation, step, status FROM public.rotation_steps ORDER BY rotation, step'),
    versions: await read(
      'SELECT secret, generation, label, revoked_at, current_from FROM public.secret_versions ORDER BY secret, generation',
    ),
    apiKeys: await read('SELECT id, generation, revoked_at FROM public.api_keys ORDER BY id'),
    signingKeys: await read('SELECT key_id, generation, valid_until FROM public.signing_keys ORDER BY key_id'),
    encryptionKeys: await read('SELECT generation, wrapped, destroyed_at FROM public.encryption_keys ORDER BY 1'),
    dataKeys: await read('SELECT generation, count(*) FROM public.data_keys GROUP BY generation'),
    entries: await superuser.value("SELECT count(*) FROM public.audit_entries WHERE event <> 'ApiCall'"),
  };
}

async function expectAllWork(): Promise<void> {
  for (const target of overtakenTargets) expect(await faultOf(service, target)).toBeNull();
  expect(await checkInFull(service)).toMatchObject({ result: 'OK', breaks: [] });
}

describe('a node that was stopped for longer than its lease changes nothing when it goes on', () => {
  test.each([
    'after create',
    'before apply',
    'after apply',
    'before verify',
    'VERIFIED',
    'before promoted',
    'REVOKING',
    'after revoke',
  ])('%s', async (place) => {
    const ids = await Promise.all(overtakenTargets.map(plan));
    const node = await nodes.take();
    await node.halt(place, ids);
    node.pause();
    await takeOver();
    const before = await everything();
    await node.resume(ids);
    expect(await everything()).toEqual(before);
    const statuses = await Promise.all(
      ids.map(async (id) => (await readRotation(service.context.services.database, id))?.status),
    );
    expect(statuses).toEqual(ids.map(() => 'REVOKED'));
    await expectAllWork();
    await node.kill();
  });

  test('before apply, where the rotation has failed and another one came in its place', async () => {
    const ids = await Promise.all(overtakenTargets.map(plan));
    const node = await nodes.take();
    await node.halt('before apply', ids);
    node.pause();
    await passTime();
    const machine = new RotationMachine(service.context.services.secrets);
    await machine.runDue(new AbortController().signal);
    await superuser.run(`SELECT daybook.step_rotation(id, fence, 'STAGED', 'HELD', 'nobody can tell') FROM public.rotations
      WHERE status = 'STAGED'`);
    const next = await Promise.all(overtakenTargets.map(plan));
    await takeOver();
    const before = await everything();
    await node.resume(ids);
    expect(await everything()).toEqual(before);
    const statuses = async (of: string[]) =>
      Promise.all(of.map(async (id) => (await readRotation(service.context.services.database, id))?.status));
    expect({ ids: await statuses(ids), next: await statuses(next) }).toEqual({
      ids: ids.map(() => 'FAILED'),
      next: next.map(() => 'REVOKED'),
    });
    await expectAllWork();
    await node.kill();
  });
});

/** A node that believes for an hour, instead of for a second, what it saw of the encryption keys. */
async function openLagging(): Promise<{ machine: RotationMachine; ring: KeyRing }> {
  const { secrets, database } = service.context.services;
  const ring = await KeyRing.open(database, await openRootKey(service.context.config), { freshMs: 3_600_000 });
  // So that it has the key in its memory.
  await ring.seal(Buffer.from('anything'), 'anything');
  const rotator = new EncryptionKeyRotator({ database: secrets.database, ring });
  const rotators = new Map([...secrets.rotators, [rotator.type, rotator] as const]);
  return { machine: new RotationMachine({ ...secrets, ring, rotators, node: 'lagging' }), ring };
}

describe('two nodes at once', () => {
  test('a node that has not seen a new encryption key yet goes on with its rotation', async () => {
    for (const place of ['APPLIED', 'ROTATED', 'REVOKING']) {
      const { machine: lagging } = await openLagging();
      const id = await plan(encryptionKeyTarget);
      const node = await nodes.take();
      await node.halt(place, [id]);
      await node.kill();
      await passTime();
      await lagging.runOne(id, null, new AbortController().signal);
      expect((await readRotation(service.context.services.database, id))?.status).toBe('REVOKED');
    }
    await expectAllWork();
  });

  test('a node that seals with a key which another one has just destroyed lets go of the rotation, and tries it again', async () => {
    const { secrets } = service.context.services;
    const { machine: lagging, ring } = await openLagging();
    await plan(encryptionKeyTarget);
    await takeOver();
    const id = await plan(apiKeyTarget);
    await lagging.runOne(id, null, new AbortController().signal);
    const found = await superuser.run('SELECT status, leased_until, failures FROM public.rotations WHERE id = $1', [
      id,
    ]);
    expect(found).toEqual([{ status: 'PLANNED', leased_until: null, failures: 1 }]);
    await ring.refresh();
    await superuser.run('UPDATE public.rotations SET next_attempt_at = clock_timestamp() WHERE id = $1', [id]);
    await lagging.runOne(id, null, new AbortController().signal);
    expect((await readRotation(secrets.database, id))?.status).toBe('REVOKED');
    await expectAllWork();
  });

  test('never both take a step of a rotation', async () => {
    const [left, right] = [await nodes.take(), await nodes.take()];
    for (let round = 0; round < 3; round += 1) {
      const ids = await Promise.all(overtakenTargets.map(plan));
      await Promise.all([left.work(), right.work()]);
      await takeOver();
      for (const id of ids) {
        const rotation = await readRotation(service.context.services.database, id);
        const path = rotation?.steps.map(({ status }) => status).join(' ');
        // An encryption key is still in use for as long as the other node has not seen the new one; that ends by itself.
        expect(path?.replace(' HELD ROTATED REVOKING', '')).toBe(
          'PLANNED STAGED APPLYING APPLIED VERIFIED ROTATED REVOKING REVOKED',
        );
      }
    }
    await expectAllWork();
    await Promise.all([left.kill(), right.kill()]);
  });
});
