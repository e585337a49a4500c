import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readLineKey, readWebhookSecret } from '../../src/sinks/read-secret.js';
import { readSinksFile } from '../../src/sinks/sink-config.js';
import { backOff } from '../../src/sinks/sink-runner.js';

let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daybook-sinks-'));
  file = join(folder, 'sinks.json');
});
afterEach(() => rm(folder, { recursive: true }));

async function read(sinks: unknown) {
  await writeFile(file, typeof sinks === 'string' ? sinks : JSON.stringify({ sinks }));
  return readSinksFile(file);
}

const syslog = { name: 'siem', kind: 'syslog', host: 'siem.example', port: 6514, tls: { caFile: 'ca.pem' } };

describe('the file of sinks', () => {
  test('gives each sink its defaults, and paths from its own folder', async () => {
    expect(await read([syslog, { name: 'ecs', kind: 'ecs', folder: '/logs/ecs', keyFile: '../key' }])).toEqual([
      {
        ...syslog,
        tls: { caFile: join(folder, 'ca.pem'), requireCloseNotify: false },
        startAt: 'beginning',
        format: 'cef',
        facility: 13,
        enterpriseId: 32_473,
        messageBytesMax: 8_192,
        confirmSeconds: 10,
        confirmEntries: 2_000,
        timeoutSeconds: 15,
      },
      {
        name: 'ecs',
        kind: 'ecs',
        startAt: 'beginning',
        folder: '/logs/ecs',
        gzip: true,
        keyFile: join(folder, '../key'),
      },
    ]);
  });

  test.each<[string, unknown, RegExp]>([
    ['not JSON', '{"apiKey": secret-in-the-open', /is not JSON$/],
    ['no list', 'null', /the file: /],
    ['an unknown kind', [{ ...syslog, kind: 'smoke-signals' }], /sinks\.0\.kind: /],
    ['an unknown member', [{ ...syslog, password: 'secret-in-the-open' }], /sinks\.0: .*password/],
    ['a port that is none', [{ ...syslog, port: 0 }], /sinks\.0\.port: /],
    ['nothing said about TLS', [{ ...syslog, tls: undefined }], /sinks\.0\.tls: /],
    ['a name twice', [syslog, syslog], /sinks\.1\.name: another sink has the same name/],
    ['a name with spaces', [{ ...syslog, name: 'my sink' }], /sinks\.0\.name: /],
    [
      'a secret in an address',
      [{ name: 'hook', kind: 'webhook', url: 'https://user:secret-in-the-open@host/', secretFile: 's' }],
      /sinks\.0\.url: must hold no user name or password/,
    ],
    ['an address that is none', [{ name: 'hook', kind: 'webhook', url: 'secret-in-the-open', secretFile: 's' }], /url/],
  ])('is refused with %s, without repeating what it holds', async (_, sinks, message) => {
    const refusal = await read(sinks).then(
      () => null,
      (error: { code: string; message: string }) => error,
    );
    expect(refusal?.code).toBe('CONFIG_INVALID');
    expect(refusal?.message).toMatch(message);
    expect(refusal?.message).not.toContain('secret-in-the-open');
  });

  test('that is missing is an error', async () => {
    await expect(readSinksFile(join(folder, 'none.json'))).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

describe('files with secrets', () => {
  const bytes = Buffer.from(Array.from({ length: 32 }, (_, place) => place * 7));

  test.each(['hex', 'base64', 'base64url'] as const)('a key is taken as %s', async (encoding) => {
    await writeFile(file, `${bytes.toString(encoding)}\n`);
    expect(Buffer.from((await readLineKey(file)).bytes)).toEqual(bytes);
  });

  test.each(['', 'short', 'ab'.repeat(31), `${'ab'.repeat(32)} extra`])(
    'a key file with %j is refused',
    async (text) => {
      await writeFile(file, text);
      await expect(readLineKey(file)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    },
  );

  test('a webhook secret is taken as Standard Webhooks writes it, or as plain text', async () => {
    await writeFile(file, `whsec_${bytes.toString('base64')}\n`);
    expect(Buffer.from(await readWebhookSecret(file))).toEqual(bytes);
    await writeFile(file, 'sixteen letters!');
    expect(Buffer.from(await readWebhookSecret(file)).toString()).toBe('sixteen letters!');
    await writeFile(file, 'too short');
    await expect(readWebhookSecret(file)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

test('pauses double from a second to the longest', () => {
  expect([1, 2, 3, 9, 10, 1_000].map((failures) => backOff(failures, 300_000))).toEqual([
    1_000, 2_000, 4_000, 256_000, 300_000, 300_000,
  ]);
});
