import canonicalize from 'canonicalize';

/** Values that have one exact canonical form: numbers are integers within ±(2^53 − 1), text has no lone surrogate. */
export type CanonicalValue =
  null | boolean | number | string | readonly CanonicalValue[] | { readonly [key: string]: CanonicalValue | undefined };

/** Why a value has no canonical form, and where: `path` is a JSON pointer. */
export class NotCanonicalError extends Error {
  override readonly name = 'NotCanonicalError';

  constructor(
    readonly path: string,
    readonly reason: string,
  ) {
    super(`${path === '' ? 'the value' : path} ${reason}`);
  }
}

/** Deepest nesting accepted; PostgreSQL's own JSON parser stops at its stack depth, far below that of Node. */
export const nestingLevelsMax = 64;

/** The RFC 8785 form of `value`. Absent (undefined) members are left out. Throws NotCanonicalError. */
export function encodeCanonicalJson(value: unknown): string {
  assertCanonical(value, '', 0);
  return canonicalize(value) ?? 'null';
}

function assertCanonical(value: unknown, path: string, level: number): void {
  if (level > nestingLevelsMax) throw new NotCanonicalError(path, `is nested deeper than ${nestingLevelsMax} levels`);
  if (typeof value === 'string') return assertText(value, path);
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) {
      throw new NotCanonicalError(path, 'is a number without one exact form: write it as a string');
    }
    return;
  }
  if (value === null || typeof value === 'boolean') return;
  if (Array.isArray(value)) {
    value.forEach((item, place) => assertCanonical(item, `${path}/${place}`, level + 1));
    return;
  }
  if (typeof value !== 'object') throw new NotCanonicalError(path, `is a ${typeof value}, which JSON cannot hold`);
  for (const [key, member] of Object.entries(value)) {
    assertText(key, path);
    if (member !== undefined) assertCanonical(member, `${path}/${key}`, level + 1);
  }
}

function assertText(text: string, path: string): void {
  if (!text.isWellFormed()) throw new NotCanonicalError(path, 'holds a lone surrogate, which UTF-8 cannot hold');
  if (text.includes('\0')) throw new NotCanonicalError(path, 'holds a NUL character, which PostgreSQL cannot hold');
}
