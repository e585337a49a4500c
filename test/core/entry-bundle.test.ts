import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeHex, encodeHex } from '../../src/core/bytes.js';
import { decodeEntryBundle, encodeEntryBundle } from '../../src/core/entry-bundle.js';
import { readVectors } from '../support/read-vectors.js';

describe('a bundle of entries', () => {
  test.each(readVectors<{ bytes: string; bodies: string[] }>('entry-bundle', 'valid'))(
    'is written and read: %s',
    (_, { bytes, bodies }) => {
      expect(encodeHex(encodeEntryBundle(bodies.map(decodeHex)))).toBe(bytes);
      expect(decodeEntryBundle(decodeHex(bytes)).map(encodeHex)).toEqual(bodies);
    },
  );

  test.each(readVectors<{ bytes: string }>('entry-bundle', 'invalid'))('is refused: %s', (_, { bytes }) => {
    expect(() => decodeEntryBundle(decodeHex(bytes))).toThrow(SyntaxError);
  });

  test('is read back as it was written, from within a larger buffer too, and no part of it passes for another', () => {
    const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(bodies, fc.nat(), (value, anywhere) => {
        const bundle = encodeEntryBundle(value);
        const larger = new Uint8Array(bundle.length + 7);
        larger.set(bundle, 3);
        expect(decodeEntryBundle(larger.subarray(3, 3 + bundle.length)).map(encodeHex)).toEqual(value.map(encodeHex));
        const cut = bundle.subarray(0, anywhere % bundle.length);
        expect(decodeOrNull(cut) ?? []).not.toHaveLength(value.length);
      }),
    );
  });

  test('takes bodies of up to 65,535 bytes and 256 of them', () => {
    const largest = new Uint8Array(65_535).fill(1);
    expect(decodeEntryBundle(encodeEntryBundle([largest, largest]))).toEqual([largest, largest]);
    expect(() => encodeEntryBundle([new Uint8Array(65_536)])).toThrow(RangeError);
    expect(() => encodeEntryBundle(Array.from({ length: 257 }, () => new Uint8Array(1)))).toThrow(RangeError);
  });
});

function decodeOrNull(bytes: Uint8Array): Uint8Array[] | null {
  try {
    return decodeEntryBundle(bytes);
  } catch (err) {
    if (err instanceof SyntaxError) return null;
    throw err;
  }
}
