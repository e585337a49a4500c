import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodeHex } from '../../src/core/bytes.js';
import { encodeCheckpoint, parseCheckpoint } from '../../src/core/checkpoint.js';
import { readVectors } from '../support/read-vectors.js';

const line = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }).map((text) => text.replace(/\p{Cc}/gu, '-'));
const checkpoint = fc.record({
  origin: line,
  size: fc.maxSafeNat(),
  root: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  extensions: fc.array(line, { maxLength: 3 }),
});

describe('a checkpoint', () => {
  test.each(
    readVectors<{ text: string; origin: string; size: number; root: string; extensions: string[] }>(
      'checkpoint',
      'valid',
    ),
  )('is read and written back: %s', (_, { text, ...expected }) => {
    const parsed = parseCheckpoint(text);
    expect({ ...parsed, root: encodeHex(parsed.root) }).toEqual(expected);
    expect(encodeCheckpoint(parsed)).toBe(text);
  });

  test.each(readVectors<{ text: string }>('checkpoint', 'invalid'))('is refused: %s', (_, { text }) => {
    expect(() => parseCheckpoint(text)).toThrow(SyntaxError);
  });

  test('is read back as it was written', () => {
    fc.assert(
      fc.property(checkpoint, (value) => {
        expect(parseCheckpoint(encodeCheckpoint(value))).toEqual(value);
      }),
    );
  });

  test.each([
    ['an empty origin', { origin: '' }],
    ['an origin of two lines', { origin: 'a\n5' }],
    ['a size below zero', { size: -1 }],
    ['a size that is no integer', { size: 1.5 }],
    ['a size above 2^53 - 1', { size: 2 ** 53 }],
    ['a root of 31 bytes', { root: new Uint8Array(31) }],
    ['an empty extension', { extensions: ['a', ''] }],
    ['an extension of two lines', { extensions: ['a\nb'] }],
    ['a lone surrogate', { origin: '\udfff' }],
  ])('is not written with %s', (_, changes) => {
    const value = { origin: 'log', size: 1, root: new Uint8Array(32), extensions: [], ...changes };
    expect(() => encodeCheckpoint(value)).toThrow(SyntaxError);
  });
});
