import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DecimalSum, multiplyDecimals } from '../../src/core/decimal-sum.js';

/** Decimals of up to 18 digits on either side, as units of 10^-18 and as text. */
const decimals = fc
  .bigInt({ min: -(10n ** 36n), max: 10n ** 36n })
  .map((units) => ({ units, text: textOf(units, 18) }));

function textOf(units: bigint, scale: number): string {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, '0');
  return `${units < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

function unitsOf(text: string, scale: number): bigint {
  const [whole = '', fraction = ''] = text.replace('-', '').split('.');
  const units = BigInt(whole + fraction.padEnd(scale, '0'));
  return text.startsWith('-') ? -units : units;
}

describe('exact sums', () => {
  test('are those of whole numbers, whatever the order', () => {
    fc.assert(
      fc.property(fc.array(decimals, { maxLength: 20 }), (terms) => {
        const sum = new DecimalSum();
        for (const { text } of terms) sum.add(text);
        expect(unitsOf(sum.toString(), 18)).toBe(terms.reduce((total, { units }) => total + units, 0n));
      }),
    );
  });

  test('products keep every digit', () => {
    fc.assert(
      fc.property(decimals, decimals, (left, right) => {
        expect(unitsOf(multiplyDecimals(left.text, right.text), 36)).toBe(left.units * right.units);
      }),
    );
    expect(multiplyDecimals('10.5', '100.2')).toBe('1052.1');
    expect(multiplyDecimals('-0.5', '2')).toBe('-1');
    expect(multiplyDecimals('0', '-3.25')).toBe('0');
  });

  test('anything but a plain decimal is refused', () => {
    for (const text of ['', '1e3', 'NaN', '.5', '5.', '+1', '1,000', '--1', ` 1`, `0.${'1'.repeat(37)}`]) {
      expect(() => new DecimalSum().add(text)).toThrow(SyntaxError);
    }
  });
});
