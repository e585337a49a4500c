import { expect, test } from '@jest/globals';
import { insertDataKey } from '../../src/access/key-ring.js';
import { checkDrift } from '../../src/secrets/check-drift.js';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { startTestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const never = new AbortController().signal;

test('an encryption key that was rolled back goes on serving until the next rotation, which destroys it too', async () => {
  await using service = await startTestService({ environment: { DAYBOOK_JOBS: 'off' } });
  const { secrets } = service.context.services;
  const { ring, database } = secrets;
  const machine = new RotationMachine(secrets);
  const secret = { secretType: 'ENCRYPTION_KEY', secretName: 'data-keys' };
  const setGrace = (seconds: number) =>
    service.call(
      'mutation ($input: UpdateRotationPolicyInput!) { updateRotationPolicy(input: $input) { policy { window } } }',
      { input: { secretType: 'ENCRYPTION_KEY', gracePeriodDays: seconds / 86_400 } },
    );
  const rotate = async () => {
    const mutation = 'mutation ($input: RotateSecretInput!) { rotateSecret(input: $input) { rotation { id status } } }';
    const { data } = await service.call(mutation, { input: secret });
    return data?.rotateSecret.rotation as { id: string; status: string };
  };
  const keys = async () =>
    (
      await database.query<{ generation: number; destroyed: boolean }>(
        'SELECT generation, wrapped IS NULL AS destroyed FROM public.encryption_keys ORDER BY generation',
      )
    ).rows;
  const sealed = await ring.seal(Buffer.from('a value of before'), 'place');
  await insertDataKey(database, sealed.dataKey);
  const open = async () => {
    const { rows } = await database.query<{ generation: number; wrapped: string }>(
      'SELECT generation, wrapped FROM public.data_keys WHERE id = $1',
      [sealed.dataKey.id],
    );
    const [row] = rows;
    if (row === undefined) throw new Error('the data key is gone');
    const value = await ring.open({ ...sealed, dataKey: { id: sealed.dataKey.id, ...row } }, 'place');
    return [row.generation, Buffer.from(value).toString()];
  };

  await setGrace(3_600);
  const first = await rotate();
  expect(first.status).toBe('ROTATED');
  const { errors } = await service.call(
    'mutation ($input: RollBackRotationInput!) { rollBackRotation(input: $input) { rotation { status } } }',
    { input: { rotationId: first.id, reason: 'asked for by the test' } },
  );
  expect(errors).toBeUndefined();
  await machine.runDue(never);
  expect(await keys()).toEqual([1, 2].map((generation) => ({ generation, destroyed: false })));
  expect(await open()).toEqual([2, 'a value of before']);
  expect(await checkDrift(secrets, never)).toBe(0);

  await setGrace(0);
  const { id } = await rotate();
  await waitUntil('the rotation has come to its end', async () => {
    await machine.runDue(never);
    const { data } = await service.call('{ rotationHistory(first: 5) { nodes { id status } } }');
    const nodes = data?.rotationHistory.nodes as { id: string; status: string }[];
    return nodes.find((node) => node.id === id)?.status === 'REVOKED';
  });
  expect(await keys()).toEqual([1, 2, 3].map((generation) => ({ generation, destroyed: generation < 3 })));
  expect(await open()).toEqual([3, 'a value of before']);
  await expectLedgerIntact(service.database.urls.auditor);
});
