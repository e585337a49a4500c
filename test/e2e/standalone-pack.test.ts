import { createHash, randomUUID } from 'node:crypto';
import { appendFile, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PackEncoding } from '../../src/core/pack-encoding.js';
import { packFaultCodes, type PackFaultCode } from '../../src/core/pack-faults.js';
import { packFileNames, summarise, type PackFile, type PackManifest } from '../../src/core/pack-manifest.js';
import { createPack, packFolderName } from '../../src/packs/create-packs.js';
import { createAgeKey, decryptWithAge, hasAge, type AgeKey } from '../support/age-command.js';
import { copyPack, createFolder, readManifest, signAsStranger, writeManifest } from '../support/evidence-packs.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import type { Outcome } from '../support/run-script.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { bundleVerifier } from '../support/standalone-verifier.js';
import { startTestService, type TestService } from '../support/test-service.js';

/** How a pack is stored, and what its files are called behind their own names. */
const kinds = ['plain', 'gzip', 'age', 'gzip and age'] as const;
type Kind = (typeof kinds)[number];
const suffixes: Readonly<Record<Kind, string>> = { plain: '', gzip: '.gz', age: '.age', 'gzip and age': '.gz.age' };
const isEncrypted = (kind: Kind) => kind.endsWith('age');

let folder: Awaited<ReturnType<typeof createFolder>>;
let run: (...args: string[]) => Promise<Outcome>;
let service: TestService;
let key: AgeKey;
/** Packs that nothing touches. */
const originals = new Map<Kind, string>();
let keys: string[];

beforeAll(async () => {
  folder = await createFolder('standalone-pack');
  run = await bundleVerifier(folder.path);
  key = await createAgeKey(folder.path, 'reader');
  service = await startTestService({ environment: { DAYBOOK_CHECKPOINT_SECONDS: '0.05' } });
  await using session = await openSession(service.database.urls.application);
  await session.run(insertSignalsSql(20));
  keys = (await service.call('{ verifierKeys }')).data?.verifierKeys as string[];
  for (const kind of kinds) originals.set(kind, await makePack(kind));
}, 60_000);

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function makePack(kind: Kind): Promise<string> {
  const { packs } = service.context.services;
  const encoding: PackEncoding = {
    compression: kind.startsWith('gzip') ? 'gzip' : 'none',
    recipients: isEncrypted(kind) ? [key.recipient] : [],
  };
  const origin = {
    actor: 'tester',
    role: null,
    ipAddress: null,
    userAgent: null,
    sessionId: 'test',
    requestId: randomUUID(),
  };
  const date = new Date().toISOString().slice(0, 10);
  const request = { date, kind: 'PARTIAL', origin, encoding, signal: new AbortController().signal } as const;
  return copyPack(join(packs.folder, packFolderName(await createPack(packs, request))), join(folder.path, kind));
}

const pinned = () => keys.flatMap((each) => ['--key', each]);

async function altered(kind: Kind, alter: (pack: string) => Promise<unknown>): Promise<string> {
  const pack = await copyPack(originals.get(kind)!, join(folder.path, randomUUID()));
  await alter(pack);
  return pack;
}

async function exitCodeAfter(kind: Kind, alter: (pack: string) => Promise<unknown>): Promise<number> {
  return (await run('pack', await altered(kind, alter), ...pinned())).exitCode;
}

const codeOf = (fault: PackFaultCode) => 10 + Object.keys(packFaultCodes).indexOf(fault);

const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** A manifest that says of a file what a forger who can sign would have it say. */
function withPackFile(manifest: PackManifest, name: string, changes: Partial<PackFile>): PackManifest {
  const files = { ...manifest.files, [name]: { ...manifest.files[name]!, ...changes } };
  return { ...manifest, files, summary: summarise(files) };
}

/** Signs with the keys of the service, as its owner can. */
async function resign(pack: string, change: (manifest: PackManifest) => PackManifest): Promise<void> {
  const changed = change((await readManifest(pack)).manifest);
  await writeManifest(pack, changed, service.context.services.packs.sources.sign(bytesOf(changed)));
}

function bytesOf(manifest: PackManifest): Uint8Array {
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sorted);
    if (typeof value !== 'object' || value === null) return value;
    const members = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
    return Object.fromEntries(members.map(([name, member]) => [name, sorted(member)]));
  };
  return Buffer.from(JSON.stringify(sorted(manifest)));
}

