import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodeUtf8 } from '../../src/core/bytes.js';
import type { BreakCode } from '../../src/core/log-breaks.js';
import { verifyLayout, type LayoutOptions, type LayoutVerification } from '../../src/verifier/verify-layout.js';
import { flipBit } from '../support/flip-bits.js';
import { createNoteSigner } from '../support/note-signer.js';
import {
  bodies,
  changed,
  codesOf,
  createLayoutFolders,
  intact,
  keys,
  origin,
  rootDates,
  signer,
  without,
  witness,
  type LayoutFolders,
} from '../support/sample-layout.js';
import {
  cosign,
  cosignedSeconds,
  layoutFiles,
  memoryReader,
  sampleBody,
  signHead,
  type LayoutContent,
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

/** A layout whose entries are others, tiles and bundles made anew, under signed heads that are still the right ones. */
function altered(others: readonly Uint8Array[]): LayoutFiles {
  const made = layoutFiles({ bodies: others, signer });
  return new Map([...made, ...[...intact].filter(([path]) => path === 'checkpoint' || path.startsWith('roots/'))]);
}

/** As altered, but by somebody who has the key: all that is signed is signed anew. */
function resigned(others: readonly Uint8Array[], more: Partial<LayoutContent> = {}): LayoutFiles {
  return layoutFiles({ bodies: others, signer, rootDates, witness, ...more });
}

describe('a changed file', () => {
  /** The bit of a byte of entry `index` of its bundle; the letter changes, the form stays that of RFC 8785. */
  function bitIn(path: string, text: string): number {
    return Buffer.from(intact.get(path)!).indexOf(text) * 8;
  }

  test.each<[string, string, () => number, [BreakCode, number | null][]]>([
    [
      'a letter of an entry in a full bundle',
      'tile/entries/001',
      () => bitIn('tile/entries/001', 'order-300'),
      [
        ['TILE_MISMATCH', 300],
        ['TILE_MISMATCH', 300],
        ['ROOT_MISMATCH', 479],
        ['CHECKPOINT_MISMATCH', 699],
        ['ROOT_MISMATCH', 699],
        ['ROOT_MISMATCH', 699],
      ],
    ],
    [
      'a letter of an entry in the partial bundle',
      'tile/entries/002.p/188',
      () => bitIn('tile/entries/002.p/188', 'order-650'),
      [
        ['TILE_MISMATCH', 650],
        ['CHECKPOINT_MISMATCH', 699],
        ['ROOT_MISMATCH', 699],
        ['ROOT_MISMATCH', 699],
      ],
    ],
    ['a hash of a full tile', 'tile/0/001', () => 5 * 256, [['TILE_MISMATCH', 261]]],
    ['a hash of a partial tile', 'tile/0/002.p/188', () => 187 * 256 + 255, [['TILE_MISMATCH', 699]]],
    ['a hash of a tile above', 'tile/1/000.p/2', () => 256, [['TILE_MISMATCH', 256]]],
    [
      "the size in a day's root",
      'roots/2026-03-02.checkpoint',
      () => (origin.length + 1) * 8,
      [
        ['BAD_SIGNATURE', null],
        ['ANCHOR_MISMATCH', null],
        ['ROOT_MISMATCH', 480],
      ],
    ],
  ])('%s is found where it is', async (_, path, bit, expected) => {
    const found = await verify(changed(intact, path, (bytes) => flipBit(bytes, bit())));
    const byIndex = (left: readonly [string, number | null], right: readonly [string, number | null]) =>
      (left[1] ?? Infinity) - (right[1] ?? Infinity) || left[0].localeCompare(right[0]);
    expect([...codesOf(found)].sort(byIndex)).toEqual([...expected].sort(byIndex));
    expect(found.firstBreak).toMatchObject({ index: expected[0]![1] ?? expect.any(Number) });
  });

  test('a length in a bundle is found at its entry', async () => {
    const found = await verify(changed(intact, 'tile/entries/000', (bytes) => flipBit(bytes, 8)));
    expect(found.firstBreak?.index).toBe(0);
    expect(found.entries).toBeLessThan(256);
    expect(codesOf(found)).toContainEqual(['INDEX_GAP', found.entries]);
  });

  test('a tile of another length is found at the first hash that lacks, or at the last one', async () => {
    const shorter = await verify(changed(intact, 'tile/0/001', (bytes) => bytes.subarray(0, 10 * 32)));
    expect(codesOf(shorter)).toEqual([['TILE_MISMATCH', 266]]);
    const longer = await verify(changed(intact, 'tile/0/001', (bytes) => Uint8Array.of(...bytes, 0)));
    expect(codesOf(longer)).toEqual([['TILE_MISMATCH', 511]]);
  });

  test('a bundle with one entry more than the checkpoint covers is found', async () => {
    const more = Buffer.concat([intact.get('tile/entries/002.p/188')!, Uint8Array.of(0, 2, 0x7b, 0x7d)]);
    expect(codesOf(await verify(new Map(intact).set('tile/entries/002.p/188', more)))).toEqual([['INDEX_GAP', 700]]);
  });

  test('a partial tile or bundle left over from a smaller tree is compared too', async () => {
    const smaller = layoutFiles({ bodies: bodies.slice(0, 600), signer });
    const both = (path: string) => new Map(intact).set(path, flipBit(smaller.get(path)!, 32 * 8 * 10 + 3));
    expect(codesOf(await verify(both('tile/0/002.p/88')))).toEqual([['TILE_MISMATCH', 522]]);
    expect(codesOf(await verify(both('tile/entries/002.p/88')))).toEqual([['TILE_MISMATCH', 513]]);
  });

  test('every bit of checkpoint, roots, tiles and bundles counts', async () => {
    const small = layoutFiles({ bodies: bodies.slice(0, 300), signer, rootDates: rootDates.slice(0, 2) });
    const place = fc
      .constantFrom(...small.keys())
      .chain((path) => fc.tuple(fc.constant(path), fc.nat(small.get(path)!.length * 8 - 1)));
    await fc.assert(
      fc.asyncProperty(place, fc.boolean(), async ([path, bit], lists) => {
        const files = changed(small, path, (bytes) => flipBit(bytes, bit));
        const found = await verifyLayout({ reader: memoryReader(files, { lists }), keys, origin });
        expect(found.breakCount).toBeGreaterThan(0);
      }),
      { numRuns: 400 },
    );
  });
});

describe('a removed file', () => {
  test.each<[string, [BreakCode, number | null][]]>([
    ['tile/entries/000', [['INDEX_GAP', 0]]],
    ['tile/entries/001', [['INDEX_GAP', 256]]],
    ['tile/entries/002.p/188', [['INDEX_GAP', 512]]],
    ['tile/0/000', [['TILE_MISSING', 0]]],
    ['tile/0/001', [['TILE_MISSING', 256]]],
    ['roots/2026-03-02.checkpoint', [['ROOT_MISSING', null]]],
  ])('%s is missed', async (path, expected) => {
    expect(codesOf(await verify(without(intact, path)))).toEqual(expected);
  });

  test("every day's root from the first entry on is missed where later ones are there", async () => {
    const paths = ['02-28', '03-01', '03-02'].flatMap((day) => [
      `roots/2026-${day}.checkpoint`,
      `roots/2026-${day}.witnessed`,
    ]);
    for (const lists of [true, false]) {
      const found = await verifyLayout({ reader: memoryReader(without(intact, ...paths), { lists }), keys, origin });
      expect(codesOf(found)).toEqual([['ROOT_MISSING', null]]);
    }
  });

  test('a cosignature is no break, but it is said that the witness is missing', async () => {
    const found = await verify(without(intact, 'roots/2026-03-02.witnessed'));
    expect(codesOf(found)).toEqual([]);
    expect(found.roots.witnessed).toBe(4);
    expect(found.notChecked.join('\n')).toContain("1 of the days' roots");
  });

  test('the checkpoint leaves nothing to verify', async () => {
    await expect(verify(without(intact, 'checkpoint'))).rejects.toMatchObject({ code: 'LAYOUT_UNREADABLE' });
  });
});

describe('entries altered with every tile below made anew', () => {
  const entry = sampleBody('smuggled', 300 * 360);

  test.each<[string, readonly Uint8Array[], BreakCode, number]>([
    ['an entry changed', bodies.with(300, entry), 'CHECKPOINT_MISMATCH', 699],
    ['two entries swapped', bodies.with(300, bodies[301]!).with(301, bodies[300]!), 'TIME_DISORDER', 301],
    ['an entry removed', bodies.toSpliced(300, 1), 'INDEX_GAP', 699],
    ['an entry added', bodies.toSpliced(300, 0, entry), 'CHECKPOINT_MISMATCH', 699],
  ])('%s contradicts the checkpoint', async (_, others, code, index) => {
    expect(codesOf(await verify(altered(others)))).toContainEqual([code, index]);
  });

  test('and signed by another key are refused for the key', async () => {
    const stranger = createNoteSigner(origin, 3);
    const found = await verify(layoutFiles({ bodies: bodies.with(300, entry), signer: stranger }));
    expect(found.signer).toBe('unknown-key');
    expect(codesOf(found)).toEqual([['UNKNOWN_KEY', null]]);
  });

  test('and signed by the key of the log are contradicted by a checkpoint kept elsewhere', async () => {
    const others = resigned(bodies.with(300, entry));
    expect(codesOf(await verify(others))).toEqual([]);
    const earlierCheckpoints = [200, 400].map((size) => signHead(signer, bodies.slice(0, size)));
    expect(codesOf(await verify(others, { earlierCheckpoints }))).toEqual([['CHECKPOINT_INCONSISTENT', 399]]);
  });

  test("and signed by the key of the log are contradicted by the days' roots that it signed before", async () => {
    const others = resigned(bodies.with(300, entry));
    const roots = [...intact].filter(([path]) => path.startsWith('roots/'));
    expect(codesOf(await verify(new Map([...others, ...roots])))).toEqual([
      ['ROOT_MISMATCH', 479],
      ['ROOT_MISMATCH', 699],
      ['ROOT_MISMATCH', 699],
    ]);
  });
});

describe('a log cut off at its end', () => {
  test('lacks what its checkpoint covers', async () => {
    expect(codesOf(await verify(altered(bodies.slice(0, 690))))[0]).toEqual(['INDEX_GAP', 690]);
    expect(codesOf(await verify(altered(bodies.slice(0, 512))))[0]).toEqual(['INDEX_GAP', 512]);
  });

  test('and signed anew is contradicted by a checkpoint kept elsewhere', async () => {
    const earlierCheckpoints = [signHead(signer, bodies)];
    const found = await verify(resigned(bodies.slice(0, 690)), { earlierCheckpoints });
    expect(codesOf(found)).toEqual([['TAIL_TRUNCATED', 690]]);
  });

  test("and signed anew is contradicted by the days' roots", async () => {
    const roots = [...intact].filter(([path]) => path.startsWith('roots/'));
    const found = await verify(new Map([...resigned(bodies.slice(0, 690), { rootDates: [] }), ...roots]));
    expect(codesOf(found)).toEqual([
      ['TAIL_TRUNCATED', 690],
      ['TAIL_TRUNCATED', 690],
    ]);
  });

  test('is told apart from one that grew while it was read', async () => {
    const before = layoutFiles({ bodies: bodies.slice(0, 690), signer });
    const after = new Map([...before, ...intact]);
    let checkpoints = 0;
    const growing = memoryReader(after);
    const read = (path: string) => {
      if (path !== 'checkpoint') return growing.read(path);
      checkpoints += 1;
      return Promise.resolve((checkpoints === 1 ? before : after).get(path)!);
    };
    const found = await verifyLayout({ reader: { ...growing, read }, keys, origin });
    expect(codesOf(found)).toEqual([]);
    expect(found.entries).toBe(690);
    expect(found.notChecked.join('\n')).toContain('the root of 2026-03-03: it was sealed after the checkpoint');
  });
});

describe('signed by the key of the log and still wrong', () => {
  test.each([
    [479, 479],
    [481, 480],
  ])("a day's root of %i entries where midnight came after 480 is refused", async (size, index) => {
    const path = 'roots/2026-03-02';
    const note = encodeUtf8(signHead(signer, bodies.slice(0, size)));
    const found = await verify(without(new Map(intact).set(`${path}.checkpoint`, note), `${path}.witnessed`));
    expect(codesOf(found)).toEqual([['ROOT_MISMATCH', index]]);
  });

  test('a cosignature over another head than the root is refused', async () => {
    const other = encodeUtf8(cosign(witness, signHead(signer, bodies.slice(0, 5)), cosignedSeconds));
    const found = await verify(new Map(intact).set('roots/2026-03-02.witnessed', other));
    expect(codesOf(found)).toEqual([['ANCHOR_MISMATCH', null]]);
  });

  test('the head of another log is refused where this one is expected', async () => {
    const other = createNoteSigner('daybook.test/signals', 3);
    const files = new Map(intact).set('checkpoint', encodeUtf8(signHead(other, bodies)));
    const found = await verify(files, { keys: [...keys, other.key] });
    expect(codesOf(found)).toContainEqual(['CHECKPOINT_MALFORMED', null]);
  });

  const text = Buffer.from(sampleBody('odd', 300 * 360)).toString();
  test.each<[string, Uint8Array, BreakCode]>([
    ['a body that is not UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d), 'BODY_NOT_CANONICAL'],
    ['a body that is not JSON', encodeUtf8('{'), 'BODY_NOT_CANONICAL'],
    ['a body that is not an object', encodeUtf8('[]'), 'BODY_NOT_CANONICAL'],
    ['an empty body', new Uint8Array(), 'BODY_NOT_CANONICAL'],
    ['a body that is nested deep', encodeUtf8('['.repeat(65_000)), 'BODY_NOT_CANONICAL'],
    ['a body with white space', encodeUtf8(text.replace(',', ', ')), 'BODY_NOT_CANONICAL'],
    ['a body with a key twice', encodeUtf8(text.replace('"v":1', '"v":1,"v":1')), 'BODY_NOT_CANONICAL'],
    ['a body of another version', encodeUtf8(text.replace('"v":1', '"v":2')), 'BODY_NOT_CANONICAL'],
    ['a body of the other log', encodeUtf8(text.replace('"audit"', '"signal"')), 'BODY_NOT_CANONICAL'],
    ['a body without its time', encodeUtf8(text.replace('recordedAt', 'recordedAz')), 'BODY_NOT_CANONICAL'],
    [
      'a body with another form of its time',
      encodeUtf8(text.replace(/"(recordedAt":"[^"]+)0Z/, '"$1Z')),
      'BODY_NOT_CANONICAL',
    ],
    [
      'a body with a time that no calendar has',
      encodeUtf8(text.replace(/"recordedAt":"[^"]+"/, '"recordedAt":"2026-13-02T06:00:00.000000Z"')),
      'BODY_NOT_CANONICAL',
    ],
    ['a time before its predecessor', sampleBody('early', 299 * 360 - 1), 'TIME_DISORDER'],
  ])('%s is found at its index', async (_, body, code) => {
    const files = layoutFiles({ bodies: bodies.with(300, body), signer });
    expect(codesOf(await verify(files))).toEqual([[code, 300]]);
  });
});
