import { DaybookError } from '../errors.js';

/** A tree size from its decimal text. Throws BAD_USER_INPUT below 0 and above 2^53 − 1. */
export function parseSize(argument: string, text: string): number {
  const size = Number(text);
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new DaybookError('BAD_USER_INPUT', `${argument} must lie between 0 and ${Number.MAX_SAFE_INTEGER}`);
  }
  return size;
}

/** The index of an entry from its decimal text. Throws as parseSize. */
export function parseIndex(text: string): number {
  return parseSize('index', text);
}
