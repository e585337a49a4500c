import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { encodeUtf8 } from '../../src/core/bytes.js';
import { judgeHead, verifyTlogProof } from '../../src/core/verify-tlog-proof.js';
import { parseVerifierKey } from '../../src/core/verifier-key.js';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { buildForeignVerifier, hasForeignVerifier, type ForeignVerifier } from '../support/foreign-verifier.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { signalInput, startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

let service: TestService;
let session: SqlSession;
let go: ForeignVerifier | null = null;

beforeAll(async () => {
  if (hasForeignVerifier) go = await buildForeignVerifier();
  service = await startTestService({ environment: { DAYBOOK_JOBS: 'off', DAYBOOK_CHECKPOINT_SECONDS: '0.05' } });
  session = await openSession(service.database.urls.auditor);
});

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await session[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
  await go?.[Symbol.asyncDispose]();
});

interface Proof {
  readonly note: string;
  readonly tlogProof: string;
  readonly body: string;
}

interface Key {
  readonly keyId: string;
  readonly verifierKey: string;
  readonly validFrom: string;
  readonly validUntil: string | null;
}

/** Records a signal and proves it by a checkpoint that covers it. */
async function recordAndProve(): Promise<Proof> {
  const create = 'mutation ($input: CreateSignalInput!) { createSignal(input: $input) { signal { chainIndex } } }';
  const { data } = await service.call(create, { input: signalInput() });
  const index = String(data?.createSignal.signal.chainIndex);
  const asked = await service.call(
    'query ($index: BigInt!) { inclusionProof(log: SIGNALS, index: $index) { checkpoint tlogProof } }',
    { index },
  );
  const { checkpoint, tlogProof } = asked.data?.inclusionProof as { checkpoint: string; tlogProof: string };
  const body = await session.value(`SELECT body FROM public.signals WHERE chain_index = ${index}`);
  return { note: checkpoint, tlogProof, body: body as string };
}

async function readKeys(): Promise<Key[]> {
  const { data } = await service.call('{ signingKeys { log keyId verifierKey validFrom validUntil } }');
  return (data?.signingKeys as (Key & { log: string })[]).filter(({ log }) => log === 'SIGNALS');
}

/** Who signed a checkpoint, by our verifier and by Go's, for somebody who pinned these keys: key ids, null where it is refused. */
function signers({ note }: Proof, ...keys: Key[]): string[] | null {
  const head = judgeHead(note, { keys: keys.map(({ verifierKey }) => parseVerifierKey(verifierKey)) });
  const ours = head.faults.length > 0 ? null : head.signedBy.map(({ keyId }) => keyId);
  if (go !== null) {
    const [answer] = go.ask([
      { ask: 'note', note: encodeUtf8(note), keys: keys.map(({ verifierKey }) => verifierKey) },
    ]);
    const theirs = answer?.accepted === true ? (answer.signers ?? []).map((name) => name.split('+')[1]) : null;
    expect(theirs?.sort() ?? null).toEqual(ours?.sort() ?? null);
  }
  return ours;
}

const isProven = ({ tlogProof, body }: Proof, key: Key) =>
  verifyTlogProof({ proof: tlogProof, body, keys: [parseVerifierKey(key.verifierKey)] }).valid;

const signedAt = async ({ note }: Proof) =>
  String(
    await session.value(
      `SELECT to_char(signed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM public.checkpoints
       WHERE log = 'signals' AND tree_size = ${note.split('\n')[1]}`,
    ),
  );

test('checkpoints of the overlap verify with either key, those before and after with theirs, and Go says the same', async () => {
  const before = await recordAndProve();
  const [first] = (await readKeys()) as [Key];
  expect(signers(before, first)).toEqual([first.keyId]);

  const policy =
    'mutation ($input: UpdateRotationPolicyInput!) { updateRotationPolicy(input: $input) { policy { window } } }';
  await service.call(policy, { input: { secretType: 'SIGNING_KEY', gracePeriodDays: 3_600 / 86_400 } });
  const rotate = 'mutation ($input: RotateSecretInput!) { rotateSecret(input: $input) { rotation { id status } } }';
  const rotated = await service.call(rotate, { input: { secretType: 'SIGNING_KEY', secretName: 'signals' } });
  const { id, status } = rotated.data?.rotateSecret.rotation as { id: string; status: string };
  expect(status).toBe('ROTATED');

  const within = await recordAndProve();
  const [old, fresh] = (await readKeys()) as [Key, Key];
  expect(old.keyId).toBe(first.keyId);
  expect(signers(within, old)).toEqual([old.keyId]);
  expect(signers(within, fresh)).toEqual([fresh.keyId]);
  expect(signers(within, old, fresh)?.sort()).toEqual([old.keyId, fresh.keyId].sort());
  expect([isProven(within, old), isProven(within, fresh)]).toEqual([true, true]);
  expect(signers(before, fresh)).toBeNull();

  // An hour passes.
  await using owner = await openSession(service.database.urls.superuser);
  await owner.run(`UPDATE public.rotations SET grace_ends_at = clock_timestamp(), next_attempt_at = clock_timestamp()`);
  const machine = new RotationMachine(service.context.services.secrets);
  await waitUntil('the old key has ended', async () => {
    await machine.runDue(new AbortController().signal);
    return (await session.value(`SELECT status FROM public.rotations WHERE id = '${id}'`)) === 'REVOKED';
  });
  const after = await recordAndProve();
  const [ended, current] = (await readKeys()) as [Key, Key];
  expect(signers(after, current)).toEqual([current.keyId]);
  expect(signers(after, ended)).toBeNull();
  expect(signers(after, ended, current)).toEqual([current.keyId]);

  // Who kept a proof from before, and the old key, verifies as before; the key's window says when it spoke for the log.
  expect([before, within].map((proof) => isProven(proof, ended))).toEqual([true, true]);
  expect(signers(before, ended, current)).toEqual([ended.keyId]);
  expect(isProven(after, ended)).toBe(false);
  expect(isProven(after, current)).toBe(true);
  const [from, until] = [ended.validFrom, String(ended.validUntil)];
  for (const proof of [before, within]) {
    const at = await signedAt(proof);
    expect(from <= at && at <= until).toBe(true);
  }
  expect((await signedAt(after)) > until).toBe(true);
  expect(current.validUntil).toBeNull();
  expect(current.validFrom < until).toBe(true);
  const { data } = await service.call(
    'mutation { runIntegrityCheck(input: { kind: FULL }) { check { result breaks { code message } } } }',
  );
  expect(data?.runIntegrityCheck.check).toMatchObject({ result: 'OK', breaks: [] });
});