describe.each(kinds)('daybook-verify pack, of a pack that is stored %s', (kind) => {
  const at = (pack: string, name: string) => join(pack, `${name}${suffixes[kind]}`);

  test('tells what it verified, by exit codes of their own', async () => {
    const pack = originals.get(kind)!;
    const good = await run('pack', pack, ...pinned(), '--json');
    const sealed = packFileNames.filter((name) => isEncrypted(kind) && !name.endsWith('.checkpoint'));
    expect(good.exitCode).toBe(isEncrypted(kind) ? 4 : 0);
    const [found] = (JSON.parse(good.stdout) as { packs: Record<string, any>[] }).packs;
    expect(found).toMatchObject({ signer: 'verified', kind: 'PARTIAL', faults: [] });
    expect(found?.sealed.sort()).toEqual(sealed);
    expect(found?.entriesChecked > 20).toBe(!isEncrypted(kind));
    expect((await run('pack', pack)).exitCode).toBe(3);
    const { stdout } = await run('pack', pack, ...pinned());
    expect(stdout.includes('SEALED')).toBe(isEncrypted(kind));
  });

  test('has an exit code of its own for each alteration', async () => {
    const codes = {
      changed: await exitCodeAfter(kind, async (pack) => {
        const bytes = await readFile(at(pack, 'audit.jsonl'));
        bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
        await writeFile(at(pack, 'audit.jsonl'), bytes);
      }),
      grown: await exitCodeAfter(kind, (pack) => appendFile(at(pack, 'orders.csv'), 'x')),
      removed: await exitCodeAfter(kind, (pack) => rm(at(pack, 'report.html'))),
      added: await exitCodeAfter(kind, (pack) => writeFile(at(pack, 'more.csv'), 'x')),
      renamed: await exitCodeAfter(kind, (pack) => rename(at(pack, 'fills.csv'), at(pack, 'fills2.csv'))),
      truncated: await exitCodeAfter(kind, async (pack) => {
        const { size } = await stat(at(pack, 'signals.jsonl'));
        await truncate(at(pack, 'signals.jsonl'), size - 10);
      }),
      strange: await exitCodeAfter(kind, async (pack) => {
        const { manifest } = await readManifest(pack);
        await writeManifest(pack, manifest, signAsStranger(manifest.logs.audit.origin, manifest));
      }),
      edited: await exitCodeAfter(kind, async (pack) => {
        const { manifest, signatures } = await readManifest(pack);
        await writeManifest(pack, { ...manifest, created_at: manifest.period.from }, signatures);
      }),
      unsigned: await exitCodeAfter(kind, async (pack) => {
        await writeManifest(pack, (await readManifest(pack)).manifest, []);
      }),
      garbled: await exitCodeAfter(kind, (pack) => writeFile(join(pack, 'manifest.json'), '{}')),
      unlisted: await exitCodeAfter(kind, (pack) => rm(join(pack, 'manifest.json'))),
      headless: await exitCodeAfter(kind, (pack) =>
        resign(pack, (manifest) => {
          const { audit } = manifest.logs;
          return { ...manifest, logs: { ...manifest.logs, audit: { ...audit, root_hash: 'ab'.repeat(32) } } };
        }),
      ),
    };
    expect(codes).toEqual({
      changed: codeOf('FILE_ALTERED'),
      grown: codeOf('FILE_ALTERED'),
      removed: codeOf('FILE_MISSING'),
      added: codeOf('FILE_EXTRA'),
      renamed: codeOf('FILE_RENAMED'),
      truncated: codeOf('FILE_TRUNCATED'),
      strange: codeOf('WRONG_KEY'),
      edited: codeOf('SIGNATURE_BAD'),
      unsigned: codeOf('UNSIGNED'),
      garbled: codeOf('MANIFEST_MALFORMED'),
      unlisted: codeOf('MANIFEST_MISSING'),
      headless: codeOf('ROWS_CHANGED'),
    });
  });

  test('refuses stored bytes that are named as they are, where what they hold is not what is named', async () => {
    const pack = await altered(kind, (each) =>
      resign(each, (manifest) => withPackFile(manifest, 'config.diff', { size: 12, sha256: 'ab'.repeat(32) })),
    );
    const { exitCode } = await run('pack', pack, ...pinned());
    // A plain file has one hash, and nobody without the key can tell what an encrypted one holds.
    const expected = { plain: codeOf('MANIFEST_MALFORMED'), gzip: codeOf('ENCODING_BAD'), age: 4, 'gzip and age': 4 };
    expect(exitCode).toBe(expected[kind]);
  });
});

