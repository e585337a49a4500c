import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openRootKey } from '../../src/open-root-key.js';
import { KeyRing } from '../../src/access/key-ring.js';
import { requestRotation } from '../../src/secrets/request-rotation.js';
import { serviceSecretOrigin } from '../../src/secrets/secret-entries.js';
import { readVersion } from '../../src/secrets/secret-store.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { SocketClient } from '../support/socket-client.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { adminKey, startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const root = join(import.meta.dirname, '../..');
const values = 100_000;
const perStatement = 5_000;
/** The process is killed when so many data keys are wrapped anew: in the middle of a batch, wherever that is. */
const kills = [15_000, 40_000, 75_000];
const masterKey = '11'.repeat(32);

let service: TestService;
let superuser: SqlSession;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  service = await startTestService({
    environment: { DAYBOOK_JOBS: 'off', DAYBOOK_MASTER_KEY: masterKey, DAYBOOK_LOG_FILES: 'off' },
  });
  superuser = await openSession(service.database.urls.superuser);
});

afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await superuser[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

/** A process that is ready to work on rotations. */
async function startProcess(name: string): Promise<ChildProcess> {
  const args = ['--disable-warning=ExperimentalWarning', '--import', './test/support/typescript-hooks.js'];
  const child = spawn(process.execPath, [...args, 'test/support/rewrapping-process.ts', name], {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      DAYBOOK_LOG_LEVEL: 'error',
      DAYBOOK_MASTER_KEY: masterKey,
      DAYBOOK_DATA_DIR: service.context.config.dataDir,
      DATABASE_URL: service.database.urls.superuser,
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.add(child);
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  await waitUntil('the process is ready', () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    return output.startsWith('ready');
  });
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

const textOf = (generation: number) => `value ${generation} of the test`;

/** Values of one secret, sealed as the service seals them. */
async function storeValues(): Promise<string> {
  const secret = (await superuser.value(
    `INSERT INTO public.secrets (type, name, zero_downtime, registered_by) VALUES ('API_KEY', 'many', true, 'test') RETURNING id`,
  )) as string;
  const { ring, database } = service.context.services.secrets;
  const sealer = await ring.openSealer();
  for (let first = 1; first <= values; first += perStatement) {
    const generations = Array.from({ length: perStatement }, (_, place) => first + place);
    const sealed = generations.map((generation) =>
      sealer.seal(Buffer.from(textOf(generation)), `secret ${secret} ${generation}`),
    );
    const ids = sealed.map(({ dataKey }) => dataKey.id);
    await database.query(
      `INSERT INTO public.data_keys (id, generation, wrapped)
       SELECT id, 1, decode(wrapped, 'hex') FROM unnest($1::uuid[], $2::text[]) AS given (id, wrapped)`,
      [ids, sealed.map(({ dataKey }) => dataKey.wrapped)],
    );
    await database.query(
      `INSERT INTO public.secret_versions (secret, generation, sealed_value, data_key)
       SELECT $1, generation, decode(sealed, 'hex'), id FROM unnest($2::integer[], $3::text[], $4::uuid[]) AS given (generation, sealed, id)`,
      [secret, generations, sealed.map(({ sealedValue }) => sealedValue), ids],
    );
  }
  return secret;
}

const rewrapped = async () =>
  Number(await superuser.value('SELECT count(*) FROM public.data_keys WHERE generation = 2'));

/** As if the time had passed that a dead node's lease takes. */
const endLease = () => superuser.run('UPDATE public.rotations SET leased_until = clock_timestamp()');
/** And that which the pause before another attempt takes. */
const endPause = () =>
  superuser.run('UPDATE public.rotations SET next_attempt_at = clock_timestamp() WHERE leased_until IS NULL');

/** Reads values at random with a ring of its own, as another node does, until it is told to stop. */
function readOn(secret: string) {
  let [stopped, reads] = [false, 0];
  const reading = (async () => {
    const { database } = service.context.services.secrets;
    const { rootKey, dataDir } = service.context.config;
    const ring = await KeyRing.open(database, await openRootKey({ rootKey, dataDir }));
    while (!stopped) {
      // A stride that visits generations all over the range.
      const generation = 1 + ((reads * 7_919) % values);
      const version = await readVersion(database, ring, secret, { generation });
      expect(Buffer.from(version?.value ?? []).toString()).toBe(textOf(generation));
      reads += 1;
    }
    return reads;
  })();
  return {
    stop: () => {
      stopped = true;
      return reading;
    },
  };
}

async function readAll(secret: string): Promise<number> {
  const { database, ring } = service.context.services.secrets;
  let read = 0;
  for (let first = 1; first <= values; first += perStatement) {
    const found = await database.query<{
      version: number;
      sealed: string;
      id: string;
      generation: number;
      wrapped: string;
    }>(
      `SELECT version.generation AS version, sealed_value AS sealed, key.id, key.generation, key.wrapped
       FROM public.secret_versions AS version JOIN public.data_keys AS key ON key.id = version.data_key
       WHERE version.secret = $1 AND version.generation BETWEEN $2 AND $3`,
      [secret, first, first + perStatement - 1],
    );
    for (const { version, sealed, ...dataKey } of found.rows) {
      const value = await ring.open({ sealedValue: sealed, dataKey }, `secret ${secret} ${version}`);
      if (Buffer.from(value).toString() === textOf(version) && dataKey.generation === 2) read += 1;
    }
  }
  return read;
}

test('the encryption key of 100,000 values rotates through three kills: each stays readable, then the old key is refused', async () => {
  const starting = [...kills, values].map((count) => startProcess(`until ${count}`));
  const [secret, ...processes] = await Promise.all([storeValues(), ...starting]);
  const { secrets } = service.context.services;
  const [sample] = await superuser.run(
    `SELECT key.id, key.generation, key.wrapped, version.sealed_value AS sealed FROM public.secret_versions AS version
     JOIN public.data_keys AS key ON key.id = version.data_key WHERE version.secret = '${secret}' AND version.generation = 77`,
  );
  await service.call(
    'mutation ($input: UpdateRotationPolicyInput!) { updateRotationPolicy(input: $input) { policy { window } } }',
    { input: { secretType: 'ENCRYPTION_KEY', gracePeriodDays: 1 / 86_400 } },
  );
  const request = { type: 'ENCRYPTION_KEY' as const, name: 'data-keys', reason: null, requestedBy: 'test' };
  const { id } = await requestRotation(secrets, { ...request, origin: serviceSecretOrigin('test') });

  const follower = await SocketClient.open(service.socketUrl, { authorization: `Bearer ${adminKey}` });
  follower.subscribe(
    'progress',
    `subscription { rotationProgress(rotationId: "${id}") { status progress { done total } } }`,
  );
  const reader = readOn(secret);
  for (const [place, count] of kills.entries()) {
    const child = processes[place]!;
    child.stdin?.write('go\n');
    await waitUntil(`${count} are wrapped anew`, async () => {
      await endPause();
      return (await rewrapped()) >= count;
    });
    await kill(child);
    expect(await rewrapped()).toBeLessThan(values);
    await endLease();
  }
  processes.at(-1)?.stdin?.write('go\n');
  const status = () => superuser.value(`SELECT status FROM public.rotations WHERE id = '${id}'`);
  await waitUntil('the old key is destroyed', async () => {
    if ((await status()) === 'STAGED') await endPause();
    return (await status()) === 'REVOKED';
  });
  expect(await reader.stop()).toBeGreaterThan(500);

  expect(await readAll(secret)).toBe(values);
  expect(
    await superuser.run('SELECT generation, wrapped IS NULL AS destroyed FROM public.encryption_keys ORDER BY 1'),
  ).toEqual([
    { generation: 1, destroyed: true },
    { generation: 2, destroyed: false },
  ]);
  await secrets.ring.refresh();
  const old = {
    sealedValue: String(sample?.sealed),
    dataKey: { id: String(sample?.id), generation: 1, wrapped: String(sample?.wrapped) },
  };
  await expect(secrets.ring.open(old, `secret ${secret} 77`)).rejects.toMatchObject({ code: 'SIGNING_UNAVAILABLE' });
  const steps = await superuser.run(`SELECT status FROM public.rotation_steps WHERE rotation = '${id}' ORDER BY step`);
  expect(steps.filter((step) => step.status === 'UNKNOWN')).toHaveLength(kills.length);

  await waitUntil('the follower has seen the end', () => follower.of('complete').length === 1);
  const seen = follower.of('next').map(({ payload }) => (payload as any).data.rotationProgress);
  const done = seen.filter(({ progress }) => progress !== null).map(({ progress }) => progress.done as number);
  expect(done).toEqual([...done].sort((one, other) => one - other));
  expect(done.filter((count) => count > 0 && count < values).length).toBeGreaterThan(2);
  expect(seen.at(-1)).toEqual({ status: 'REVOKED', progress: null });
  follower.socket.close();
  await expectLedgerIntact(service.database.urls.auditor);
}, 180_000);
