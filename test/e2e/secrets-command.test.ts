import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { dumpDatabase } from '../support/find-texts.js';
import { runScript, type Outcome } from '../support/run-script.js';
import { openSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';

/** In nothing that is printed or stored. */
const value = 'a-value-that-nobody-is-to-see-0815';

let service: TestService;
let folder: string;
let file: string;
let printed = '';

beforeAll(async () => {
  service = await startTestService({ environment: { DAYBOOK_JOBS: 'off' } });
  folder = await mkdtemp(join(tmpdir(), 'daybook-secrets-'));
  file = join(folder, 'value');
  await writeFile(file, `${value}\n`, { mode: 0o600 });
});

afterAll(async () => {
  await rm(folder, { recursive: true });
  await service[Symbol.asyncDispose]();
});

/** Runs `daybook` beside the running service. */
async function daybook(...args: string[]): Promise<Outcome> {
  const environment = {
    DAYBOOK_DATA_DIR: service.context.config.dataDir,
    DATABASE_URL: service.database.urls.superuser,
    DAYBOOK_LOG_LEVEL: 'warn',
  };
  const outcome = await runScript('src/main.ts', args, environment);
  printed += outcome.stdout + outcome.stderr;
  return outcome;
}

/** What it printed with --json; fails where it failed. */
async function json(...args: string[]): Promise<any> {
  const { exitCode, stdout, stderr } = await daybook(...args, '--json');
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  return JSON.parse(stdout);
}

/** The code with which it failed. */
async function codeOf(...args: string[]): Promise<string> {
  const { exitCode, stdout } = await daybook(...args, '--json');
  expect(exitCode).toBe(1);
  return (JSON.parse(stdout) as { error: { code: string } }).error.code;
}

async function makeKey(): Promise<{ key: string; name: string }> {
  const key = await service.makeKey('ANALYST');
  const { data } = await service.call('{ viewer { name } }', {}, key);
  return { key, name: data?.viewer.name as string };
}

test('a key is registered with the value in a file, rotated, and both are valid beside the running service', async () => {
  const { key, name } = await makeKey();
  const keyFile = join(folder, 'key');
  await writeFile(keyFile, `${key}\n`, { mode: 0o600 });
  const setting = ['--setting', 'quietSeconds=60'];
  expect(await json('secrets', 'register', 'api_key', name, '--value-file', keyFile, ...setting)).toEqual({
    registered: `API_KEY/${name}`,
  });
  const { rotation } = await json('rotate', 'API_KEY', name, '--reason', 'somebody left');
  expect(rotation).toMatchObject({
    status: 'ROTATED',
    rotatedBy: 'command line',
    reason: 'somebody left',
    generation: 2,
  });
  const input = { secretType: 'API_KEY', secretName: name, reason: 'to be used by the test' };
  const read = await service.call('mutation ($input: ReadSecretInput!) { readSecret(input: $input) { value } }', {
    input,
  });
  const fresh = read.data?.readSecret.value as string;
  for (const each of [key, fresh]) {
    expect((await service.call('{ viewer { name } }', {}, each)).data?.viewer).toEqual({ name });
  }
  await using auditor = await openSession(service.database.urls.auditor);
  const entries = await auditor.run('SELECT event, actor FROM public.audit_entries WHERE resource = $1', [
    `secret/API_KEY/${name}`,
  ]);
  expect(entries).toEqual(
    expect.arrayContaining([
      { event: 'SecretRegistered', actor: 'command line' },
      { event: 'SecretRotationStarted', actor: 'command line' },
    ]),
  );
  expect(printed).not.toContain(key);
  expect(printed).not.toContain(fresh);
});

test('secrets list shows what is rotated when, as a table and as JSON', async () => {
  const [table, listed] = await Promise.all([daybook('secrets', 'list'), json('secrets', 'list')]);
  expect(table).toMatchObject({ exitCode: 0, stderr: '' });
  expect(table.stdout).toMatch(/ENCRYPTION_KEY.*data-keys.*ACTIVE.*179/);
  expect(listed.schedules).toContainEqual(
    expect.objectContaining({
      secretType: 'SIGNING_KEY',
      secretName: 'signals',
      status: 'ACTIVE',
      daysUntilRotation: 364,
    }),
  );
});

describe('secrets policy', () => {
  test('sets that of a type and shows all of them', async () => {
    const { stdout } = await daybook(
      'secrets',
      'policy',
      'OAUTH',
      '--interval',
      '30',
      '--grace',
      '0.5',
      '--auto',
      'on',
    );
    expect(stdout).toMatch(/OAUTH.*\(all\).*30.*0\.5.*on/);
    const { policies } = await json('secrets', 'policy');
    expect(policies).toContainEqual({
      secretType: 'OAUTH',
      secretName: null,
      rotationIntervalDays: 30,
      gracePeriodDays: 0.5,
      autoRotate: true,
      window: {},
    });
  });
});

test('what cannot be done ends with code 1, its code, and nothing of the value', async () => {
  const { name } = await makeKey();
  await json('secrets', 'register', 'API_KEY', name);
  const found = await Promise.all([
    codeOf('rotate', 'PASSWORD', 'x'),
    codeOf('rotate', 'API_KEY', 'nobody', '--value-file', file),
    codeOf('rotate', 'API_KEY', name, '--value-file', join(folder, 'missing')),
    codeOf('secrets', 'register', 'API_KEY', name, '--value-file', file),
    codeOf('secrets', 'policy', 'API_KEY', '--grace', 'long'),
    codeOf('secrets', 'policy', '--interval', '30'),
  ]);
  const wrong = 'BAD_USER_INPUT';
  expect(found).toEqual([wrong, 'NOT_FOUND', wrong, wrong, wrong, wrong]);
  const refused = await daybook('rotate', 'API_KEY', name, '--value-file', file);
  expect(refused.exitCode).toBe(1);
  expect(refused.stdout).toMatch(/^API_KEY .*, generation 2: FAILED \(SECRET_REFUSED: /);
  expect(printed).not.toContain(value);
  expect(await dumpDatabase(service.database.urls.superuser)).not.toContain(value);
  await expectLedgerIntact(service.database.urls.auditor);
});
