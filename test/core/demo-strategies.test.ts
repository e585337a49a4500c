import { describe, expect, test } from '@jest/globals';
import { deriveSignals } from '../../demo/derive-signals.js';
import { formatFixed, one, parseFixed } from '../../demo/fixed-point.js';
import type { Bar } from '../../demo/price-history.js';
import { extremeConfidence, findExtremes, relativeStrengthIndexes, wordExtreme } from '../../demo/relative-strength.js';
import { crossoverConfidence, findCrossovers, wordCrossover } from '../../demo/sma-crossover.js';

/** Bars of the days 1, 2, 3 … of one month with these closes. */
function barsOf(...closes: readonly string[]): Bar[] {
  return closes.map((text, place) => ({
    date: `2024-01-${String(place + 1).padStart(2, '0')}`,
    text,
    value: parseFixed(text),
  }));
}

describe('decimals of the demo', () => {
  test('are read and written without losing a digit', () => {
    expect(parseFixed('1527.349976')).toBe(1_527_349_976_000n);
    expect(formatFixed(1_527_349_976_000n, 6)).toBe('1527.349976');
    expect(parseFixed('-0.000000001')).toBe(-1n);
  });

  test('round half away from zero', () => {
    expect(formatFixed(parseFixed('1.005'), 2)).toBe('1.01');
    expect(formatFixed(parseFixed('-1.005'), 2)).toBe('-1.01');
    expect(formatFixed(parseFixed('-0.004'), 2)).toBe('0.00');
    expect(formatFixed(parseFixed('9.5'), 0)).toBe('10');
  });

  test.each(['', '1.', '.5', '1e3', 'NaN', '1.0000000001', '1,5'])('refuse %j', (text) => {
    expect(() => parseFixed(text)).toThrow(RangeError);
  });
});

describe('sma-crossover 2/3', () => {
  // Averages of two and of three closes, from the third day on:
  // 3 2 1 → 1.5 and 2; 2 → 1.5 and 1.67; 4 → 3 and 2.33; 5 → 4.5 and 3.67; 1 → 3 and 3.33; 1 → 1 and 2.33.
  const bars = barsOf('3', '2', '1', '2', '4', '5', '1', '1');
  const found = findCrossovers(bars, 2, 3);

  test('buys where the fast average rises above the slow one and sells where it falls below', () => {
    expect(found.map(({ action, bar }) => [action, bar.date])).toEqual([
      ['BUY', '2024-01-05'],
      ['SELL', '2024-01-07'],
    ]);
  });

  test('words the averages and the close that it compared', () => {
    expect(wordCrossover(found[0]!, 2, 3, 'day')).toBe(
      'The 2-day average 3.00 crossed above the 3-day average 2.33 at the close of 2024-01-05 (4.00).',
    );
    expect(wordCrossover(found[1]!, 2, 3, 'month')).toBe(
      'The 2-month average 3.00 crossed below the 3-month average 3.33 at the close of 2024-01-07 (1.00).',
    );
  });

  test('is the surer the farther the close lies from the slow average, up to 0.95', () => {
    const slowAverage = parseFixed('100');
    const at = (close: string) =>
      crossoverConfidence({ ...found[0]!, slowAverage, bar: { date: '', text: close, value: parseFixed(close) } });
    expect(at('100')).toBe('0.5000');
    expect(at('102')).toBe('0.6000');
    expect(at('98')).toBe('0.6000');
    expect(at('150')).toBe('0.9500');
  });

  test('takes a touch without passing for nothing', () => {
    // 1.5 and 2, then 2 and 2, then 1 and 1.67: below, equal, below.
    expect(findCrossovers(barsOf('3', '2', '1', '3', '-1'), 2, 3)).toEqual([]);
  });

  test('finds nothing in closes that never move, nor in fewer than the slow length', () => {
    expect(findCrossovers(barsOf('5', '5', '5', '5'), 2, 3)).toEqual([]);
    expect(findCrossovers(barsOf('1', '9'), 2, 3)).toEqual([]);
  });
});

describe('rsi 2 30/70', () => {
  // Changes +1 −1 +2 −3. Average gain and loss: 0.5 and 0.5 → 50; 1.25 and 0.25 → 83.33; 0.625 and 1.625 → 27.78.
  const bars = barsOf('10', '11', '10', '12', '9');
  const thresholds = { oversold: 30, overbought: 70 };

  test("follows Wilder's averages of gains and losses", () => {
    expect(relativeStrengthIndexes(bars, 2).map((index) => index && formatFixed(index, 2))).toEqual([
      undefined,
      undefined,
      '50.00',
      '83.33',
      '27.78',
    ]);
  });

  test('sells where the index rises above 70 and buys where it falls below 30', () => {
    const found = findExtremes(bars, 2, thresholds);
    expect(found.map((extreme) => wordExtreme(extreme, 2, thresholds, 'day'))).toEqual([
      'The 2-day relative strength index rose from 50.00 to 83.33, above 70, at the close of 2024-01-04 (12.00).',
      'The 2-day relative strength index fell from 83.33 to 27.78, below 30, at the close of 2024-01-05 (9.00).',
    ]);
    // 13.33 points beyond 70 and 2.22 below 30: 0.5 + 0.4444 and 0.5 + 0.0741.
    expect(found.map((extreme) => extremeConfidence(extreme, thresholds))).toEqual(['0.9444', '0.5741']);
  });

  test('is 50 where nothing moves and reaches 0 and 100 at steady falls and rises', () => {
    expect(relativeStrengthIndexes(barsOf('5', '5', '5'), 2)[2]).toBe(50n * one);
    expect(relativeStrengthIndexes(barsOf('3', '2', '1'), 2)[2]).toBe(0n);
    expect(relativeStrengthIndexes(barsOf('1', '2', '3'), 2)[2]).toBe(100n * one);
  });

  test('gives nothing on the first index, however extreme it is', () => {
    expect(findExtremes(barsOf('1', '2', '3', '4'), 2, thresholds)).toEqual([]);
  });
});

describe('a signal of the demo', () => {
  // Twelve months at 10, a fall and a rise: the 6-month average passes the 12-month one in the last month.
  const closes = [...Array.from({ length: 12 }, () => '10'), '9', '12.34'];
  const [signal] = deriveSignals({ symbol: 'TEST', interval: 'month', bars: barsOf(...closes) });

  test('carries the close as it was published, and levels rounded to cents', () => {
    // The fall to 9 puts the fast average below; the rise to 12.34 above: 61.34 / 6 = 10.22 and 121.34 / 12 = 10.11.
    // The close lies 22.04 % from the slow average, beyond what 0.95 takes.
    expect(signal).toEqual({
      symbol: 'TEST',
      action: 'BUY',
      entryPrice: '12.34',
      targetPrice: '13.57',
      stopLoss: '11.72',
      confidence: '0.9500',
      strategy: 'sma-crossover 6/12',
      rationale:
        'The 6-month average 10.22 crossed above the 12-month average 10.11 at the close of 2024-01-14 (12.34). ' +
        'Target 13.57 lies 10 %, stop loss 11.72 5 % away.',
      idempotencyKey: 'demo sma-crossover 6/12 TEST 2024-01-14',
    });
  });
});
