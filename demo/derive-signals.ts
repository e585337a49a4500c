import { formatFixed } from './fixed-point.js';
import type { Bar, PriceHistory } from './price-history.js';
import { extremeConfidence, findExtremes, wordExtreme } from './relative-strength.js';
import { crossoverConfidence, findCrossovers, wordCrossover } from './sma-crossover.js';

/** What `createSignals` takes; prices and confidence are decimal text. */
export interface SignalInput {
  readonly symbol: string;
  readonly action: 'BUY' | 'SELL';
  readonly entryPrice: string;
  readonly targetPrice: string;
  readonly stopLoss: string;
  readonly confidence: string;
  readonly strategy: string;
  readonly rationale: string;
  /** Names strategy, symbol and date, so that a second run of the demo on one ledger records nothing twice. */
  readonly idempotencyKey: string;
}

/** Lengths of the two averages: about one and two and a half months of trading days; half a year and a year of months. */
const averageLengths = { day: { fast: 20, slow: 50 }, month: { fast: 6, slow: 12 } } as const;
const rsiPeriod = 14;
const rsiThresholds = { oversold: 30, overbought: 70 } as const;
/** Distance of target and stop loss from the price, in percent. */
const targetPercent = 10n;
const stopPercent = 5n;

/** The signals that both strategies give on a price history, in the order of their dates. Same prices, same signals. */
export function deriveSignals({ symbol, interval, bars }: PriceHistory): SignalInput[] {
  const { fast, slow } = averageLengths[interval];
  const crossovers = findCrossovers(bars, fast, slow).map((found) => ({
    ...found,
    strategy: `sma-crossover ${fast}/${slow}`,
    confidence: crossoverConfidence(found),
    reason: wordCrossover(found, fast, slow, interval),
  }));
  const { oversold, overbought } = rsiThresholds;
  const extremes = findExtremes(bars, rsiPeriod, rsiThresholds).map((found) => ({
    ...found,
    strategy: `rsi ${rsiPeriod} ${oversold}/${overbought}`,
    confidence: extremeConfidence(found, rsiThresholds),
    reason: wordExtreme(found, rsiPeriod, rsiThresholds, interval),
  }));
  return [...crossovers, ...extremes]
    .sort((left, right) => (left.bar.date < right.bar.date ? -1 : left.bar.date > right.bar.date ? 1 : 0))
    .map(({ action, bar, strategy, confidence, reason }) => {
      const { targetPrice, stopLoss } = levels(action, bar);
      const rationale = `${reason} Target ${targetPrice} lies ${targetPercent} %, stop loss ${stopLoss} ${stopPercent} % away.`;
      const idempotencyKey = `demo ${strategy} ${symbol} ${bar.date}`;
      const prices = { entryPrice: bar.text, targetPrice, stopLoss };
      return { symbol, action, ...prices, confidence, strategy, rationale, idempotencyKey };
    });
}

/** Above and below the price for BUY, the other way round for SELL; rounded to cents. */
function levels(action: 'BUY' | 'SELL', { value }: Bar): { targetPrice: string; stopLoss: string } {
  const direction = action === 'BUY' ? 1n : -1n;
  return {
    targetPrice: formatFixed((value * (100n + direction * targetPercent)) / 100n, 2),
    stopLoss: formatFixed((value * (100n - direction * stopPercent)) / 100n, 2),
  };
}
