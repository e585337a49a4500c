/** Levels that are followed here; what is deeper goes to the full check, which needs no stack of ours. */
const nestingLevelsMax = 32;

/** Digits of an integer that is surely within ±(2^53 − 1). */
const digitsMax = 15;

/**
 * True only for texts in their RFC 8785 form that need no second look: no escapes, no surrogates, integers of few digits,
 * keys in order. False decides nothing: canonicalJsonFault does. It is there because nearly every entry is of this kind,
 * and parsing them all takes a fifth of a verification.
 */
export function isPlainlyCanonical(text: string): boolean {
  return endOfValue(text, 0, 0) === text.length;
}

/** Where the value that begins at `start` ends; −1 where it is not a plain one. The same for the functions below. */
function endOfValue(text: string, start: number, level: number): number {
  switch (text.charCodeAt(start)) {
    case 0x22:
      return endOfString(text, start);
    case 0x7b:
      return level < nestingLevelsMax ? endOfObject(text, start, level + 1) : -1;
    case 0x5b:
      return level < nestingLevelsMax ? endOfArray(text, start, level + 1) : -1;
    case 0x74:
      return text.startsWith('true', start) ? start + 4 : -1;
    case 0x66:
      return text.startsWith('false', start) ? start + 5 : -1;
    case 0x6e:
      return text.startsWith('null', start) ? start + 4 : -1;
    default:
      return endOfInteger(text, start);
  }
}

function endOfString(text: string, start: number): number {
  for (let place = start + 1; place < text.length; place += 1) {
    const unit = text.charCodeAt(place);
    if (unit === 0x22) return place + 1;
    if (unit < 0x20 || unit === 0x5c || (unit >= 0xd800 && unit <= 0xdfff)) return -1;
  }
  return -1;
}

function endOfInteger(text: string, start: number): number {
  const first = text.charCodeAt(start) === 0x2d ? start + 1 : start;
  let end = first;
  while (isDigit(text.charCodeAt(end))) end += 1;
  if (end === first || end - first > digitsMax) return -1;
  // No leading zero, and zero has no sign.
  return text.charCodeAt(first) === 0x30 && (end - first > 1 || first !== start) ? -1 : end;
}

function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39;
}

function endOfArray(text: string, start: number, level: number): number {
  if (text.charCodeAt(start + 1) === 0x5d) return start + 2;
  for (let place = start + 1; ; place += 1) {
    place = endOfValue(text, place, level);
    if (place === -1) return -1;
    const unit = text.charCodeAt(place);
    if (unit === 0x5d) return place + 1;
    if (unit !== 0x2c) return -1;
  }
}

function endOfObject(text: string, start: number, level: number): number {
  if (text.charCodeAt(start + 1) === 0x7d) return start + 2;
  let previousKey: string | null = null;
  for (let place = start + 1; ; place += 1) {
    if (text.charCodeAt(place) !== 0x22) return -1;
    const keyEnd = endOfString(text, place);
    if (keyEnd === -1 || text.charCodeAt(keyEnd) !== 0x3a) return -1;
    const key = text.slice(place + 1, keyEnd - 1);
    if (previousKey !== null && previousKey >= key) return -1;
    previousKey = key;
    place = endOfValue(text, keyEnd + 1, level);
    if (place === -1) return -1;
    const unit = text.charCodeAt(place);
    if (unit === 0x7d) return place + 1;
    if (unit !== 0x2c) return -1;
  }
}
