import { hash } from 'node:crypto';
import canonicalize from 'canonicalize';

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

/** SHA-256 of a caller's input in its RFC 8785 form, as lower-case hex: equal inputs, equal hashes. Throws NotCanonicalError. */
export function hashInput(input: unknown): string {
  return hash('sha256', encodeCanonicalJson(input), 'hex');
}

/** The RFC 8785 form of `value`. Absent (undefined) members are left out. Throws NotCanonicalError. */
export function encodeCanonicalJson(value: unknown): string {
  assertCanonical(value, '', 0);
  return canonicalize(value) ?? 'null';
}

/**
 * Why `text`, which another program wrote, is not the RFC 8785 form of what it says; null when it is. Nesting is not
 * bounded here: what is stored is to be read.
 */
export function canonicalJsonFault(text: string): string | null {
  try {
    const value: unknown = JSON.parse(text);
    assertCanonical(value, '', -Infinity);
    // Native and three times faster; it keeps keys as they came, but for those that look like array indexes.
    if (JSON.stringify(value) === text && hasAscendingKeys(value)) return null;
    return canonicalize(value) === text ? null : 'is not in RFC 8785 form';
  } catch (error) {
    if (error instanceof SyntaxError) return 'is not JSON';
    if (error instanceof NotCanonicalError) return error.message;
    if (error instanceof RangeError) return 'is nested too deeply to be read';
    throw error;
  }
}

function hasAscendingKeys(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (Array.isArray(value)) return value.every(hasAscendingKeys);
  let previous = '';
  for (const [key, member] of Object.entries(value)) {
    if (key < previous || !hasAscendingKeys(member)) return false;
    previous = key;
  }
  return true;
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
    if (member !== undefined) assertCanonical(member, `${path}/${escapePointer(key)}`, level + 1);
  }
}

function assertText(text: string, path: string): void {
  if (!text.isWellFormed()) throw new NotCanonicalError(path, 'holds a lone surrogate, which UTF-8 cannot hold');
  if (text.includes('\0')) throw new NotCanonicalError(path, 'holds a NUL character, which PostgreSQL cannot hold');
}

/** RFC 6901 §3. */
function escapePointer(key: string): string {
  return key.includes('~') || key.includes('/') ? key.replaceAll('~', '~0').replaceAll('/', '~1') : key;
}
