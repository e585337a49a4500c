import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { localRootKey } from '../../src/access/root-key.js';
import { secretTypes } from '../../src/core/rotation.js';
import { createDataFolder } from '../support/data-folder.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { findTexts } from '../support/find-texts.js';
import { startOpenidProvider } from '../support/openid-provider.js';
import { startRotationHook } from '../support/rotation-hook.js';
import { runScript } from '../support/run-script.js';
import { startServiceProcess, type ServiceProcess } from '../support/service-process.js';
import { openSession } from '../support/sql-session.js';
import { watchStatements, type StatementWatch } from '../support/statement-watch.js';
import { findFreePort } from '../support/test-server.js';
import { adminKey, callGraphql, type Answer } from '../support/test-service.js';
import { superuserUrlOf, writePlaces } from '../support/value-places.js';

const reason = 'looked for afterwards, everywhere';
const DAYBOOK_MASTER_KEY = randomBytes(32).toString('hex');
/** No secret: where it is to be found, secrets would be. */
const control = `control_${randomUUID().replaceAll('-', '')}`;
/** As revealing as a server can be set; an operator may. */
const settings = {
  shared_preload_libraries: 'pg_stat_statements',
  log_statement: 'all',
  log_min_error_statement: 'debug5',
  log_error_verbosity: 'verbose',
  log_parameter_max_length: '-1',
  log_parameter_max_length_on_error: '-1',
  track_activity_query_size: '100kB',
  'pg_stat_statements.track': 'all',
  'pg_stat_statements.track_utility': 'on',
};

let stack: AsyncDisposableStack;
let service: ServiceProcess;
let statements: StatementWatch;
let environment: Record<string, string>;
let url: string;
let dataDir: string;
let seen: string;
let superuserUrl: string;
/** Every plain value there was, with what it is. */
const plain = new Map<string, string>();
/** What the service answered, but for values that it was asked to disclose. */
const answers: string[] = [];

beforeAll(async () => {
  await using opening = new AsyncDisposableStack();
  dataDir = opening.use(await createDataFolder()).path;
  seen = join(opening.use(await createDataFolder()).path, 'seen');
  await mkdir(seen, { recursive: true });
  const [port, postgresPort] = [await findFreePort(), await findFreePort()];
  url = `http://127.0.0.1:${port}`;
  environment = {
    DAYBOOK_PORT: String(port),
    DAYBOOK_POSTGRES_PORT: String(postgresPort),
    DAYBOOK_DATA_DIR: dataDir,
    DAYBOOK_ADMIN_KEY: adminKey,
    DAYBOOK_MASTER_KEY,
    // What it does by itself would come between the rotations here.
    DAYBOOK_JOBS: 'off',
    DAYBOOK_LOG_LEVEL: 'trace',
    DAYBOOK_CHECKPOINT_SECONDS: '0.2',
    DAYBOOK_LOG_GZIP: 'off',
  };
  const first = await startServiceProcess(environment);
  superuserUrl = await superuserUrlOf(dataDir, postgresPort);
  const outside = new URL('/postgres', superuserUrl).href;
  {
    await using administrator = await openSession(outside);
    for (const [name, value] of Object.entries(settings))
      await administrator.run(`ALTER SYSTEM SET ${name} = '${value}'`);
  }
  await first.end('SIGTERM');
  service = opening.use(await startServiceProcess(environment));
  await using administrator = await openSession(outside);
  await administrator.run('CREATE EXTENSION pg_stat_statements');
  statements = opening.use(await watchStatements(superuserUrl, control));
  stack = opening.move();
});

afterAll(() => stack.disposeAsync());

async function call(query: string, variables?: Record<string, unknown>): Promise<Answer> {
  const answer = await callGraphql(url, query, variables);
  answers.push(JSON.stringify(answer));
  return answer;
}

async function succeed(field: string, type: string, selection: string, input: object) {
  const { data, errors } = await call(`mutation ($input: ${type}!) { ${field}(input: $input) { ${selection} } }`, {
    input,
  });
  expect({ field, errors }).toEqual({ field });
  return data?.[field] as Record<string, any>;
}

/** Has the API disclose a value, where it is not kept elsewhere; the answer is not among those that are looked through. */
async function rememberRead(secretType: string, secretName: string, what: string): Promise<void> {
  const { data } = await callGraphql(
    url,
    'mutation ($input: ReadSecretInput!) { readSecret(input: $input) { value } }',
    { input: { secretType, secretName, reason } },
  );
  const { value } = data?.readSecret as { value: string | null };
  if (value !== null) remember(value, `${secretType}, ${what}`);
}

function remember(value: string | Uint8Array, what: string): void {
  if (typeof value === 'string') plain.set(value, what);
  else
    for (const encoding of ['hex', 'base64', 'base64url'] as const)
      plain.set(Buffer.from(value).toString(encoding).replaceAll('=', ''), `${what}, ${encoding}`);
}

