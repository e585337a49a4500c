/** Decimals are strings in plain notation, as PostgreSQL's `trim_scale(x)::text` prints them. */
const plainDecimal = /^(-?)(\d+)(?:\.(\d+))?$/;

/** Most digits before and after the point that the ledger keeps. */
export const integerDigitsMax = 18;
export const fractionDigitsMax = 18;

/** Removes what carries no value: `"100.50"` → `"100.5"`, `"-0"` → `"0"`. Null when `text` is not a plain decimal. */
export function normalizeDecimal(text: string): string | null {
  const match = plainDecimal.exec(text);
  if (match === null) return null;
  const whole = withoutLeadingZeros(match[2] ?? '');
  const fraction = withoutTrailingZeros(match[3] ?? '');
  const magnitude = fraction === '' ? whole : `${whole}.${fraction}`;
  return magnitude === '0' ? '0' : `${match[1] ?? ''}${magnitude}`;
}

// Loops, not patterns: on a long run of zeros that ends in another digit a pattern takes time by the square of its length.
function withoutLeadingZeros(digits: string): string {
  let start = 0;
  while (start < digits.length - 1 && digits[start] === '0') start += 1;
  return digits.slice(start);
}

function withoutTrailingZeros(digits: string): string {
  let end = digits.length;
  while (end > 0 && digits[end - 1] === '0') end -= 1;
  return digits.slice(0, end);
}

/** Compares two normalised decimals of at most 18 fractional digits exactly: negative, 0 or positive. */
export function compareDecimals(left: string, right: string): number {
  const difference = scaleUp(left) - scaleUp(right);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** A decimal as an integer count of 10^-18. */
function scaleUp(decimal: string): bigint {
  const negative = decimal.startsWith('-');
  const [whole = '0', fraction = ''] = decimal.replace('-', '').split('.');
  const magnitude = BigInt(whole + fraction.padEnd(fractionDigitsMax, '0').slice(0, fractionDigitsMax));
  return negative ? -magnitude : magnitude;
}
