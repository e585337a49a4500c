import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { plainEncoding } from '../../src/core/pack-encoding.js';
import { packFileNames } from '../../src/core/pack-manifest.js';
import { ageDecoder, parseIdentities } from '../../src/packs/age.js';
import { EncodedOutput } from '../../src/packs/encoded-output.js';
import { PackFileWriter } from '../../src/packs/pack-file-writer.js';
import { createAgeKey, encryptWithAge, hasAge, type AgeKey } from '../support/age-command.js';
import { createFolder, readManifest } from '../support/evidence-packs.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { runScript, type Outcome } from '../support/run-script.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';

let folder: Awaited<ReturnType<typeof createFolder>>;
let service: TestService;
let reader: AgeKey;
let stranger: AgeKey;
let pinned: string[];

beforeAll(async () => {
  folder = await createFolder('pack-command');
  [reader, stranger] = await Promise.all([createAgeKey(folder.path, 'reader'), createAgeKey(folder.path, 'stranger')]);
  service = await startTestService({ environment: { DAYBOOK_CHECKPOINT_SECONDS: '0.05' } });
  await using session = await openSession(service.database.urls.application);
  await session.run(insertSignalsSql(5));
  pinned = ['--key', ...((await service.call('{ verifierKeys }')).data?.verifierKeys as string[])];
}, 60_000);

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function daybook(args: readonly string[], environment: Record<string, string> = {}): Promise<Outcome> {
  const { dataDir } = service.context.config;
  const database = { DAYBOOK_DATA_DIR: dataDir, DATABASE_URL: service.database.urls.superuser };
  return runScript('src/main.ts', args, { ...database, ...environment });
}

const today = () => new Date().toISOString().slice(0, 10);
const packToday = ['pack', '--partial', '--json'];

describe('daybook pack', () => {
  test('compresses and encrypts as its options say, and verify-pack opens it for its readers alone', async () => {
    const out = join(folder.path, 'sealed');
    const made = await daybook([
      ...packToday,
      '--date',
      today(),
      '--out',
      out,
      '--compress',
      '--encrypt-to',
      reader.recipient,
    ]);
    expect(made).toMatchObject({ exitCode: 0, stderr: '' });
    const sealed = packFileNames.map((name) => (name.endsWith('.checkpoint') ? name : `${name}.gz.age`));
    expect((await readdir(out)).sort()).toEqual([...sealed, 'manifest.json'].sort());
    const { manifest } = await readManifest(out);
    expect(manifest).toMatchObject({ encoding: { compression: 'gzip', recipients: [reader.recipient] }, totals: null });
    const { data } = await service.call(
      '{ auditEntries(filter: { event: { eq: "ExportPackCreated" } }) { nodes { details } } }',
    );
    expect(data?.auditEntries.nodes).toMatchObject([
      {
        details: {
          compression: 'gzip',
          recipients: [reader.recipient],
          storedBytes: String(manifest.summary.stored_size),
        },
      },
    ]);
    const { pack } = JSON.parse(made.stdout) as { pack: { id: string } };
    const get = async (file: string) => {
      const key = { authorization: `Bearer ${await service.makeKey('AUDITOR')}` };
      return fetch(`${service.url}/packs/${pack.id}/${file}`, { headers: key });
    };
    const download = await get('orders.csv.gz.age');
    expect(download.status).toBe(200);
    expect(Buffer.from(await download.arrayBuffer())).toEqual(await readFile(join(out, 'orders.csv.gz.age')));
    expect((await get('orders.csv')).status).toBe(404);
    const verify = (...args: string[]) => daybook(['verify-pack', out, ...pinned, ...args]);
    expect((await verify()).exitCode).toBe(4);
    expect((await verify('--identity', stranger.file)).exitCode).toBe(4);
    const opened = await verify('--identity', reader.file, '--json');
    expect(opened.exitCode).toBe(0);
    expect(JSON.parse(opened.stdout)).toMatchObject({ intact: true, packs: [{ sealed: [], faults: [] }] });
  });

  test('takes readers and compression from the settings, and refuses keys that are none', async () => {
    const file = join(folder.path, 'recipients.txt');
    await writeFile(file, `# auditors\n${stranger.recipient}\n\n${reader.recipient}\n`);
    const settings = { DAYBOOK_PACK_COMPRESSION: 'gzip', DAYBOOK_PACK_RECIPIENTS_FILE: file };
    const out = join(folder.path, 'by-settings');
    const made = await daybook([...packToday, '--date', today(), '--out', out], settings);
    expect(made).toMatchObject({ exitCode: 0 });
    const recipients = [reader.recipient, stranger.recipient].sort();
    expect((await readManifest(out)).manifest.encoding).toEqual({ compression: 'gzip', recipients });
    expect((await daybook(['verify-pack', out, ...pinned, '--identity', stranger.file])).exitCode).toBe(0);
    await writeFile(file, 'age1nobody\n');
    const unusable = await daybook([...packToday, '--date', today()], settings);
    expect(JSON.parse(unusable.stdout)).toMatchObject({ error: { code: 'CONFIG_INVALID' } });
    const mistyped = await daybook([...packToday, '--date', today(), '--encrypt-to', 'age1nobody']);
    expect(JSON.parse(mistyped.stdout)).toMatchObject({ error: { code: 'BAD_USER_INPUT' } });
  });
});

