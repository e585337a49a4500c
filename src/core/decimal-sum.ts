/** Exact sums of decimals and of products of two, in plain notation. Owned by one caller. */

/** Digits after the point that a term may have. */
const termScaleMax = 36;

export class DecimalSum {
  /** In units of 10^-36, so that a product of two decimals of 18 fractional digits is exact. */
  #units = 0n;

  /** Adds one plain decimal of at most 36 fractional digits. Throws SyntaxError for anything else. */
  add(decimal: string): void {
    const { units, scale } = unitsOf(decimal);
    this.#units += units * 10n ** BigInt(termScaleMax - scale);
  }

  /** Adds left · right. Throws SyntaxError where one is no plain decimal, or both together have over 36 fractional digits. */
  addProduct(left: string, right: string): void {
    this.add(multiplyDecimals(left, right));
  }

  toString(): string {
    return formatUnits(this.#units, termScaleMax);
  }
}

/** left · right, exactly, without trailing zeros. Throws SyntaxError for what is no plain decimal. */
export function multiplyDecimals(left: string, right: string): string {
  const [one, other] = [unitsOf(left), unitsOf(right)];
  return formatUnits(one.units * other.units, one.scale + other.scale);
}

function unitsOf(decimal: string): { readonly units: bigint; readonly scale: number } {
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(decimal);
  const fraction = match?.[3] ?? '';
  if (match === null || fraction.length > termScaleMax) throw new SyntaxError(`${decimal.slice(0, 60)} is no decimal`);
  const magnitude = BigInt(`${match[2] ?? '0'}${fraction}`);
  return { units: match[1] === '-' ? -magnitude : magnitude, scale: fraction.length };
}

function formatUnits(units: bigint, scale: number): string {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, '0');
  const whole = digits.slice(0, digits.length - scale);
  let end = digits.length;
  while (end > whole.length && digits[end - 1] === '0') end -= 1;
  const fraction = digits.slice(whole.length, end);
  return `${units < 0n ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`;
}
