import { formatFixed, one } from './fixed-point.js';
import type { Bar } from './price-history.js';

/** The relative strength index left the range between its two thresholds at `bar`. Indexes are in units of 10^-9. */
export interface Extreme {
  readonly action: 'BUY' | 'SELL';
  readonly bar: Bar;
  readonly indexBefore: bigint;
  readonly index: bigint;
}

/** Below `oversold` an instrument counts as sold too far, above `overbought` as bought too far; both from 0 to 100. */
export interface Thresholds {
  readonly oversold: number;
  readonly overbought: number;
}

/**
 * Strategy "rsi <period> <oversold>/<overbought>": BUY where the index falls below `oversold`, SELL where it rises above
 * `overbought`.
 */
export function findExtremes(bars: readonly Bar[], period: number, { oversold, overbought }: Thresholds): Extreme[] {
  const extremes: Extreme[] = [];
  const low = BigInt(oversold) * one;
  const high = BigInt(overbought) * one;
  const indexes = relativeStrengthIndexes(bars, period);
  bars.forEach((bar, place) => {
    const indexBefore = indexes[place - 1];
    const index = indexes[place];
    if (indexBefore === undefined || index === undefined) return;
    if (indexBefore >= low && index < low) extremes.push({ action: 'BUY', bar, indexBefore, index });
    if (indexBefore <= high && index > high) extremes.push({ action: 'SELL', bar, indexBefore, index });
  });
  return extremes;
}

/**
 * Wilder's index for each bar, undefined for the first `period` bars: 100 · gain / (gain + loss), where gain and loss are
 * averages of the changes. They start as the mean of the first `period` changes; each later change counts for one part in
 * `period`. Without any change the index is 50. Divisions are rounded down at the ninth decimal.
 */
export function relativeStrengthIndexes(bars: readonly Bar[], period: number): (bigint | undefined)[] {
  const length = BigInt(period);
  let gain = 0n;
  let loss = 0n;
  return bars.map((bar, place) => {
    const before = bars[place - 1];
    if (before === undefined) return undefined;
    const change = bar.value - before.value;
    const gained = change > 0n ? change : 0n;
    const lost = change < 0n ? -change : 0n;
    if (place <= period) {
      gain += gained;
      loss += lost;
      if (place < period) return undefined;
      gain /= length;
      loss /= length;
    } else {
      gain = (gain * (length - 1n) + gained) / length;
      loss = (loss * (length - 1n) + lost) / length;
    }
    return gain + loss === 0n ? 50n * one : (100n * one * gain) / (gain + loss);
  });
}

/** Half, and a thirtieth for each point beyond the threshold; at most 0.95. */
export function extremeConfidence({ action, index }: Extreme, { oversold, overbought }: Thresholds): string {
  const beyond = action === 'BUY' ? BigInt(oversold) * one - index : index - BigInt(overbought) * one;
  const grown = one / 2n + beyond / 30n;
  const most = (one * 95n) / 100n;
  return formatFixed(grown < most ? grown : most, 4);
}

/** As in "The 14-day relative strength index fell from 31.20 to 28.75, below 30, at the close of 2001-09-10 (1092.54)." */
export function wordExtreme(extreme: Extreme, period: number, thresholds: Thresholds, interval: string): string {
  const { action, bar, indexBefore, index } = extreme;
  const move = action === 'BUY' ? 'fell' : 'rose';
  const side = action === 'BUY' ? `below ${thresholds.oversold}` : `above ${thresholds.overbought}`;
  return (
    `The ${period}-${interval} relative strength index ${move} from ${formatFixed(indexBefore, 2)} to ` +
    `${formatFixed(index, 2)}, ${side}, at the close of ${bar.date} (${formatFixed(bar.value, 2)}).`
  );
}
