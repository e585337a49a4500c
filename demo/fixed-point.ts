/**
 * Decimals as whole numbers of 10^-9, so that sums and comparisons of prices are exact. Only what is worded or derived,
 * such as an average or a target, is rounded, and it says to how many digits.
 */
const fractionDigits = 9;

/** One, in units of 10^-9. */
export const one = 10n ** BigInt(fractionDigits);

/** `"39.81"` → 39_810_000_000n. Throws a RangeError for what is not a plain decimal with at most nine decimals. */
export function parseFixed(text: string): bigint {
  const match = /^(-?)(\d+)(?:\.(\d{1,9}))?$/.exec(text);
  if (match === null) throw new RangeError(`${JSON.stringify(text)} is not a decimal with at most nine decimals`);
  const magnitude = BigInt((match[2] ?? '') + (match[3] ?? '').padEnd(fractionDigits, '0'));
  return match[1] === '-' ? -magnitude : magnitude;
}

/** Decimal text with exactly `digits` decimals, 0 to 9, rounded half away from zero: 1_005_000_000n → `"1.01"` for 2. */
export function formatFixed(value: bigint, digits: number): string {
  const step = 10n ** BigInt(fractionDigits - digits);
  const magnitude = value < 0n ? -value : value;
  const steps = (magnitude + step / 2n) / step;
  const text = steps.toString().padStart(digits + 1, '0');
  const whole = text.slice(0, text.length - digits);
  const fraction = digits === 0 ? '' : `.${text.slice(text.length - digits)}`;
  return `${value < 0n && steps > 0n ? '-' : ''}${whole}${fraction}`;
}
