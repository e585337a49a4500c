import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { build } from 'esbuild';
import { decodeUtf8, encodeUtf8 } from '../../src/core/bytes.js';
import { encodeVerifierKey } from '../../src/core/verifier-key.js';
import { flipBit } from '../support/flip-bits.js';
import { createNoteSigner } from '../support/note-signer.js';
import {
  bodies,
  changed,
  createLayoutFolders,
  intact,
  origin,
  signer,
  witness,
  type LayoutFolders,
} from '../support/sample-layout.js';
import { startStaticFileServer } from '../support/static-file-server.js';
import { cosign, cosignedSeconds, proofFile, sampleBodies, signHead } from '../support/static-layout.js';

const root = join(import.meta.dirname, '../..');
const key = encodeVerifierKey(signer.key);
const witnessKey = encodeVerifierKey(witness.witnessKey);

let folders: LayoutFolders;
/** The verifier, the folder it is run in, and a layout. */
let program: string;
let elsewhere: string;
let layout: string;

beforeAll(async () => {
  folders = await createLayoutFolders();
  program = join(folders.path, 'daybook-verify.js');
  elsewhere = join(folders.path, 'elsewhere');
  await mkdir(elsewhere);
  await writeFile(join(folders.path, 'package.json'), '{"type":"module"}');
  await build({
    entryPoints: [join(root, 'src/verifier/main.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    banner: { js: '#!/usr/bin/env node' },
    logLevel: 'silent',
  });
  layout = await folders.write(intact);
});

afterAll(async () => {
  await folders[Symbol.asyncDispose]();
});

interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the one file with nothing around it: another working folder and an empty environment. */
function run(...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { cwd: elsewhere, env: {} }, (err, stdout, stderr) => {
      resolve({ exitCode: err === null ? 0 : Number(err.code), stdout, stderr });
    });
  });
}

async function file(name: string, contents: string | Uint8Array): Promise<string> {
  const path = join(elsewhere, name);
  await writeFile(path, contents);
  return path;
}

test('the verifier is one file that imports nothing but Node', async () => {
  const source = await readFile(program, 'utf8');
  const imported = [...source.matchAll(/^(?:import|export)[^'"]*from\s*["']([^"']+)["']/gm)].map(([, name]) => name);
  expect(imported.length).toBeGreaterThan(0);
  expect(
    imported.filter((name) => !/^(node:)?(crypto|fs|fs\/promises|path|stream|util|zlib)$/.test(name ?? '')),
  ).toEqual([]);
  expect(source).not.toMatch(/\bprocess\.env\b/);
  expect(source.startsWith('#!/usr/bin/env node\n')).toBe(true);
});

test('--help tells every exit code, --version the release of the package', async () => {
  const help = await run('--help');
  expect(help.exitCode).toBe(0);
  for (const line of ['0  verified', '1  broken', '2  the check could not run', '3  intact']) {
    expect(help.stdout).toContain(line);
  }
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  expect((await run('--version')).stdout).toBe(`daybook-verify ${version}, format 1\n`);
});

describe('log', () => {
  test('of an intact log with a pinned key ends with code 0', async () => {
    const { exitCode, stdout } = await run('log', layout, '--key', key, '--key', witnessKey, '--origin', origin);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/\nintact\n$/);
    expect(stdout).toContain("days' roots  5, 2026-02-28 to 2026-03-04; 5 cosigned");
  });

  test('takes keys from a file and prints one JSON value', async () => {
    const keyFile = await file('keys', `# the log\n${key}\n\n${witnessKey}\n`);
    const earlier = await file('earlier', signHead(signer, bodies.slice(0, 300)));
    const { exitCode, stdout } = await run('log', layout, '--key-file', keyFile, '--earlier', earlier, '--json');
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      intact: true,
      origin,
      originExpected: false,
      signer: 'verified',
      signedBy: [key],
      entries: 700,
      treeSize: 700,
      earlierCheckpoints: 1,
      breakCount: 0,
      breaks: [],
      roots: { roots: 5, witnessed: 5 },
    });
  });

  test('of an intact log without a pinned key ends with code 3', async () => {
    const { exitCode, stdout } = await run('log', layout);
    expect(exitCode).toBe(3);
    expect(stdout).toContain('unknown: integrity only');
  });

  test('of a broken log ends with code 1 and names the first break', async () => {
    const broken = await folders.write(changed(intact, 'tile/entries/001', (bytes) => flipBit(bytes, 800)));
    const { exitCode, stdout } = await run('log', broken, '--key', key);
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/\nfirst break \w+ at index 256\n/);
  });

  test('under another key than the pinned one ends with code 1', async () => {
    const { exitCode, stdout } = await run(
      'log',
      layout,
      '--key',
      encodeVerifierKey(createNoteSigner(origin, 9).key),
      '--json',
    );
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      intact: false,
      signer: 'unknown-key',
      firstBreak: { code: 'UNKNOWN_KEY' },
      breakCount: 6,
    });
  });

  test('that an earlier checkpoint contradicts ends with code 1', async () => {
    const earlier = await file('other', signHead(signer, sampleBodies(300)));
    const { exitCode, stdout } = await run('log', layout, '--key', key, '--earlier', earlier, '--json');
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ firstBreak: { code: 'CHECKPOINT_INCONSISTENT', index: 299 } });
  });

  test('prints no control characters of a hostile log', async () => {
    const hostile = createNoteSigner('daybook.test/\u009b2Jaudit', 5);
    const place = await folders.write(new Map([['checkpoint', encodeUtf8(signHead(hostile, []))]]));
    const { exitCode, stdout } = await run('log', place);
    expect(exitCode).toBe(3);
    expect(stdout).not.toContain('\u009b');
    expect(stdout).toContain('\\u{9b}');
  });
});

