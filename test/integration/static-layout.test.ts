import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { encodeUtf8 } from '../../src/core/bytes.js';
import type { BreakCode } from '../../src/core/log-breaks.js';
import { verifyGrowth } from '../../src/verifier/verify-growth.js';
import { verifyLayout, type LayoutOptions, type LayoutVerification } from '../../src/verifier/verify-layout.js';
import { MTH } from '../support/literal-rfc6962.js';
import { createNoteSigner } from '../support/note-signer.js';
import {
  bodies,
  codesOf,
  createLayoutFolders,
  intact,
  keys,
  origin,
  signer,
  verifyFolder,
  without,
  type LayoutFolders,
} from '../support/sample-layout.js';
import {
  layoutFiles,
  memoryReader,
  sampleBody,
  sampleBodies,
  signHead,
  signText,
  type LayoutFiles,
} from '../support/static-layout.js';

let folders: LayoutFolders;

beforeAll(async () => {
  folders = await createLayoutFolders();
});

afterAll(async () => {
  await folders[Symbol.asyncDispose]();
});

function verify(files: LayoutFiles, options?: Partial<LayoutOptions>): Promise<LayoutVerification> {
  return folders.verify(files, options);
}

/** The chain of docs/format.md, link by link. */
function chainOf(entries: readonly Uint8Array[]): string {
  const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest();
  return entries
    .reduce<Buffer>((link, body) => sha256(Uint8Array.of(2), link, sha256(Uint8Array.of(0), body)), Buffer.alloc(32))
    .toString('hex');
}

describe('an intact layout', () => {
  test.each([0, 1, 2, 255, 256, 257, 511, 512, 513, 65_536, 70_000])(
    'of %i entries is verified, with root and chain as their definitions give them',
    async (size) => {
      const entries = sampleBodies(size);
      const found = await verify(layoutFiles({ bodies: entries, signer }));
      expect(codesOf(found)).toEqual([]);
      expect(found).toMatchObject({
        signer: 'verified',
        entries: size,
        treeSize: size,
        breakCount: 0,
        firstBreak: null,
      });
      expect(found.rootHash).toBe(Buffer.from(MTH(entries)).toString('hex'));
      expect(found.headChainHash).toBe(chainOf(entries));
    },
  );

  test("has its days' roots, cosignatures and earlier checkpoints compared", async () => {
    const earlierCheckpoints = [0, 1, 256, 300, 700].map((size) => signHead(signer, bodies.slice(0, size)));
    const found = await verify(intact, { earlierCheckpoints });
    expect(codesOf(found)).toEqual([]);
    expect(found.earlierCheckpoints).toBe(5);
    expect(found.roots).toEqual({
      roots: 5,
      witnessed: 5,
      timestamped: 0,
      firstDate: '2026-02-28',
      lastDate: '2026-03-04',
    });
  });

  test('is found the same way where nothing can be listed', async () => {
    const found = await verifyLayout({ reader: memoryReader(intact, { lists: false }), keys, origin });
    expect(codesOf(found)).toEqual([]);
    expect(found.roots).toMatchObject({ roots: 5, witnessed: 5 });
  });

  test('under no pinned key is intact, but its signer is said to be unknown', async () => {
    const found = await verify(intact, { keys: [] });
    expect(found).toMatchObject({ signer: 'not-pinned', signedBy: [], breakCount: 0 });
  });

  test('is of the log that its checkpoint names when no other is expected', async () => {
    const reader = memoryReader(intact);
    expect(await verifyLayout({ reader, keys })).toMatchObject({ origin, originExpected: false, breakCount: 0 });
  });

  test('may have lost the partial tiles and bundles for which there are larger ones by now', async () => {
    const grown = layoutFiles({ bodies: sampleBodies(1_024, 360), signer, rootDates: [] });
    grown.set('checkpoint', intact.get('checkpoint')!);
    for (const [path, bytes] of intact) if (path.startsWith('roots/')) grown.set(path, bytes);
    grown.set('tile/1/000.p/2', intact.get('tile/1/000.p/2')!);
    expect(codesOf(await verify(grown))).toEqual([]);
  });

  test('may still hold the partial tiles and bundles of smaller trees', async () => {
    const found = await verify(new Map([...layoutFiles({ bodies: bodies.slice(0, 600), signer }), ...intact]));
    expect(codesOf(found)).toEqual([]);
    expect(found.tiles).toBeGreaterThan((await verify(intact)).tiles);
  });

  test('without its partial hash tiles is intact, and says that they were not compared', async () => {
    const found = await verify(without(intact, 'tile/0/002.p/188', 'tile/1/000.p/2'));
    expect(codesOf(found)).toEqual([]);
    expect(found.notChecked.join('\n')).toContain('tile/0/002.p/188, tile/1/000.p/2');
  });
});

