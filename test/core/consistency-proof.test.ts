import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { consistencyProofNodes, verifyConsistency } from '../../src/core/consistency-proof.js';
import { emptyRoot, hashNode, type Hash } from '../../src/core/merkle-tree.js';
import { flipEachBit, flipEachBitOfAll } from '../support/flip-bits.js';
import { MTH, PROOF } from '../support/literal-rfc6962.js';
import { createSampleTree } from '../support/sample-tree.js';

const sizeMax = 700;
const tree = createSampleTree(sizeMax);

function proofOf(fromSize: number, toSize: number) {
  const proof = tree.consistencyProof(fromSize, toSize);
  return { fromSize, fromRoot: tree.root(fromSize), toSize, toRoot: tree.root(toSize), proof };
}

/** A tree and an earlier one that is smaller and not empty. */
const growth = fc
  .integer({ min: 2, max: sizeMax })
  .chain((toSize) => fc.record({ toSize: fc.constant(toSize), fromSize: fc.integer({ min: 1, max: toSize - 1 }) }));

describe('a consistency proof', () => {
  test('is that of RFC 6962 and verifies, for every growth up to 70 leaves', () => {
    for (let toSize = 0; toSize <= 70; toSize += 1) {
      for (let fromSize = 0; fromSize <= toSize; fromSize += 1) {
        const input = proofOf(fromSize, toSize);
        if (fromSize > 0) expect(input.proof).toEqual(PROOF(fromSize, tree.bodies.slice(0, toSize)));
        expect(verifyConsistency(input)).toBe(true);
      }
    }
  });

  test(`is that of RFC 6962 and verifies, for growth up to ${sizeMax}`, () => {
    fc.assert(
      fc.property(growth, ({ fromSize, toSize }) => {
        const input = proofOf(fromSize, toSize);
        expect(input.proof).toEqual(PROOF(fromSize, tree.bodies.slice(0, toSize)));
        expect(verifyConsistency(input)).toBe(true);
      }),
    );
  });

  test.each([
    [1, 2],
    [4, 7],
    [6, 7],
    [255, 256],
    [256, 257],
    [256, 512],
    [333, 700],
    [699, 700],
  ])('from %p to %p is refused with any bit of proof or roots flipped', (fromSize, toSize) => {
    const input = proofOf(fromSize, toSize);
    for (const proof of flipEachBitOfAll(input.proof)) expect(verifyConsistency({ ...input, proof })).toBe(false);
    for (const [, fromRoot] of flipEachBit(input.fromRoot)) {
      expect(verifyConsistency({ ...input, fromRoot })).toBe(false);
    }
    for (const [, toRoot] of flipEachBit(input.toRoot)) expect(verifyConsistency({ ...input, toRoot })).toBe(false);
  });

  test('does not lead to a tree in which an earlier leaf was changed', () => {
    fc.assert(
      fc.property(growth, fc.nat(), ({ fromSize, toSize }, anywhere) => {
        const rewritten = tree.bodies.slice(0, toSize).with(anywhere % fromSize, new Uint8Array([1]));
        const [toRoot, proof] = [MTH(rewritten), PROOF(fromSize, rewritten)];
        const honest = proofOf(fromSize, toSize);
        expect(verifyConsistency({ ...honest, toRoot })).toBe(false);
        expect(verifyConsistency({ ...honest, toRoot, proof })).toBe(false);
      }),
      { numRuns: 50 },
    );
  });

  test('is refused when it is cut, longer, reordered, of hashes of another length or of swapped sizes', () => {
    fc.assert(
      fc.property(growth, ({ fromSize, toSize }) => {
        const input = proofOf(fromSize, toSize);
        const { proof, toRoot } = input;
        expect(verifyConsistency({ ...input, proof: [] })).toBe(false);
        expect(verifyConsistency({ ...input, proof: proof.slice(1) })).toBe(false);
        expect(verifyConsistency({ ...input, proof: [...proof, toRoot] })).toBe(false);
        expect(verifyConsistency({ ...input, proof: [...proof, new Uint8Array(31)] })).toBe(false);
        expect(verifyConsistency({ ...input, fromRoot: new Uint8Array(33) })).toBe(false);
        expect(verifyConsistency({ ...input, fromSize: toSize, toSize: fromSize })).toBe(false);
        if (proof.length > 1) expect(verifyConsistency({ ...input, proof: proof.toReversed() })).toBe(false);
      }),
    );
  });
});

