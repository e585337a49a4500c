import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { hashSubtree } from '../../src/core/merkle-tree.js';
import { entriesPath, hashTilePath, parseTilePath, tileOf } from '../../src/core/tile-path.js';
import { MTH } from '../support/literal-rfc6962.js';
import { readVectors } from '../support/read-vectors.js';
import { createSampleTree } from '../support/sample-tree.js';

type PathVector = { path: string; kind: 'hashes' | 'entries'; level: number; index: number; width: number };

const level = fc.nat(63);
const index = fc.oneof(fc.nat(2000), fc.maxSafeNat());
const width = fc.integer({ min: 1, max: 256 });

describe('a path of the static layout', () => {
  test.each(readVectors<PathVector>('tile-path', 'valid'))('is written and read: %s', (_, { path, ...parts }) => {
    const written =
      parts.kind === 'hashes'
        ? hashTilePath(parts.level, parts.index, parts.width)
        : entriesPath(parts.index, parts.width);
    expect(written).toBe(path);
    expect(parseTilePath(path)).toEqual(parts);
  });

  test.each(readVectors<{ path: string }>('tile-path', 'invalid'))('is refused: %s', (_, { path }) => {
    expect(parseTilePath(path)).toBeNull();
  });

  test('is read back as it was written', () => {
    fc.assert(
      fc.property(level, index, width, (l, n, w) => {
        expect(parseTilePath(hashTilePath(l, n, w))).toEqual({ kind: 'hashes', level: l, index: n, width: w });
        expect(parseTilePath(entriesPath(n, w))).toEqual({ kind: 'entries', level: 0, index: n, width: w });
      }),
    );
  });

  test('of any characters is refused or written back the same', () => {
    const part = fc.constantFrom('tile', 'entries', '/', '0', '1', '00', '000', 'x001', '.p', '63', '256', '7');
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const path = parts.join('');
        const parsed = parseTilePath(path);
        if (parsed === null) return;
        const { kind, level: l, index: n, width: w } = parsed;
        expect(kind === 'hashes' ? hashTilePath(l, n, w) : entriesPath(n, w)).toBe(path);
      }),
      { numRuns: 5000 },
    );
  });

  test('of a hostile length is refused at once', () => {
    expect(parseTilePath(`tile/0/${'x000/'.repeat(200_000)}000`)).toBeNull();
    expect(parseTilePath(`tile/0/${'0'.repeat(1_000_000)}`)).toBeNull();
  });

  test.each([
    [64, 0, 256],
    [-1, 0, 256],
    [0.5, 0, 256],
    [0, -1, 256],
    [0, 2 ** 53, 256],
    [0, 0.5, 256],
    [0, 0, 0],
    [0, 0, 257],
    [0, 0, 1.5],
  ])('is not written for level %p, index %p and width %p', (l, n, w) => {
    expect(() => hashTilePath(l, n, w)).toThrow(RangeError);
    if (l === 0) expect(() => entriesPath(n, w)).toThrow(RangeError);
  });
});

describe('the tile of a node', () => {
  test('holds the hashes that make it', () => {
    const size = 600;
    const tree = createSampleTree(size);
    for (let nodeLevel = 0; 2 ** nodeLevel <= size; nodeLevel += 1) {
      for (let place = 0; (place + 1) * 2 ** nodeLevel <= size; place += 1) {
        const { level: l, tile, offset, count } = tileOf({ level: nodeLevel, index: place });
        const bytes = tree.tile(l, tile, size);
        const hashes = Array.from({ length: count }, (_, step) =>
          bytes.subarray((offset + step) * 32, (offset + step + 1) * 32),
        );
        const leaves = tree.bodies.slice(place * 2 ** nodeLevel, (place + 1) * 2 ** nodeLevel);
        expect(hashSubtree(hashes)).toEqual(MTH(leaves));
      }
    }
  });

  test('is where its leaves are, at any size', () => {
    fc.assert(
      fc.property(fc.nat(52), fc.maxSafeNat(), (nodeLevel, leaf) => {
        const node = { level: nodeLevel, index: Math.floor(leaf / 2 ** nodeLevel) };
        const { level: l, tile, offset, count } = tileOf(node);
        const first = (BigInt(tile) * 256n + BigInt(offset)) * 256n ** BigInt(l);
        expect(first).toBe(BigInt(node.index) * 2n ** BigInt(nodeLevel));
        expect(BigInt(count) * 256n ** BigInt(l)).toBe(2n ** BigInt(nodeLevel));
        expect(offset + count).toBeLessThanOrEqual(256);
      }),
    );
  });
});
