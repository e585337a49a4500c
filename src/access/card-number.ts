/** Numbers by the first digits and lengths of the card schemes; what begins otherwise, as times in milliseconds do, is none. */
const schemes =
  /^(?:4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11,16}|35(?:2[89]|[3-8]\d)\d{12,15}|6(?:011|4[4-9]\d|5\d\d)\d{12,15}|(?:50|5[6-9]|6\d)\d{14,17})$/;

/** Digits of a card number, at least and at most. */
const digitsMin = 13;
const digitsMax = 19;

/**
 * Where card numbers lie in a run of digits that spaces or hyphens divide into groups: each begins and ends with a group, so
 * that a number is found also with an expiry date or a check value behind it.
 */
export function findCardNumbers(run: string): (readonly [from: number, to: number])[] {
  const groups = [...run.matchAll(/\d+/g)];
  const found: (readonly [number, number])[] = [];
  for (let first = 0; first < groups.length; first += 1) {
    const last = lastGroupOfCard(groups, first);
    const [begin, end] = [groups[first], groups[last ?? -1]];
    if (last === null || begin === undefined || end === undefined) continue;
    found.push([begin.index, end.index + end[0].length]);
    first = last;
  }
  return found;
}

function lastGroupOfCard(groups: readonly RegExpMatchArray[], first: number): number | null {
  let digits = '';
  for (let last = first; last < groups.length && digits.length <= digitsMax; last += 1) {
    digits += groups[last]?.[0] ?? '';
    if (digits.length >= digitsMin && schemes.test(digits) && passesLuhn(digits)) return last;
  }
  return null;
}

/** ISO/IEC 7812-1, annex B. */
function passesLuhn(digits: string): boolean {
  const sum = [...digits].reverse().reduce((total, digit, place) => {
    const value = Number(digit) * (place % 2 === 1 ? 2 : 1);
    return total + (value > 9 ? value - 9 : value);
  }, 0);
  return sum % 10 === 0;
}
