import { execFile } from 'node:child_process';
import { readdir, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { build } from 'esbuild';
import { packFaultCodes, type PackFaultCode } from '../../src/core/pack-faults.js';
import { copyPack, createFolder, readManifest, signAsStranger, writeManifest } from '../support/evidence-packs.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { startTestService } from '../support/test-service.js';

const root = join(import.meta.dirname, '../..');

let folder: Awaited<ReturnType<typeof createFolder>>;
let program: string;
let original: string;
let keys: string[];

beforeAll(async () => {
  folder = await createFolder('standalone-pack');
  program = join(folder.path, 'daybook-verify.js');
  await writeFile(join(folder.path, 'package.json'), '{"type":"module"}');
  await build({
    entryPoints: [join(root, 'src/verifier/main.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'silent',
  });
  await using service = await startTestService({ environment: { DAYBOOK_CHECKPOINT_SECONDS: '0.05' } });
  await using session = await openSession(service.database.urls.application);
  await session.run(insertSignalsSql(20));
  const date = new Date().toISOString().slice(0, 10);
  const made = await service.call(
    `mutation { createExportPack(input: { date: "${date}", partial: true }) { pack { id } } }`,
  );
  expect(made.errors).toBeUndefined();
  const { folder: packs } = service.context.services.packs;
  const [name = ''] = await readdir(packs);
  original = await copyPack(join(packs, name), join(folder.path, 'original'));
  keys = (await service.call('{ verifierKeys }')).data?.verifierKeys as string[];
  await expectLedgerIntact(service.database.urls.auditor);
}, 60_000);

afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

function run(...args: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  return new Promise((done) => {
    execFile(process.execPath, [program, ...args], { env: {} }, (err, stdout, stderr) => {
      done({ exitCode: err === null ? 0 : Number(err.code), stdout, stderr });
    });
  });
}

const pinned = () => keys.flatMap((key) => ['--key', key]);

async function exitCodeAfter(name: string, alter: (pack: string) => Promise<unknown>): Promise<number> {
  const pack = await copyPack(original, join(folder.path, name));
  await alter(pack);
  return (await run('pack', pack, ...pinned())).exitCode;
}

const codeOf = (fault: PackFaultCode) => 10 + Object.keys(packFaultCodes).indexOf(fault);

describe('daybook-verify pack', () => {
  test('ends with 0 for an untouched pack and its keys, with 3 without a key, with 2 where there is no folder', async () => {
    const good = await run('pack', original, ...pinned(), '--json');
    expect(good.exitCode).toBe(0);
    expect(JSON.parse(good.stdout)).toMatchObject({ intact: true, packs: [{ signer: 'verified', kind: 'PARTIAL' }] });
    expect((await run('pack', original)).exitCode).toBe(3);
    const absent = await run('pack', join(folder.path, 'nowhere'), ...pinned());
    expect(absent.exitCode).toBe(2);
    expect(absent.stderr).toMatch(/^FILE_UNREADABLE/);
  });

  test('has an exit code of its own for each alteration', async () => {
    const codes = {
      changed: await exitCodeAfter('changed', (pack) => writeFile(join(pack, 'config.diff'), 'one line more\n')),
      removed: await exitCodeAfter('removed', (pack) => rm(join(pack, 'report.html'))),
      added: await exitCodeAfter('added', (pack) => writeFile(join(pack, 'more.csv'), 'x')),
      renamed: await exitCodeAfter('renamed', (pack) => rename(join(pack, 'fills.csv'), join(pack, 'fills2.csv'))),
      truncated: await exitCodeAfter('truncated', (pack) => truncate(join(pack, 'signals.jsonl'), 10)),
      strange: await exitCodeAfter('strange', async (pack) => {
        const { manifest } = await readManifest(pack);
        await writeManifest(pack, manifest, signAsStranger(manifest.logs.audit.origin, manifest));
      }),
      unsigned: await exitCodeAfter('unsigned', async (pack) => {
        await writeManifest(pack, (await readManifest(pack)).manifest, []);
      }),
      garbled: await exitCodeAfter('garbled', (pack) => writeFile(join(pack, 'manifest.json'), '{}')),
    };
    expect(codes).toEqual({
      changed: codeOf('FILE_ALTERED'),
      removed: codeOf('FILE_MISSING'),
      added: codeOf('FILE_EXTRA'),
      renamed: codeOf('FILE_RENAMED'),
      truncated: codeOf('FILE_TRUNCATED'),
      strange: codeOf('WRONG_KEY'),
      unsigned: codeOf('UNSIGNED'),
      garbled: codeOf('MANIFEST_MALFORMED'),
    });
  });
});
