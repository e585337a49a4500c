import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { genesisHash, hashChainLink, hashLeaf } from '../../src/core/hash-entry.js';

const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes));

function sha256(...parts: Uint8Array[]): string {
  return createHash('sha256').update(Buffer.concat(parts)).digest('hex');
}

describe('hashes', () => {
  test('of RFC 6962: the leaf of no bytes', () => {
    expect(hashLeaf('')).toBe('6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d');
  });

  test('of a leaf cover the byte 0x00 and the UTF-8 of the body', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (body) => {
        expect(hashLeaf(body)).toBe(sha256(Uint8Array.of(0), Buffer.from(body, 'utf8')));
      }),
    );
  });

  test('of a link cover the byte 0x02 and both hashes', () => {
    fc.assert(
      fc.property(hash, hash, (previous, leaf) => {
        expect(hashChainLink(previous.toString('hex'), leaf.toString('hex'))).toBe(
          sha256(Uint8Array.of(2), previous, leaf),
        );
      }),
    );
  });

  test('start a chain from 32 zero bytes', () => {
    expect(genesisHash).toBe(Buffer.alloc(32).toString('hex'));
  });
});