describe('log over HTTP', () => {
  const served = new Map([...intact].map(([path, bytes]) => [`logs/audit/${path}`, bytes] as const));

  test('finds the same as in a folder', async () => {
    await using server = await startStaticFileServer({ files: served });
    for (const url of [`${server.url}/logs/audit`, `${server.url}/logs/audit/`]) {
      const { exitCode, stdout } = await run('log', url, '--key', key, '--key', witnessKey, '--json');
      expect(exitCode).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ intact: true, entries: 700, roots: { roots: 5, witnessed: 5 } });
    }
  });

  test('sends the key that a file holds, and without it cannot run', async () => {
    await using server = await startStaticFileServer({ files: served, apiKey: 'a-secret' });
    const url = `${server.url}/logs/audit`;
    const apiKeyFile = await file('api-key', 'a-secret\n');
    expect((await run('log', url, '--key', key, '--api-key-file', apiKeyFile)).exitCode).toBe(0);
    const refused = await run('log', url, '--key', key);
    expect(refused.exitCode).toBe(2);
    expect(refused.stderr).toMatch(/^LAYOUT_UNREADABLE: /);
  });

  test('follows no redirect, which could lead the key elsewhere', async () => {
    await using other = await startStaticFileServer({ files: served });
    const location = `${other.url}/logs/audit/checkpoint`;
    await using server = await startStaticFileServer({
      files: new Map(),
      answer: (_, response) => response.writeHead(302, { location }).end(),
    });
    expect((await run('log', server.url)).exitCode).toBe(2);
    expect(other.requested).toEqual([]);
  });

  test('takes no more of an endless answer than a file can have', async () => {
    await using server = await startStaticFileServer({
      files: new Map(),
      answer: (_, response) => {
        const part = 'x'.repeat(65_536);
        const write = () => {
          while (!response.destroyed && response.write(part));
        };
        response.on('drain', write);
        write();
      },
    });
    const { exitCode, stdout } = await run('log', server.url, '--json');
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ breaks: [{ code: 'CHECKPOINT_MALFORMED' }] });
  });

  test('ends with code 2 where nothing listens', async () => {
    let url: string;
    {
      await using server = await startStaticFileServer({ files: served });
      url = server.url;
    }
    const { exitCode, stdout, stderr } = await run('log', url, '--json');
    expect(exitCode).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'LAYOUT_UNREADABLE' } });
    expect(stderr).toMatch(/^LAYOUT_UNREADABLE: /);
  });

  test('ends soon with code 2 when it is interrupted', async () => {
    const asked = Promise.withResolvers<void>();
    await using server = await startStaticFileServer({ files: new Map(), answer: () => asked.resolve() });
    const child = spawn(process.execPath, [program, 'log', server.url], { cwd: elsewhere, env: {} });
    await asked.promise;
    const ended = once(child, 'exit');
    child.kill('SIGINT');
    expect(await ended).toEqual([2, null]);
  });
});

