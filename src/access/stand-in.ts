const mark = /^\[redacted(?: [0-9a-f]{32})?\]$/;
/** As in instructions and templates: `<key>`, `…`, `***`, `${TOKEN}`. */
const placeholder =
  /^(?:(?:bearer|basic) )?(?:<[a-z][a-z -]{0,30}>|…|\.{3}|\*{3,64}|\$\{[\w.-]{1,60}\}|\{\{[\w. -]{1,60}\}\})$/i;

/** True for what stands in a secret's place already: a mark, with or without its HMAC, or a placeholder. */
export function standsForSecret(text: string): boolean {
  return mark.test(text) || placeholder.test(text);
}