test('verify-pack names the place of a secret key that is none, and not the key', async () => {
  const file = join(folder.path, 'bad-identity.txt');
  await writeFile(file, 'AGE-SECRET-KEY-1MISTYPED\n');
  const { exitCode, stderr } = await daybook(['verify-pack', folder.path, '--identity', file]);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/^BAD_USER_INPUT: /);
  expect(stderr).not.toContain('MISTYPED');
});

test('a file holds what was written in its order, lines of any length and script, and is named by its hash', async () => {
  const lengths = [0, 1, 60_000, 131_072, 10, 131_071, 131_073, 400_000, 3, 131_070, 2, 1];
  const texts = lengths.map((length, place) => `${place % 2 === 0 ? 'é😀' : 'x'}${'n'.repeat(length)}\n`);
  const writer = await PackFileWriter.create(folder.path, 'lines.txt', plainEncoding);
  for (const each of texts) await writer.write(each);
  const { size, sha256 } = await writer.finish({ rows: null, firstIndex: null, lastIndex: null, query: null }, '');
  const bytes = await readFile(join(folder.path, 'lines.txt'));
  expect(bytes.toString()).toBe(texts.join(''));
  expect({ size, sha256 }).toEqual({ size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
});

test('a file that cannot be written ends the pack with the reason, whatever is done to its bytes on the way', async () => {
  const path = join(folder.path, 'read-only');
  await writeFile(path, '');
  for (const codings of [['gzip'], ['age'], ['gzip', 'age']] as const) {
    await using file = await open(path, 'r');
    const output = new EncodedOutput(file, codings, [reader.recipient]);
    const writeMuch = async () => {
      for (let chunk = 0; chunk < 100; chunk += 1) await output.write(randomBytes(64 * 1024));
      await output.finish();
    };
    await expect(writeMuch()).rejects.toMatchObject({ code: 'EBADF' });
    await output.abort();
  }
});

(hasAge ? test : test.skip)(
  'what the age command encrypted is opened, and refused where a bit was turned',
  async () => {
    const path = join(folder.path, 'by-age.txt.age');
    const plain = 'line\n'.repeat(50_000);
    await encryptWithAge(path, plain, reader.recipient);
    const decode = ageDecoder(parseIdentities(await readFile(reader.file, 'utf8'), 'the test'));
    expect(await text(decode(createReadStream(path)))).toBe(plain);
    const bytes = await readFile(path);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    await writeFile(path, bytes);
    await expect(text(decode(createReadStream(path)))).rejects.toMatchObject({ name: 'SyntaxError' });
    await expect(text(decode(createReadStream(join(folder.path, 'absent'))))).rejects.toMatchObject({ code: 'ENOENT' });
  },
);
