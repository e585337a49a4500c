import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodeHex, encodeUtf8 } from '../../src/core/bytes.js';
import { BreakList } from '../../src/core/log-breaks.js';
import { hashLeafBytes } from '../../src/core/merkle-tree.js';
import { RangeTreeBuilder, type StoredTile } from '../../src/ledger/verify-range-tree.js';
import { TileHasher } from '../../src/ledger/verify-tile.js';
import { MTH } from '../support/literal-rfc6962.js';

const bodies = Array.from({ length: 1_024 }, (_, number) => encodeUtf8(`body ${number}`));
const leaves = bodies.map((body) => encodeHex(hashLeafBytes(body)));
const rootOf = (from: number, to: number) => encodeHex(MTH(bodies.slice(from, to)));

describe('the tile hasher', () => {
  test('gives the root of every width, as RFC 6962 defines it, while leaves come in', () => {
    const tile = new TileHasher();
    for (let width = 1; width <= 256; width += 1) {
      tile.set(width - 1, leaves[width - 1]!);
      expect(tile.width).toBe(width);
      expect(tile.root(width)).toBe(rootOf(0, width));
    }
    for (let width = 1; width <= 256; width += 1) expect(tile.root(width)).toBe(rootOf(0, width));
    expect(tile.root(0)).toBeNull();
    expect(tile.root(257)).toBeNull();
  });

  test('knows no root that needs a leaf which is missing', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 1, max: 256 }), (missing, width) => {
        const tile = new TileHasher();
        for (let place = 0; place < 256; place += 1) if (place !== missing) tile.set(place, leaves[place]!);
        expect(tile.root(width)).toBe(width <= missing ? rootOf(0, width) : null);
      }),
      { numRuns: 50 },
    );
  });

  test('finds the first leaf that a stored tile has otherwise, and passes over leaves that are missing', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 255 }), fc.nat(63), fc.option(fc.nat(255)), (place, digit, missing) => {
        const tile = new TileHasher();
        tile.set(3, leaves[900]!);
        tile.clear();
        for (let each = 0; each < 256; each += 1) if (each !== missing) tile.set(each, leaves[each]!);
        const stored = leaves.slice(0, 256).join('');
        expect(tile.firstDifference(stored)).toBeNull();
        const at = place * 64 + digit;
        const changed = `${stored.slice(0, at)}${stored[at] === '0' ? '1' : '0'}${stored.slice(at + 1)}`;
        expect(tile.firstDifference(changed)).toBe(place === missing ? null : place);
        expect(tile.firstDifference(`${stored}00`)).toBe(0);
      }),
      { numRuns: 50 },
    );
  });
});

describe('the tree of a range', () => {
  /** Tiles as they should be stored, from the tile `first`. */
  const storedTiles = (first: number, count: number) =>
    new Map<number, StoredTile>(
      Array.from({ length: count }, (_, each) => {
        const [from, to] = [(first + each) * 256, (first + each + 1) * 256];
        return [first + each, { root: rootOf(from, to), hashes: leaves.slice(from, to).join('') }];
      }),
    );

  test('tells roots of full tiles and hashes of partial ones, and how far entries reach without a gap', () => {
    const breaks = new BreakList();
    const sizes = [257, 300, 511, 512, 600, 700];
    const builder = new RangeTreeBuilder({
      first: 256,
      stored: storedTiles(1, 1),
      sizes,
      tilesRequiredTo: 512,
      breaks,
    });
    for (let index = 256; index < 650; index += 1) builder.take(index, leaves[index]!);
    const { prefix, tileRoots, tilesCompared, partials } = builder.finish();
    expect({ prefix, tileRoots, tilesCompared, breaks: breaks.first }).toEqual({
      prefix: 394,
      tileRoots: [rootOf(256, 512), null],
      tilesCompared: 1,
      breaks: [],
    });
    expect(Object.fromEntries(partials)).toEqual({
      257: rootOf(256, 257),
      300: rootOf(256, 300),
      511: rootOf(256, 511),
      600: rootOf(512, 600),
      650: rootOf(512, 650),
    });
  });

  test('ends where an entry is missing, and still compares the tiles behind it', () => {
    const breaks = new BreakList();
    const stored = storedTiles(0, 4);
    stored.set(3, { ...stored.get(3)!, hashes: leaves.slice(768, 1_023).concat(leaves[0]!).join('') });
    const builder = new RangeTreeBuilder({ first: 0, stored, sizes: [512, 600], tilesRequiredTo: 1_024, breaks });
    for (let index = 0; index < 1_024; index += 1) if (index !== 400) builder.take(index, leaves[index]!);
    const { prefix, tileRoots, reportedTiles } = builder.finish();
    expect(prefix).toBe(400);
    expect(tileRoots).toEqual([rootOf(0, 256), null, rootOf(512, 768), rootOf(768, 1_024)]);
    expect(reportedTiles).toEqual([3]);
    expect(breaks.first.map(({ code, index }) => `${index} ${code}`)).toEqual(['1023 TILE_MISMATCH']);
  });
});