/** What the service seals and discloses to nobody, opened with the master key, which is not in the database. */
async function rememberSealedKeys(): Promise<void> {
  const root = localRootKey(Buffer.from(DAYBOOK_MASTER_KEY, 'hex'));
  await using session = await openSession(superuserUrl);
  const wrapped = await session.run(
    'SELECT generation, wrapped, root_key_id FROM public.encryption_keys WHERE wrapped IS NOT NULL',
  );
  for (const { generation, wrapped: bytes, root_key_id: rootKeyId } of wrapped)
    remember(
      await root.unwrap(
        { wrapped: bytes as Buffer, rootKeyId: String(rootKeyId) },
        `encryption-key ${String(generation)}`,
      ),
      `encryption key ${String(generation)}`,
    );
  const keys = await session.run(
    'SELECT origin, key_id, sealed_private_key AS sealed, master_key_id, generation FROM public.signing_keys',
  );
  for (const { origin, key_id: keyId, sealed, master_key_id: rootKeyId, generation } of keys) {
    const what = `signing key ${String(origin)} ${String(generation)}`;
    // The last 32 bytes of a PKCS #8 document of Ed25519 are the key.
    const document = await root.unwrap(
      { wrapped: sealed as Buffer, rootKeyId: String(rootKeyId) },
      `signing-key ${String(origin)} ${String(keyId)}`,
    );
    remember(document, what);
    remember(document.subarray(-32), `${what}, the key alone`);
  }
}

async function register(input: object): Promise<void> {
  await succeed('registerSecret', 'RegisterSecretInput', 'schedule { status }', input);
}

/** Secrets of an OpenID provider and behind a webhook, with what lets the service in there. */
async function registerElsewhere(): Promise<void> {
  const provider = stack.use(await startOpenidProvider({ renewsSecret: true, rotatesAccessToken: false }));
  const client = await provider.register();
  remember(client.client_secret, 'the secret of an OAuth client');
  remember(client.registration_access_token, 'the registration access token of an OAuth client');
  await register({
    secretType: 'OAUTH',
    secretName: 'client',
    settings: [
      { name: 'clientId', value: client.client_id },
      { name: 'registrationUrl', value: client.registration_client_uri },
      { name: 'grantUrl', value: provider.tokenUrl },
    ],
    value: client.client_secret,
    credential: client.registration_access_token,
  });
  const [value, signingKey] = [`hooked-${randomUUID()}`, `signs-calls-${randomUUID()}`];
  remember(value, 'a value behind a webhook');
  remember(signingKey, 'the key of a webhook');
  const hook = stack.use(await startRotationHook({ signingKey, value, places: 2 }));
  await register({
    secretType: 'WEBHOOK',
    secretName: 'hooked',
    settings: [
      { name: 'url', value: hook.url },
      { name: 'zeroDowntime', value: 'true' },
    ],
    value,
    credential: signingKey,
  });
}

/** So that the next rotation need not wait for the end of a grace period. Returns how the newest one stood. */
async function rollBackLogin(): Promise<string> {
  const { data } = await call('{ rotationHistory(secretType: DATABASE, first: 1) { nodes { id status } } }');
  const [newest] = data?.rotationHistory.nodes as { id: string; status: string }[];
  const { id: rotationId, status } = newest!;
  if (status === 'ROTATED')
    await succeed('rollBackRotation', 'RollBackRotationInput', 'rotation { status }', { rotationId, reason });
  return status;
}

test('secrets of every type are registered, rotated, rolled back and read, by every way in', async () => {
  remember(DAYBOOK_MASTER_KEY, 'the master key');
  const made = await callGraphql(url, 'mutation { createApiKey(input: { name: "bot", role: ANALYST }) { secret } }');
  remember((made.data?.createApiKey as { secret: string }).secret, 'an API key');
  const quiet = [{ name: 'quietSeconds', value: '1' }];
  const registered = { secretType: 'API_KEY', secretName: 'bot', settings: quiet };
  const superfluous = `superfluous-${randomUUID()}`;
  remember(superfluous, 'a value that was registered');
  await register({ ...registered, value: superfluous });

  await registerElsewhere();

  const { data } = await call('{ rotationSchedule { secretType secretName } }');
  const own = data?.rotationSchedule as { secretType: string; secretName: string }[];
  await rememberSealedKeys();
  for (const secret of own) {
    await succeed('updateRotationPolicy', 'UpdateRotationPolicyInput', 'policy { secretType }', {
      secretType: secret.secretType,
      gracePeriodDays: 1,
    });
    await rememberRead(secret.secretType, secret.secretName, 'first');
    const { rotation } = await succeed('rotateSecret', 'RotateSecretInput', 'rotation { id status }', {
      ...secret,
      reason,
    });
    expect({ ...secret, status: rotation.status }).toEqual({ ...secret, status: 'ROTATED' });
    await rememberRead(secret.secretType, secret.secretName, 'rotated');
    await rememberSealedKeys();
  }
  await rollBackLogin();
  expect(new Set(own.map(({ secretType }) => secretType))).toEqual(new Set(secretTypes));
});

