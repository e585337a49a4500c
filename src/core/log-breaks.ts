/**
 * Everything verification can find, a closed list; docs/format.md says what each one means to an auditor. `index` of a
 * break is the position in the log where it shows first, null where it concerns no entry.
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
  // The tree and its signed heads.
  TILE_MISSING: 'a full tile that the log already fills below its newest checkpoint is not stored',
  TILE_MISMATCH: 'a stored tile is not what the entries give',
  TAIL_TRUNCATED: 'a checkpoint covers more entries than the log holds',
  CHECKPOINT_MALFORMED: 'a stored checkpoint is not a checkpoint of this log, or not what its row says',
  CHECKPOINT_MISMATCH: "a checkpoint's root is not the root of so many entries",
  CHECKPOINT_INCONSISTENT: 'a checkpoint kept elsewhere contradicts this log',
  BAD_SIGNATURE: 'the signature of a known key is bad',
  UNKNOWN_KEY: 'no known key signed a checkpoint',
  ROOT_MISMATCH: "a day's root is not the head at the last entry before midnight, or not proven from the day before",
  ROOT_MISSING: 'a day between the first and the last sealed one has no root',
  ANCHOR_MISSING: 'an anchor that is required is missing, overdue, or gone',
  ANCHOR_MISMATCH: 'what an anchor keeps contradicts the root it was made for',
  PURGE_UNEXPLAINED: 'a removal of archived entries does not continue the one before, or is not what its entry tells',
  ARCHIVE_MISSING: 'entries that were removed are in no archive on record, or its object is gone',
  ARCHIVE_MISMATCH: "an archive's row is not what the log's key signed, or its object not what the row says",
  // The database's catalogue, compared with its baseline.
  BASELINE_MISSING: 'no baseline was taken, so changes to triggers and functions cannot be seen',
  BASELINE_MISMATCH: 'the stored baseline is not the one that the audit log names',
  TRIGGER_CHANGED: 'a trigger of the ledger was disabled, replaced, added or removed, or its catalogue row rewritten',
  FUNCTION_CHANGED: 'a function of the ledger was replaced, added or removed, or its catalogue row rewritten',
  EVENT_TRIGGER_CHANGED: 'a trigger that refuses changes to the schema was disabled, replaced or removed',
  TABLE_CHANGED: 'owner, columns, constraints, rules, policies or children of a ledger table differ',
  EXTENSION_CHANGED: 'an extension, or a way out to another server, was added, changed or removed',
  ROLE_CHANGED: 'a role of the ledger has other attributes or memberships',
  ATTEMPT_UNEXPLAINED: 'a refused modification and its entry do not belong together',
  RECORD_MISSING: 'an entry tells of a key, check, incident, root or baseline that is not stored, or stored once less',
  RECORD_UNEXPLAINED: 'a key, check, incident, root or baseline is not what its entries tell, or has none',
} as const;

export type BreakCode = keyof typeof breakCodes;

/** One contradiction. `message` says what was expected and what is stored. */
export interface LogBreak {
  readonly code: BreakCode;
  readonly index: number | null;
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

  /** The first breaks in order of index, those without one last; those of one index in the order of adding. */
  get first(): readonly LogBreak[] {
    return this.#first;
  }

  add(code: BreakCode, index: number | null, message: string): void {
    this.#count += 1;
    const place = index ?? Infinity;
    const after = this.#first.findIndex((kept) => (kept.index ?? Infinity) > place);
    this.#first.splice(after === -1 ? this.#first.length : after, 0, { code, index, message });
    if (this.#first.length > breaksKeptMax) this.#first.pop();
  }

  /** Counts breaks that were found but are not to be kept. */
  countFurther(count: number): void {
    this.#count += Math.max(0, count);
  }

  /** Takes over what another list found, in its order. */
  addAll(other: { readonly first: readonly LogBreak[]; readonly count: number }): void {
    for (const { code, index, message } of other.first) this.add(code, index, message);
    this.countFurther(other.count - other.first.length);
  }
}