describe('proof', () => {
  const index = 257;
  const body = bodies[index]!;
  const proof = proofFile(signer, bodies, index);

  test('of an entry under a pinned key ends with code 0, under none with 3', async () => {
    const [proofPath, entry] = [await file('right.tlog-proof', proof), await file('body', body)];
    const found = await run('proof', proofPath, '--entry', entry, '--key', key, '--origin', origin, '--json');
    expect(found.exitCode).toBe(0);
    expect(JSON.parse(found.stdout)).toMatchObject({ valid: true, origin, index, size: 700, signer: 'verified' });
    expect((await run('proof', proofPath, '--entry', entry)).exitCode).toBe(3);
  });

  test('for other bytes ends with code 1, and tells of a line break that an editor appended', async () => {
    const proofPath = await file('right.tlog-proof', proof);
    const entry = await file('edited', `${decodeUtf8(body)}\n`);
    const { exitCode, stdout } = await run('proof', proofPath, '--entry', entry, '--key', key, '--json');
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      valid: false,
      code: 'NOT_INCLUDED',
      message: expect.stringContaining('line break'),
    });
  });
});

describe('checkpoint', () => {
  test('ends with code 0 under a pinned key, and names the witnesses', async () => {
    const path = await file('checkpoint', cosign(witness, signHead(signer, bodies), cosignedSeconds));
    const { exitCode, stdout } = await run('checkpoint', path, '--key', key, '--key', witnessKey, '--json');
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      valid: true,
      origin,
      size: 700,
      signedBy: [key],
      cosigners: [{ key: witnessKey, seconds: cosignedSeconds }],
    });
    expect((await run('checkpoint', path, '--key', key, '--key', witnessKey)).stdout).toContain(
      '2026-03-01T21:20:00.000Z',
    );
  });

  test('ends with code 3 without a pinned key and with 1 under a wrong one', async () => {
    const path = await file('checkpoint', signHead(signer, bodies));
    expect((await run('checkpoint', path)).exitCode).toBe(3);
    const stranger = encodeVerifierKey(createNoteSigner(origin, 9).key);
    expect((await run('checkpoint', path, '--key', stranger)).exitCode).toBe(1);
    expect((await run('checkpoint', await file('bytes', Uint8Array.of(0xff)))).exitCode).toBe(1);
  });
});

describe('consistency', () => {
  test('with an earlier checkpoint ends with code 0, with another log with 1, without a key with 3', async () => {
    const earlier = await file('earlier', signHead(signer, bodies.slice(0, 300)));
    expect(await run('consistency', earlier, layout, '--key', key)).toMatchObject({ exitCode: 0 });
    expect(await run('consistency', earlier, layout)).toMatchObject({ exitCode: 3 });
    const other = await file('other', signHead(signer, sampleBodies(300)));
    const { exitCode, stdout } = await run('consistency', other, layout, '--key', key, '--json');
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ consistent: false, code: 'CHECKPOINT_INCONSISTENT' });
  });
});

describe('what cannot run ends with code 2 and says why', () => {
  test.each<[string, string[], string]>([
    ['no command', [], 'USAGE'],
    ['an unknown command', ['logs', '.'], 'USAGE'],
    ['an unknown option', ['log', '.', '--fast'], 'USAGE'],
    ['an option of another command', ['log', '.', '--entry', 'x'], 'USAGE'],
    ['a folder too many', ['log', '.', '.'], 'USAGE'],
    ['a proof without its entry', ['proof', 'x'], 'USAGE'],
    ['a key that is none', ['log', '.', '--key', 'x'], 'USAGE'],
    ['a missing file of keys', ['log', '.', '--key-file', 'missing'], 'FILE_UNREADABLE'],
    ['a missing proof', ['proof', 'missing', '--entry', 'missing'], 'FILE_UNREADABLE'],
    ['a folder that is missing', ['log', 'missing'], 'LAYOUT_UNREADABLE'],
    ['a folder without a checkpoint', ['log', '.'], 'LAYOUT_UNREADABLE'],
    ['an address with a password', ['log', 'http://a:b@127.0.0.1/'], 'LAYOUT_UNREADABLE'],
    ['endless input', ['checkpoint', '/dev/zero'], 'FILE_UNREADABLE'],
  ])('%s', async (_, args, code) => {
    const empty = join(elsewhere, 'empty');
    await mkdir(empty, { recursive: true });
    const { exitCode, stderr } = await run(...args.map((arg) => (arg === '.' ? empty : arg)));
    expect(exitCode).toBe(2);
    expect(stderr.split(':')[0]).toBe(code);
  });
});
