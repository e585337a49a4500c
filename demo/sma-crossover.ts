import { formatFixed, one } from './fixed-point.js';
import type { Bar } from './price-history.js';

/** The fast average of closing prices passed the slow one at `bar`. Averages are in units of 10^-9, rounded down. */
export interface Crossover {
  readonly action: 'BUY' | 'SELL';
  readonly bar: Bar;
  readonly fastAverage: bigint;
  readonly slowAverage: bigint;
}

/**
 * Strategy "sma-crossover <fast>/<slow>": BUY where the simple moving average of the last `fast` closes comes to lie above
 * that of the last `slow` closes, SELL where it comes to lie below. Equal averages are no side of their own: a touch
 * without passing gives nothing. The sides are compared exactly, without rounding.
 */
export function findCrossovers(bars: readonly Bar[], fast: number, slow: number): Crossover[] {
  const crossovers: Crossover[] = [];
  let fastSum = 0n;
  let slowSum = 0n;
  let side = 0;
  bars.forEach((bar, place) => {
    fastSum += bar.value - (bars[place - fast]?.value ?? 0n);
    slowSum += bar.value - (bars[place - slow]?.value ?? 0n);
    if (place < slow - 1) return;
    // fastSum / fast against slowSum / slow, both multiplied by both lengths.
    const difference = fastSum * BigInt(slow) - slowSum * BigInt(fast);
    if (difference === 0n) return;
    const newSide = difference > 0n ? 1 : -1;
    if (side !== 0 && newSide !== side) {
      const averages = { fastAverage: fastSum / BigInt(fast), slowAverage: slowSum / BigInt(slow) };
      crossovers.push({ action: newSide > 0 ? 'BUY' : 'SELL', bar, ...averages });
    }
    side = newSide;
  });
  return crossovers;
}

/** Half, and five times the distance of the close from the slow average as a share of it; at most 0.95. */
export function crossoverConfidence({ bar, slowAverage }: Crossover): string {
  const distance = bar.value > slowAverage ? bar.value - slowAverage : slowAverage - bar.value;
  const grown = one / 2n + (5n * distance * one) / slowAverage;
  const most = (one * 95n) / 100n;
  return formatFixed(grown < most ? grown : most, 4);
}

/** As in "The 20-day average 1352.41 crossed above the 50-day average 1351.02 at the close of 2000-03-20 (1456.63)." */
export function wordCrossover(crossover: Crossover, fast: number, slow: number, interval: string): string {
  const { action, bar, fastAverage, slowAverage } = crossover;
  const direction = action === 'BUY' ? 'above' : 'below';
  return (
    `The ${fast}-${interval} average ${formatFixed(fastAverage, 2)} crossed ${direction} the ${slow}-${interval} average ` +
    `${formatFixed(slowAverage, 2)} at the close of ${bar.date} (${formatFixed(bar.value, 2)}).`
  );
}
