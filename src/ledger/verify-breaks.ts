/**
 * Everything verification of a log can find, a closed list; docs/format.md says what each one means to an auditor.
 * `index` of a break is the position in the log where it shows first.
 */
export const breakCodes = {
  INDEX_GAP: 'an index is missing or occurs twice',
  BODY_HASH_MISMATCH: 'verification_hash is not the leaf hash of the stored body',
  COLUMN_MISMATCH: 'a column differs from the body, or from what other columns give',
  BODY_NOT_CANONICAL: 'a JSON part of the body is not in its RFC 8785 form',
  CHAIN_BREAK: 'previous_hash or chain_hash does not continue the chain',
  TIME_DISORDER: "the recording time lies before the predecessor's",
  ROW_REWRITTEN: 'the stored row was written by another transaction than the one that appended it',
  SIGNAL_ENTRY_MISSING: 'a signal has no SignalCreated entry that names its index and hash',
  SIGNAL_MISSING: 'a SignalCreated entry names a signal that is not recorded so, or that another entry named before',
} as const;

export type BreakCode = keyof typeof breakCodes;

/** One contradiction. `message` says what was expected and what is stored. */
export interface LogBreak {
  readonly code: BreakCode;
  readonly index: number;
  readonly message: string;
}

/** Breaks kept of one log: enough to see a pattern; a log rewritten from the start has one for each entry. */
export const breaksKeptMax = 20;

/** Keeps the first breaks by index, however late they are found, and counts all. */
export class BreakList {
  readonly #first: LogBreak[] = [];
  #count = 0;

  /** All breaks added, kept or not. */
  get count(): number {
    return this.#count;
  }

  /** The first breaks in order of index; those of one index in the order in which they were added. */
  get first(): readonly LogBreak[] {
    return this.#first;
  }

  add(code: BreakCode, index: number, message: string): void {
    this.#count += 1;
    const after = this.#first.findIndex((kept) => kept.index > index);
    if (after < 0 && this.#first.length === breaksKeptMax) return;
    this.#first.splice(after < 0 ? this.#first.length : after, 0, { code, index, message });
    if (this.#first.length > breaksKeptMax) this.#first.pop();
  }

  /** For breaks that a query counted and of which it returned only the first. */
  countFurther(breaks: number): void {
    this.#count += breaks;
  }
}
