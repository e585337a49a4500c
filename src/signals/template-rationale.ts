import type { CreateSignalInput } from './signal.type.js';

/** Words a signal's own numbers, for producers that give no rationale. Same input, same text. */
export function templateRationale(signal: CreateSignalInput): string {
  const levels = [
    given(signal.targetPrice, (price) => `a target of ${price}`),
    given(signal.stopLoss, (price) => `a stop loss at ${price}`),
    `a confidence of ${signal.confidence}`,
  ].filter((level) => level !== '');
  const source = given(signal.strategy, (strategy) => ` from the strategy ${strategy}`);
  return `${signal.action} ${signal.symbol} at ${signal.entryPrice}${source}, with ${levels.join(', ')}.`;
}

function given(value: string | null | undefined, wording: (value: string) => string): string {
  return value === undefined || value === null ? '' : wording(value);
}