describe('a hostile layout', () => {
  test('with a size beyond all measure ends at the first missing entry', async () => {
    const note = signText(signer, `${origin}\n${Number.MAX_SAFE_INTEGER}\n${'A'.repeat(43)}=\n`);
    const found = await verify(new Map(intact).set('checkpoint', encodeUtf8(note)));
    expect(found.firstBreak).toMatchObject({ code: 'INDEX_GAP', index: 700 });
    expect(found.entries).toBe(700);
  });

  test.each<[string, BreakCode]>([
    ['checkpoint', 'CHECKPOINT_MALFORMED'],
    ['tile/entries/001', 'INDEX_GAP'],
    ['tile/0/001', 'TILE_MISMATCH'],
    ['roots/2026-03-02.checkpoint', 'CHECKPOINT_MALFORMED'],
  ])('with a file %s of a terabyte is refused without reading it', async (path, code) => {
    const place = await folders.write(intact);
    await truncate(join(place, path), 2 ** 40);
    expect(codesOf(await verifyFolder(place)).map(([found]) => found)).toContain(code);
  });

  test.each(['checkpoint', 'tile/entries/001', 'tile/0/001'])('with a pipe as %s does not hang', async (path) => {
    const place = await folders.write(without(intact, path));
    await promisify(execFile)('mkfifo', [join(place, path)]);
    await expect(verifyFolder(place)).rejects.toMatchObject({ code: 'LAYOUT_UNREADABLE' });
  });

  test('with a link out of its folder is not followed', async () => {
    const place = await folders.write(without(intact, 'tile/0/001'));
    const outside = join(folders.path, 'outside');
    await writeFile(outside, intact.get('tile/0/001')!);
    await symlink(outside, join(place, 'tile/0/001'));
    await expect(verifyFolder(place)).rejects.toMatchObject({ code: 'LAYOUT_UNREADABLE' });
  });

  test('may link within its folder', async () => {
    const place = await folders.write(without(intact, 'tile/0/001'));
    await mkdir(join(place, 'store'));
    await writeFile(join(place, 'store/a'), intact.get('tile/0/001')!);
    await symlink(join(place, 'store/a'), join(place, 'tile/0/001'));
    expect(codesOf(await verifyFolder(place))).toEqual([]);
  });

  test('that has a folder where a file should be cannot be verified', async () => {
    const place = await folders.write(without(intact, 'tile/0/001'));
    await mkdir(join(place, 'tile/0/001'));
    await expect(verifyFolder(place)).rejects.toMatchObject({ code: 'LAYOUT_UNREADABLE' });
  });

  test('with recording times ages apart has no root asked for on every day between them', async () => {
    const ages = [sampleBody('first', 0), sampleBody('last', 8_000 * 365 * 86_400 - 31_536_000 * 30)];
    const reader = memoryReader(layoutFiles({ bodies: ages, signer }), { lists: false });
    const asked: string[] = [];
    const read = (path: string) => {
      asked.push(path);
      return reader.read(path);
    };
    const found = await verifyLayout({ reader: { ...reader, read }, keys, origin });
    expect(found.breakCount).toBe(0);
    expect(found.notChecked.join('\n')).toContain('more than a hundred years');
    expect(asked.length).toBeLessThan(10);
  });

  test('can be given up', async () => {
    const reason = new Error('enough');
    const onProgress = () => stop.abort(reason);
    const stop = new AbortController();
    await expect(verify(intact, { onProgress, signal: stop.signal })).rejects.toBe(reason);
  });
});

describe('growth since an earlier checkpoint', () => {
  const grow = (files: LayoutFiles, earlier: string) =>
    verifyGrowth({ reader: memoryReader(files), keys, origin, earlier });

  test('is proven from tiles alone, from every size', async () => {
    const tilesOnly = new Map([...intact].filter(([path]) => !path.startsWith('tile/entries/')));
    for (const fromSize of [0, 1, 2, 255, 256, 257, 300, 511, 512, 513, 699, 700]) {
      const verdict = await grow(tilesOnly, signHead(signer, bodies.slice(0, fromSize)));
      expect(verdict).toEqual({ consistent: true, origin, fromSize, toSize: 700, signer: 'verified' });
    }
  });

  test.each<[string, LayoutFiles, string, string]>([
    [
      'where the earlier head had other entries',
      intact,
      signHead(signer, sampleBodies(300)),
      'CHECKPOINT_INCONSISTENT',
    ],
    ['where the log is shorter now', intact, signHead(signer, sampleBodies(701, 360)), 'TAIL_TRUNCATED'],
    ['where a tile is missing', without(intact, 'tile/0/001'), signHead(signer, bodies.slice(0, 300)), 'TILE_MISSING'],
    ['where the earlier note is none', intact, 'note', 'CHECKPOINT_MALFORMED'],
    ['where a stranger signed the earlier note', intact, signHead(createNoteSigner(origin, 3), bodies), 'UNKNOWN_KEY'],
  ])('is refused %s', async (_, files, earlier, code) => {
    expect(await grow(files, earlier)).toMatchObject({ consistent: false, code });
  });
});