describe('without a proof', () => {
  test('every tree begins with the empty one, and only with that', () => {
    const toRoot = tree.root(5);
    expect(verifyConsistency({ fromSize: 0, fromRoot: emptyRoot, toSize: 5, toRoot, proof: [] })).toBe(true);
    expect(verifyConsistency({ fromSize: 0, fromRoot: toRoot, toSize: 5, toRoot, proof: [] })).toBe(false);
    expect(verifyConsistency({ fromSize: 0, fromRoot: emptyRoot, toSize: 5, toRoot, proof: [toRoot] })).toBe(false);
    expect(verifyConsistency({ fromSize: 0, fromRoot: emptyRoot, toSize: 0, toRoot: emptyRoot, proof: [] })).toBe(true);
    expect(verifyConsistency({ fromSize: 0, fromRoot: toRoot, toSize: 0, toRoot, proof: [] })).toBe(false);
  });

  test('equal sizes need equal roots', () => {
    const [root, other] = [tree.root(5), tree.root(6)];
    const equal = { fromSize: 5, fromRoot: root, toSize: 5, toRoot: root, proof: [] };
    expect(verifyConsistency(equal)).toBe(true);
    expect(verifyConsistency({ ...equal, toRoot: other })).toBe(false);
    expect(verifyConsistency({ ...equal, proof: [root] })).toBe(false);
  });
});

test.each([
  [5, 4],
  [-1, 4],
  [1.5, 4],
  [1, Number.NaN],
  [1, 2 ** 53],
])('a tree does not grow from %p to %p', (fromSize, toSize) => {
  expect(() => consistencyProofNodes(fromSize, toSize)).toThrow(RangeError);
  expect(verifyConsistency({ ...proofOf(3, 5), fromSize, toSize })).toBe(false);
});

describe('above 2^32 leaves', () => {
  /**
   * SUBPROOF of RFC 6962 in big integers: the leaves under each hash, and both roots from made-up hashes of those. A
   * hash that the earlier tree has too stands under both roots.
   */
  function prove(
    from: bigint,
    to: bigint,
  ): { ranges: [bigint, bigint][]; fromRoot: Hash; toRoot: Hash; proof: Hash[] } {
    const ranges: [bigint, bigint][] = [];
    const proof: Hash[] = [];
    const add = (begin: bigint, end: bigint) => {
      ranges.push([begin, end]);
      proof.push(new Uint8Array(32).fill(proof.length + 1));
      return proof.at(-1)!;
    };
    const subproof = (begin: bigint, end: bigint, told: boolean): [earlier: Hash, later: Hash] => {
      if (end === from) {
        const hash = told ? new Uint8Array(32).fill(0xff) : add(begin, end);
        return [hash, hash];
      }
      let width = 1n;
      while (2n * width < end - begin) width *= 2n;
      const middle = begin + width;
      if (from <= middle) {
        const [earlier, later] = subproof(begin, middle, told);
        return [earlier, hashNode(later, add(middle, end))];
      }
      const [earlier, later] = subproof(middle, end, false);
      const left = add(begin, middle);
      return [hashNode(left, earlier), hashNode(left, later)];
    };
    const [fromRoot, toRoot] = subproof(0n, to, true);
    return { ranges, fromRoot, toRoot, proof };
  }

  const bigGrowth = fc
    .bigInt({ min: 2n ** 32n, max: BigInt(Number.MAX_SAFE_INTEGER) })
    .chain((to) => fc.record({ to: fc.constant(to), from: fc.bigInt({ min: 1n, max: to - 1n }) }));

  test('each hash covers the leaves that RFC 6962 says, and the proof verifies', () => {
    fc.assert(
      fc.property(bigGrowth, ({ from, to }) => {
        const { ranges, fromRoot, toRoot, proof } = prove(from, to);
        const covered = consistencyProofNodes(Number(from), Number(to)).map((group) => {
          const [first, last] = [group[0]!, group.at(-1)!];
          return [BigInt(first.index) * 2n ** BigInt(first.level), BigInt(last.index + 1) * 2n ** BigInt(last.level)];
        });
        expect(covered).toEqual(ranges);
        const input = { fromSize: Number(from), fromRoot, toSize: Number(to), toRoot, proof };
        expect(verifyConsistency(input)).toBe(true);
        expect(verifyConsistency({ ...input, toRoot: fromRoot })).toBe(false);
      }),
    );
  });
});