describe('rows that were removed, with every hash put right by somebody who can sign', () => {
  /** The manifest and the file without the third entry. */
  const shorten = (lines: string): Buffer => {
    const kept = lines.trimEnd().split('\n');
    kept.splice(2, 1);
    return Buffer.from(`${kept.join('\n')}\n`);
  };
  const withoutEntry = (manifest: PackManifest, plain: Buffer, stored: Buffer): PackManifest => {
    const { audit } = manifest.logs;
    const lastIndex = audit.last_index! - 1;
    const facts = { size: plain.length, sha256: hashOf(plain) };
    const name = manifest.files['audit.jsonl']!.stored.name;
    return {
      ...withPackFile(manifest, 'audit.jsonl', {
        ...facts,
        stored: { name, size: stored.length, sha256: hashOf(stored) },
        rows: audit.count - 1,
        last_index: lastIndex,
      }),
      logs: {
        ...manifest.logs,
        audit: {
          ...audit,
          count: audit.count - 1,
          expected: audit.count - 1,
          last_index: lastIndex,
          tree_size: audit.tree_size - 1,
        },
      },
    };
  };

  test.each(['plain', 'gzip'] as const)('are missed in a pack that is stored %s', async (kind) => {
    const pack = await altered(kind, async (each) => {
      const path = join(each, `audit.jsonl${suffixes[kind]}`);
      const bytes = await readFile(path);
      const plain = shorten((kind === 'gzip' ? gunzipSync(bytes) : bytes).toString());
      const stored = kind === 'gzip' ? gzipSync(plain) : plain;
      await writeFile(path, stored);
      await resign(each, (manifest) => withoutEntry(manifest, plain, stored));
    });
    expect((await run('pack', pack, ...pinned())).exitCode).toBe(codeOf('ROWS_CHANGED'));
  });

  (hasAge ? test.each : test.skip.each)(['age', 'gzip and age'] as const)(
    'are missed by the checkpoint in a pack that is stored %s, sealed or not',
    async (kind) => {
      const pack = await altered(kind, async (each) => {
        await decryptWithAge(each, key);
        const path = join(each, `audit.jsonl${suffixes[kind].slice(0, -'.age'.length)}`);
        const bytes = await readFile(path);
        const plain = shorten((kind === 'age' ? bytes : gunzipSync(bytes)).toString());
        await writeFile(path, kind === 'age' ? plain : gzipSync(plain));
        await resign(each, (manifest) => withoutEntry(manifest, plain, plain));
      });
      expect((await run('pack', pack, ...pinned())).exitCode).toBe(codeOf('ROWS_CHANGED'));
      const sealed = await altered(kind, (each) =>
        resign(each, (manifest) => {
          const stored = Buffer.from('age-encryption.org/v1\n');
          return withoutEntry(manifest, stored, stored);
        }),
      );
      await writeFile(join(sealed, `audit.jsonl${suffixes[kind]}`), 'age-encryption.org/v1\n');
      expect((await run('pack', sealed, ...pinned())).exitCode).toBe(codeOf('ROWS_CHANGED'));
    },
  );
});

(hasAge ? describe : describe.skip)('what age -d opened', () => {
  test.each(['age', 'gzip and age'] as const)('verifies to its last entry, where it was stored %s', async (kind) => {
    const pack = await altered(kind, (each) => decryptWithAge(each, key));
    const { exitCode, stdout } = await run('pack', pack, ...pinned(), '--json');
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ intact: true, packs: [{ signer: 'verified', sealed: [] }] });
  });

  test('is refused where it was changed afterwards, or cut short', async () => {
    const alter = (change: (pack: string) => Promise<unknown>) =>
      exitCodeAfter('gzip and age', async (pack) => {
        await decryptWithAge(pack, key);
        await change(pack);
      });
    const signals = (pack: string) => join(pack, 'signals.jsonl.gz');
    expect(await alter((pack) => writeFile(signals(pack), 'no gzip'))).toBe(codeOf('FILE_ALTERED'));
    expect(await alter((pack) => writeFile(signals(pack), gzipSync('{}\n')))).toBe(codeOf('FILE_TRUNCATED'));
    expect(await alter((pack) => rm(signals(pack)))).toBe(codeOf('FILE_MISSING'));
  });
});

test('compressed bytes that never end are read up to the size that the manifest names', async () => {
  const endless = gzipSync(Buffer.alloc(64 * 2 ** 20));
  const pack = await altered('gzip', async (each) => {
    await writeFile(join(each, 'config.diff.gz'), endless);
    await resign(each, (manifest) => {
      const stored = { name: 'config.diff.gz', size: endless.length, sha256: hashOf(endless) };
      return withPackFile(manifest, 'config.diff', { size: 3, stored });
    });
  });
  expect((await run('pack', pack, ...pinned())).exitCode).toBe(codeOf('ENCODING_BAD'));
});

test('a folder that is not there ends with 2', async () => {
  const { exitCode, stderr } = await run('pack', join(folder.path, 'nowhere'), ...pinned());
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/^FILE_UNREADABLE/);
});
