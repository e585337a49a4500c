/**
 * A caller's text as a message repeats it. A longer one is left out instead of cut: the piece that a cut leaves of a secret is
 * found by no rule.
 */
export function repeatable(text: string, charactersMax: number): string {
  return text.length > charactersMax ? `(${text.length} characters)` : text.toWellFormed();
}