test('values are given: as a variable, as a literal, over REST and in a file, taken and refused', async () => {
  const ways: readonly ((value: string) => Promise<unknown>)[] = [
    (newValue) =>
      call('mutation ($input: RotateSecretInput!) { rotateSecret(input: $input) { rotation { status } } }', {
        input: { secretType: 'DATABASE', secretName: 'application', newValue },
      }),
    (newValue) =>
      call(
        `mutation { rotateSecret(input: { secretType: DATABASE, secretName: "application", newValue: "${newValue}" })
         { rotation { status steps { note } } } }`,
      ),
    async (newValue) => {
      const response = await fetch(`${url}/secrets/rotation/rotate`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${adminKey}` },
        body: JSON.stringify({ secretType: 'DATABASE', secretName: 'application', newValue }),
      });
      answers.push(await response.text());
    },
    async (newValue) => {
      const file = join(dataDir, '..', `value-${randomUUID()}`);
      await writeFile(file, newValue);
      stack.defer(() => rm(file));
      const outcome = await runScript(
        'src/main.ts',
        ['rotate', 'DATABASE', 'application', '--value-file', file],
        environment,
      );
      answers.push(outcome.stdout, outcome.stderr);
    },
    (credential) =>
      call('mutation ($input: RegisterSecretInput!) { registerSecret(input: $input) { schedule { status } } }', {
        input: { secretType: 'DATABASE', secretName: 'unknown', value: credential, credential },
      }),
  ];
  for (const [way, give] of ways.entries()) {
    for (const [value, status] of [
      [`given-${way}-${randomUUID()}`, 'ROTATED'],
      [`weak ${way} ${randomUUID()}`, 'FAILED'],
    ] as const) {
      remember(value, `given in way ${way}`);
      await give(value);
      // The last way is to register, which is refused.
      if (give !== ways.at(-1)) expect({ way, status: await rollBackLogin() }).toEqual({ way, status });
    }
  }
});

test('no plain value is anywhere: statements, their statistics, logs, tables, exports, packs and errors', async () => {
  await using session = await openSession(superuserUrl);
  await session.run(`SELECT 1 AS ${control}`);
  await session.run('SELECT $1::text', [control]);
  await call(`{ ${control} }`);
  await call('mutation ($input: OpenIncidentInput!) { openIncident(input: $input) { __typename } }', {
    input: { title: control },
  });
  const names = await writePlaces(seen, { url, key: adminKey, superuserUrl });
  await using outside = await openSession(new URL('/postgres', superuserUrl).href);
  const known = await outside.run('SELECT query FROM pg_stat_statements');
  await expectLedgerIntact(superuserUrl);
  await statements[Symbol.asyncDispose]();
  await Promise.all([session, outside].map((open) => open[Symbol.asyncDispose]()));
  expect(await service.end('SIGTERM')).toBe(0);
  const texts = {
    answers: answers.join('\n'),
    statements: statements.statements().join('\n'),
    statistics: known.map(({ query }) => String(query)).join('\n'),
  };
  for (const [name, text] of Object.entries({ ...texts, log: service.output() }))
    await writeFile(join(seen, name), text);
  const proven = [...Object.keys(texts), 'database', 'export-jsonl', 'export-csv', 'pack-audit.jsonl'];
  expect(names).toEqual(expect.arrayContaining(proven.slice(3)));
  for (const name of proven) {
    expect({ name, found: await findTexts([control], join(seen, name)) }).toEqual({ name, found: [control] });
  }
  const logged = join(dataDir, 'postgres/log');
  const bound = `$1 = '${control}'`;
  expect((await findTexts([bound, `AS ${control}`], logged)).sort()).toEqual([bound, `AS ${control}`]);
  // Roles were changed, and what was sent of their passwords are verifiers.
  expect(await findTexts(['LOGIN PASSWORD', 'SCRAM-SHA-256$4096:'], join(seen, 'statistics'))).toContain(
    'LOGIN PASSWORD',
  );
  expect(await findTexts(['SCRAM-SHA-256$4096:'], logged)).toEqual(['SCRAM-SHA-256$4096:']);

  expect(plain.size).toBeGreaterThan(40);
  const found = [...(await findTexts([...plain.keys()], seen)), ...(await findTexts([...plain.keys()], dataDir))];
  expect(found.map((value) => plain.get(value))).toEqual([]);
}, 120_000);
