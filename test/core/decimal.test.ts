import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compareDecimals, normalizeDecimal } from '../../src/core/decimal.js';
import { readVectors } from '../support/read-vectors.js';

/** An integer count of 10^-18 as a plain decimal with all its zeros. */
function writeDecimal(units: bigint): string {
  const digits = (units < 0n ? -units : units).toString().padStart(19, '0');
  return `${units < 0n ? '-' : ''}${digits.slice(0, -18)}.${digits.slice(-18)}`;
}

const units = fc.bigInt({ min: -(10n ** 36n) + 1n, max: 10n ** 36n - 1n });

describe('a decimal is normalised', () => {
  test.each(readVectors<{ text: string; normalized: string }>('decimal', 'valid'))('%s', (_, vector) => {
    expect(normalizeDecimal(vector.text)).toBe(vector.normalized);
  });

  test('to the same text however many zeros surround it, and once for all', () => {
    fc.assert(
      fc.property(units, fc.nat(5), fc.nat(5), (value, before, behind) => {
        const written = writeDecimal(value);
        const padded = written.replace(/\d/, (digit) => '0'.repeat(before) + digit) + '0'.repeat(behind);
        const normalized = normalizeDecimal(written);
        expect(normalizeDecimal(padded)).toBe(normalized);
        expect(normalizeDecimal(normalized ?? '')).toBe(normalized);
        expect(normalized).toMatch(/^(0|-?(0|[1-9]\d*)(\.\d*[1-9])?)$/);
      }),
    );
  });
});

describe('text that is no plain decimal', () => {
  test.each(readVectors<{ text: string }>('decimal', 'invalid'))('is refused: %s', (_, vector) => {
    expect(normalizeDecimal(vector.text)).toBeNull();
  });

  test('is refused in a time that grows with its length only', () => {
    const zeros = '0'.repeat(500_000);
    expect(normalizeDecimal(`${zeros}x`)).toBeNull();
    expect(normalizeDecimal(`1.${zeros}1`)).toBe(`1.${zeros}1`);
  });
});

test('decimals compare as the numbers they are', () => {
  fc.assert(
    fc.property(units, units, (left, right) => {
      const compared = compareDecimals(normalizeDecimal(writeDecimal(left))!, normalizeDecimal(writeDecimal(right))!);
      expect(compared).toBe(left < right ? -1 : left > right ? 1 : 0);
    }),
  );
});
