const mark = /^\[redacted(?: [0-9a-f]{32})?\]$/;

/** True for what stands in a secret's place, with or without its HMAC. */
export function isMark(text: string): boolean {
  return mark.test(text);
}
