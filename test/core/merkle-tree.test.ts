import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeHex, encodeHex } from '../../src/core/bytes.js';
import {
  CompactRange,
  decompose,
  emptyRoot,
  foldNodes,
  hashLeafBytes,
  hashNode,
  hashSubtree,
  type Hash,
} from '../../src/core/merkle-tree.js';
import { hashLeaf } from '../../src/core/hash-entry.js';
import { MTH } from '../support/literal-rfc6962.js';
import { readVectors } from '../support/read-vectors.js';
import { createSampleTree } from '../support/sample-tree.js';

const sizeMax = 600;
const tree = createSampleTree(sizeMax);
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
// Half of the sizes lie above 2^32, where bit operators would cut them.
const size = fc.oneof(fc.nat(), fc.integer({ min: 2 ** 32, max: Number.MAX_SAFE_INTEGER }));

describe('the root', () => {
  test.each(readVectors<{ leaves: string[]; root: string }>('merkle-tree', 'valid'))('of %s', (_, vector) => {
    const leaves = vector.leaves.map(decodeHex);
    const range = new CompactRange();
    for (const leaf of leaves) range.append(hashLeafBytes(leaf));
    expect(encodeHex(range.root())).toBe(vector.root);
    expect(encodeHex(MTH(leaves))).toBe(vector.root);
  });

  test('of the empty tree is the hash of nothing', () => {
    expect(new CompactRange().root()).toEqual(emptyRoot);
    expect(MTH([])).toEqual(emptyRoot);
    expect(foldNodes([])).toEqual(emptyRoot);
  });

  test(`is what RFC 6962 says word for word, at every size up to ${sizeMax}`, () => {
    const range = new CompactRange();
    for (const [index, leafHash] of tree.leafHashes.entries()) {
      range.append(leafHash);
      const literal = MTH(tree.bodies.slice(0, index + 1));
      expect(range.root()).toEqual(literal);
      expect(tree.root(index + 1)).toEqual(literal);
    }
  });

  test('of a body is hashed alike from text and from bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (body) => {
        expect(encodeHex(hashLeafBytes(new TextEncoder().encode(body)))).toBe(hashLeaf(body));
      }),
    );
  });
});

describe('the perfect subtrees of a range', () => {
  test('lie side by side, are aligned, and are the fewest there can be', () => {
    fc.assert(
      fc.property(size, size, (one, other) => {
        const [begin, end] = [Math.min(one, other), Math.max(one, other)];
        let next = begin;
        let previous = -1;
        for (const { level, index } of decompose(begin, end)) {
          expect(index * 2 ** level).toBe(next);
          // Two neighbours of one level that share a parent would be one subtree.
          expect(level === previous && index % 2 === 1).toBe(false);
          next += 2 ** level;
          previous = level;
        }
        expect(next).toBe(end);
      }),
    );
  });

  test('of a tree are the ones in the binary form of its size', () => {
    fc.assert(
      fc.property(size, (end) => {
        const digits = [...end.toString(2)].reverse();
        const levels = digits.flatMap((digit, level) => (digit === '1' ? [level] : [])).reverse();
        expect(decompose(0, end).map(({ level }) => level)).toEqual(levels);
      }),
    );
  });

  test.each([
    [2, 1],
    [-1, 1],
    [0, 1.5],
    [0, Number.NaN],
    [0, 2 ** 53],
  ])('are refused for %p to %p', (begin, end) => {
    expect(() => decompose(begin, end)).toThrow(RangeError);
  });
});

describe('a growing right edge', () => {
  test('goes on from its hashes as if it had never stopped', () => {
    fc.assert(
      fc.property(fc.nat(sizeMax), fc.nat(sizeMax), (one, other) => {
        const [stop, end] = [Math.min(one, other), Math.max(one, other)];
        const edge = decompose(0, stop).map(({ level, index }) => subtreeHash(level, index));
        const range = new CompactRange(stop, edge);
        for (const leafHash of tree.leafHashes.slice(stop, end)) range.append(leafHash);
        expect(range.size).toBe(end);
        expect(range.root()).toEqual(tree.root(end));
      }),
      { numRuns: 50 },
    );
  });

  test('takes whole subtrees for their leaves', () => {
    const range = new CompactRange();
    for (const { level, index } of [...decompose(0, 512), ...decompose(512, sizeMax)]) {
      range.appendSubtree(level, subtreeHash(level, index));
    }
    expect(range.size).toBe(sizeMax);
    expect(range.root()).toEqual(tree.root(sizeMax));
  });

  test('merges subtrees above 2^32 leaves as below', () => {
    fc.assert(
      fc.property(hash, hash, hash, fc.integer({ min: 33, max: 51 }), (first, second, third, level) => {
        const range = new CompactRange();
        range.appendSubtree(level, first);
        range.appendSubtree(level, second);
        expect(range.hashes).toEqual([hashNode(first, second)]);
        range.append(third);
        expect(range.size).toBe(2 ** (level + 1) + 1);
        expect(range.root()).toEqual(hashNode(hashNode(first, second), third));
      }),
    );
  });

  test('refuses a subtree where none can stand, and keeps what it has', () => {
    const range = new CompactRange();
    range.append(tree.leafHashes[0]!);
    expect(() => range.appendSubtree(1, emptyRoot)).toThrow(RangeError);
    expect(() => range.appendSubtree(-1, emptyRoot)).toThrow(RangeError);
    expect(() => range.appendSubtree(60, emptyRoot)).toThrow(RangeError);
    expect(() => range.append(emptyRoot.subarray(1))).toThrow(RangeError);
    expect(range.root()).toEqual(tree.leafHashes[0]);
  });

  test('does not start from hashes that do not fit its size', () => {
    expect(() => new CompactRange(3, [emptyRoot])).toThrow(RangeError);
    expect(() => new CompactRange(1, [emptyRoot.subarray(1)])).toThrow(RangeError);
    expect(() => new CompactRange(-1)).toThrow(RangeError);
  });

  test('is not changed through the hashes it gave away', () => {
    const range = new CompactRange(1, [tree.leafHashes[0]!]);
    (range.hashes as Hash[]).push(emptyRoot);
    expect(range.root()).toEqual(tree.leafHashes[0]);
  });
});

describe('a perfect subtree', () => {
  test('is made of any whole number of its levels', () => {
    for (const count of [1, 2, 4, 128, 256, 512]) {
      expect(hashSubtree(tree.leafHashes.slice(0, count))).toEqual(MTH(tree.bodies.slice(0, count)));
    }
    const pairs = Array.from({ length: 256 }, (_, pair) => subtreeHash(1, pair));
    expect(hashSubtree(pairs)).toEqual(MTH(tree.bodies.slice(0, 512)));
  });

  test.each([0, 3, 255, 257])('is not made of %p nodes', (count) => {
    expect(() => hashSubtree(tree.leafHashes.slice(0, count))).toThrow(RangeError);
  });
});

test('a node of anything but two hashes is refused', () => {
  expect(() => hashNode(emptyRoot, emptyRoot.subarray(1))).toThrow(RangeError);
  expect(() => hashNode(new Uint8Array(33), emptyRoot)).toThrow(RangeError);
});

function subtreeHash(level: number, index: number): Hash {
  return MTH(tree.bodies.slice(index * 2 ** level, (index + 1) * 2 ** level));
}
