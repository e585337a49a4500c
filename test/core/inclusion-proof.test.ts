import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { inclusionProofNodes, verifyInclusion } from '../../src/core/inclusion-proof.js';
import { hashNode, type Hash } from '../../src/core/merkle-tree.js';
import { flipEachBit, flipEachBitOfAll } from '../support/flip-bits.js';
import { PATH } from '../support/literal-rfc6962.js';
import { createSampleTree } from '../support/sample-tree.js';

const sizeMax = 700;
const tree = createSampleTree(sizeMax);

function proofOf(index: number, size: number) {
  const proof = tree.inclusionProof(index, size);
  return { leafHash: tree.leafHashes[index]!, index, size, proof, root: tree.root(size) };
}

/** A leaf and a tree that holds it. */
const leafInTree = fc
  .integer({ min: 1, max: sizeMax })
  .chain((size) => fc.record({ size: fc.constant(size), index: fc.nat(size - 1) }));

describe('an inclusion proof', () => {
  test('is the audit path of RFC 6962 and verifies, for every leaf of every tree of up to 70', () => {
    for (let size = 1; size <= 70; size += 1) {
      for (let index = 0; index < size; index += 1) {
        const input = proofOf(index, size);
        expect(input.proof).toEqual(PATH(index, tree.bodies.slice(0, size)));
        expect(verifyInclusion(input)).toBe(true);
      }
    }
  });

  test(`is the audit path of RFC 6962 and verifies, in trees of up to ${sizeMax}`, () => {
    fc.assert(
      fc.property(leafInTree, ({ index, size }) => {
        const input = proofOf(index, size);
        expect(input.proof).toEqual(PATH(index, tree.bodies.slice(0, size)));
        expect(verifyInclusion(input)).toBe(true);
      }),
    );
  });

  test.each([
    [0, 1],
    [0, 2],
    [6, 7],
    [255, 256],
    [256, 257],
    [100, 700],
    [699, 700],
  ])('of leaf %p of %p is refused with any bit of proof, root or leaf flipped', (index, size) => {
    const input = proofOf(index, size);
    for (const proof of flipEachBitOfAll(input.proof)) expect(verifyInclusion({ ...input, proof })).toBe(false);
    for (const [, root] of flipEachBit(input.root)) expect(verifyInclusion({ ...input, root })).toBe(false);
    for (const [, leafHash] of flipEachBit(input.leafHash)) expect(verifyInclusion({ ...input, leafHash })).toBe(false);
  });

  test('is refused at every other index', () => {
    fc.assert(
      fc.property(leafInTree, ({ index, size }) => {
        const input = proofOf(index, size);
        for (let other = 0; other < size; other += 1) {
          expect(verifyInclusion({ ...input, index: other })).toBe(other === index);
        }
      }),
      { numRuns: 20 },
    );
  });

  test('is refused when it is cut, longer, reordered or of hashes of another length', () => {
    fc.assert(
      fc.property(leafInTree, ({ index, size }) => {
        const input = proofOf(index, size);
        const { proof, root } = input;
        expect(verifyInclusion({ ...input, proof: [...proof, root] })).toBe(false);
        expect(verifyInclusion({ ...input, proof: [...proof, new Uint8Array()] })).toBe(false);
        expect(verifyInclusion({ ...input, leafHash: new Uint8Array(31) })).toBe(false);
        expect(verifyInclusion({ ...input, root: new Uint8Array(33) })).toBe(false);
        if (proof.length > 0) expect(verifyInclusion({ ...input, proof: proof.slice(1) })).toBe(false);
        if (proof.length > 1) expect(verifyInclusion({ ...input, proof: proof.toReversed() })).toBe(false);
      }),
    );
  });

  test.each([
    [-1, 5],
    [5, 5],
    [0, 0],
    [0.5, 5],
    [Number.NaN, 5],
    [0, Number.POSITIVE_INFINITY],
    [0, 2 ** 53],
  ])('of leaf %p of %p does not exist', (index, size) => {
    expect(() => inclusionProofNodes(index, size)).toThrow(RangeError);
    expect(verifyInclusion({ ...proofOf(0, 5), index, size })).toBe(false);
  });

  test('of two hundred thousand hashes is refused without harm', () => {
    const input = proofOf(3, 5);
    const proof = Array.from({ length: 200_000 }, () => input.root);
    expect(verifyInclusion({ ...input, proof })).toBe(false);
  });
});

describe('above 2^32 leaves', () => {
  const bigTree = fc
    .bigInt({ min: 2n ** 32n, max: BigInt(Number.MAX_SAFE_INTEGER) })
    .chain((size) => fc.record({ size: fc.constant(size), index: fc.bigInt({ min: 0n, max: size - 1n }) }));
  const proofHash = (place: number): Hash => new Uint8Array(32).fill(place + 1);

  /** The recursion of RFC 6962 in big integers: the leaves under each proof hash, and on which side it stands. */
  function pathOf(index: bigint, begin: bigint, end: bigint): { from: bigint; to: bigint; onLeft: boolean }[] {
    if (end - begin === 1n) return [];
    let width = 1n;
    while (2n * width < end - begin) width *= 2n;
    const middle = begin + width;
    return index < middle
      ? [...pathOf(index, begin, middle), { from: middle, to: end, onLeft: false }]
      : [...pathOf(index, middle, end), { from: begin, to: middle, onLeft: true }];
  }

  test('each hash covers the leaves that RFC 6962 says, and the proof verifies', () => {
    fc.assert(
      fc.property(bigTree, ({ index, size }) => {
        const path = pathOf(index, 0n, size);
        const groups = inclusionProofNodes(Number(index), Number(size));
        const covered = groups.map((group) => {
          const [first, last] = [group[0]!, group.at(-1)!];
          return [BigInt(first.index) * 2n ** BigInt(first.level), BigInt(last.index + 1) * 2n ** BigInt(last.level)];
        });
        expect(covered).toEqual(path.map(({ from, to }) => [from, to]));
        const leafHash = new Uint8Array(32);
        const root = path.reduce(
          (hash, { onLeft }, place) => (onLeft ? hashNode(proofHash(place), hash) : hashNode(hash, proofHash(place))),
          leafHash as Hash,
        );
        const proof = path.map((_, place) => proofHash(place));
        const input = { leafHash, index: Number(index), size: Number(size), proof, root };
        expect(verifyInclusion(input)).toBe(true);
        expect(verifyInclusion({ ...input, index: Number(index === 0n ? 1n : index - 1n) })).toBe(false);
      }),
    );
  });
});
