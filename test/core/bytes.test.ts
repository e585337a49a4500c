import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  concatBytes,
  decodeBase64,
  decodeHex,
  decodeUtf8,
  encodeBase64,
  encodeHex,
  encodeUtf8,
  equalBytes,
} from '../../src/core/bytes.js';
import { flipEachBit } from '../support/flip-bits.js';
import { readVectors } from '../support/read-vectors.js';

const bytes = fc.uint8Array({ maxLength: 70 });

describe('base64', () => {
  test.each(readVectors<{ text: string; bytes: string }>('base64', 'valid'))('of %s', (_, vector) => {
    expect(encodeBase64(decodeHex(vector.bytes))).toBe(vector.text);
    expect(encodeHex(decodeBase64(vector.text))).toBe(vector.bytes);
  });

  test.each(readVectors<{ text: string }>('base64', 'invalid'))('is refused: %s', (_, vector) => {
    expect(() => decodeBase64(vector.text)).toThrow(SyntaxError);
  });

  test('is that of Node, and the only text for its bytes', () => {
    fc.assert(
      fc.property(bytes, (value) => {
        const text = encodeBase64(value);
        expect(text).toBe(Buffer.from(value).toString('base64'));
        expect(decodeBase64(text)).toEqual(value);
        for (const [, flipped] of flipEachBit(new TextEncoder().encode(text))) {
          const decoded = decodeOrNull(String.fromCharCode(...flipped));
          if (decoded !== null) expect(equalBytes(decoded, value)).toBe(false);
        }
      }),
    );
  });

  test('of a text of any kind is refused or written back the same', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.base64String(), fc.string()), (text) => {
        const decoded = decodeOrNull(text);
        if (decoded !== null) expect(encodeBase64(decoded)).toBe(text);
      }),
    );
  });

  test('of a megabyte is decoded', () => {
    const value = new Uint8Array(1_000_000).fill(0xa5);
    expect(equalBytes(decodeBase64(encodeBase64(value)), value)).toBe(true);
  });
});

describe('hex', () => {
  test('is written in lower case and read back', () => {
    fc.assert(
      fc.property(bytes, (value) => {
        expect(encodeHex(value)).toBe(Buffer.from(value).toString('hex'));
        expect(decodeHex(encodeHex(value))).toEqual(value);
      }),
    );
  });

  test.each(['0', 'AB', 'aB', '0x', ' 00', '00\n', 'g0', '٠٠', '000'])('is refused: %j', (text) => {
    expect(() => decodeHex(text)).toThrow(SyntaxError);
  });
});

describe('UTF-8', () => {
  test('is read back as it was written, byte order marks too', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(decodeUtf8(encodeUtf8(`\ufeff${text}`))).toBe(`\ufeff${text}`);
      }),
    );
  });

  test.each([
    ['a lone byte of a sequence', [0x80]],
    ['a sequence cut off', [0xe2, 0x80]],
    ['an overlong form', [0xc0, 0xaf]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a character beyond Unicode', [0xf4, 0x90, 0x80, 0x80]],
  ])('is refused: %s', (_, invalid) => {
    expect(() => decodeUtf8(Uint8Array.from(invalid))).toThrow(SyntaxError);
  });

  test.each(['\ud800', 'a\udc00b'])('of a lone surrogate does not exist: %j', (text) => {
    expect(() => encodeUtf8(text)).toThrow(SyntaxError);
  });
});

test('bytes are equal when they are the same from end to end', () => {
  fc.assert(
    fc.property(bytes, bytes, (left, right) => {
      expect(equalBytes(left, right)).toBe(encodeHex(left) === encodeHex(right));
      expect(equalBytes(left, Uint8Array.from(left))).toBe(true);
      expect(equalBytes(left, concatBytes(left, Uint8Array.of(0)))).toBe(false);
      for (const [, flipped] of flipEachBit(left)) expect(equalBytes(left, flipped)).toBe(false);
    }),
  );
});

test('parts are joined in their order', () => {
  fc.assert(
    fc.property(fc.array(bytes, { maxLength: 5 }), (parts) => {
      expect(encodeHex(concatBytes(...parts))).toBe(parts.map(encodeHex).join(''));
    }),
  );
});

function decodeOrNull(text: string): Uint8Array | null {
  try {
    return decodeBase64(text);
  } catch (err) {
    if (err instanceof SyntaxError) return null;
    throw err;
  }
}
