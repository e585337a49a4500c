import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  addCalendarYears,
  formatTimestamp,
  millisecondsBetween,
  normalizeTimestamp,
  parseTimestamp,
} from '../../src/core/timestamp.js';
import { readVectors } from '../support/read-vectors.js';

const first = parseTimestamp('0001-01-01T00:00:00Z')!;
const last = parseTimestamp('9999-12-31T23:59:59.999999Z')!;
const moment = fc.bigInt({ min: first, max: last });

describe('a time is normalised', () => {
  test.each(readVectors<{ text: string; normalized: string }>('timestamp', 'valid'))('%s', (_, vector) => {
    expect(normalizeTimestamp(vector.text)).toBe(vector.normalized);
    expect(normalizeTimestamp(vector.normalized)).toBe(vector.normalized);
  });

  test('from any offset, to the microsecond', () => {
    fc.assert(
      fc.property(moment, fc.integer({ min: -14 * 60, max: 14 * 60 }), (micros, offsetMinutes) => {
        const shifted = micros + BigInt(offsetMinutes) * 60_000_000n;
        fc.pre(shifted >= first && shifted <= last);
        const minutes = Math.abs(offsetMinutes);
        const clock = [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, '0')).join(':');
        const local = formatTimestamp(shifted).replace('Z', `${offsetMinutes < 0 ? '-' : '+'}${clock}`);
        expect(normalizeTimestamp(local)).toBe(formatTimestamp(micros));
      }),
    );
  });
});

test.each(readVectors<{ text: string }>('timestamp', 'invalid'))('text that is no time is refused: %s', (_, vector) => {
  expect(normalizeTimestamp(vector.text)).toBeNull();
});

describe('a moment in microseconds', () => {
  test('is read back from its text', () => {
    fc.assert(fc.property(moment, (micros) => expect(parseTimestamp(formatTimestamp(micros))).toBe(micros)));
  });

  test('sorts as its text does', () => {
    fc.assert(
      fc.property(moment, moment, (left, right) => {
        expect(formatTimestamp(left) < formatTimestamp(right)).toBe(left < right);
      }),
    );
  });

  test('is, in milliseconds, what Date says', () => {
    fc.assert(
      fc.property(moment, (micros) => {
        const text = formatTimestamp(micros);
        expect(new Date(`${text.slice(0, 23)}Z`).toISOString()).toBe(`${text.slice(0, 23)}Z`);
        expect(BigInt(Date.parse(`${text.slice(0, 23)}Z`))).toBe((micros - BigInt(text.slice(23, 26))) / 1000n);
      }),
    );
  });
});

describe('milliseconds between two times', () => {
  test.each([
    ['2026-11-20T10:00:00.000000Z', '2026-11-20T10:00:00.000000Z', '0'],
    ['2026-11-20T10:00:00.000000Z', '2026-11-20T10:00:00.000001Z', '0.001'],
    ['2026-11-20T10:00:00.000001Z', '2026-11-20T10:00:00.000000Z', '-0.001'],
    ['2026-11-20T23:59:59.999500Z', '2026-11-21T00:00:00.001000Z', '1.5'],
    ['0001-01-01T00:00:00.000000Z', '9999-12-31T23:59:59.999999Z', '315537897599999.999'],
  ])('from %s to %s are %s', (from, to, milliseconds) => {
    expect(millisecondsBetween(from, to)).toBe(milliseconds);
  });

  test('count microseconds, within a day and across days', () => {
    const pair = fc.oneof(
      fc.tuple(moment, moment),
      moment.chain((micros) => {
        const day = micros - (((micros % 86_400_000_000n) + 86_400_000_000n) % 86_400_000_000n);
        return fc.tuple(fc.constant(micros), fc.bigInt({ min: day, max: day + 86_399_999_999n }));
      }),
    );
    fc.assert(
      fc.property(pair, ([from, to]) => {
        const [whole = '', fraction = ''] = millisecondsBetween(formatTimestamp(from), formatTimestamp(to)).split('.');
        const magnitude = BigInt(whole.replace('-', '')) * 1000n + BigInt(fraction.padEnd(3, '0'));
        expect(whole.startsWith('-') ? -magnitude : magnitude).toBe(to - from);
      }),
    );
  });
});

describe('calendar years later', () => {
  test.each([
    ['2026-11-20T10:00:00.123456Z', 7, '2033-11-20T10:00:00.123456Z'],
    ['2028-02-29T00:00:00.000000Z', 7, '2035-02-28T00:00:00.000000Z'],
    ['2028-02-29T00:00:00.000000Z', 4, '2032-02-29T00:00:00.000000Z'],
    ['1896-02-29T00:00:00.000000Z', 4, '1900-02-28T00:00:00.000000Z'],
    ['0092-01-31T23:59:59.999999Z', 8, '0100-01-31T23:59:59.999999Z'],
  ])('%s plus %i is %s', (time, years, later) => {
    expect(addCalendarYears(time, years)).toBe(later);
  });
});
