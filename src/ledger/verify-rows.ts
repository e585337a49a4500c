import { canonicalJsonFault } from '../core/canonical-json.js';
import { encodeAuditBody, encodeSignalBody } from '../core/entry-body.js';
import { genesisHash, hashChainLink, hashLeaf } from '../core/hash-entry.js';
import { addCalendarYears, millisecondsBetween } from '../core/timestamp.js';
import { auditColumns, signalColumns, type AuditRow, type LogName, type SignalRow } from './rows.js';
import { PlainBody } from './verify-body.js';
import { isPlainlyCanonical } from './verify-json.js';
import type { BreakList } from '../core/log-breaks.js';

/** How long signals are kept, in calendar years counted in UTC. */
const signalRetentionYears = 7;

/** What both logs' rows have in common. */
export type LedgerRow = Pick<SignalRow, 'chainIndex' | 'body' | 'verificationHash' | 'previousHash' | 'chainHash'>;

/** What differs between the logs: how a row's content gives its body and its derived columns. */
export interface RowRules<Row extends LedgerRow> {
  readonly columns: Readonly<Record<keyof Row & string, string>>;
  /** Keys of the body that are columns. */
  readonly bodyProperties: readonly (keyof Row & string)[];
  readonly bodyType: string;
  encodeBody(row: Row): string;
  recordedAt(row: Row): string;
  /** Columns outside the body, each with the value that others give. */
  derived(row: Row): Readonly<Partial<Record<keyof Row & string, string>>> | null;
  /** Parts of the body that callers wrote as JSON; text or null. */
  readonly jsonParts: readonly (keyof Row & string)[];
}

const outsideTheBody = [
  'chainIndex',
  'body',
  'verificationHash',
  'previousHash',
  'chainHash',
  'generationLatencyMs',
  'retentionExpiresAt',
];

function propertiesOfBody<Property extends string>(columns: Readonly<Record<Property, string>>): Property[] {
  return (Object.keys(columns) as Property[]).filter((property) => !outsideTheBody.includes(property));
}

const signalRules: RowRules<SignalRow> = {
  columns: signalColumns,
  bodyProperties: propertiesOfBody(signalColumns),
  bodyType: 'signal',
  encodeBody: encodeSignalBody,
  recordedAt: (row) => row.serverTimestamp,
  derived: (row) => ({
    generationLatencyMs: millisecondsBetween(row.generatedAt, row.serverTimestamp),
    retentionExpiresAt: addCalendarYears(row.serverTimestamp, signalRetentionYears),
  }),
  jsonParts: [],
};

const auditRules: RowRules<AuditRow> = {
  columns: auditColumns,
  bodyProperties: propertiesOfBody(auditColumns),
  bodyType: 'audit',
  encodeBody: encodeAuditBody,
  recordedAt: (row) => row.recordedAt,
  derived: () => null,
  jsonParts: ['details', 'oldData', 'newData'],
};

export const rowRules = { signals: signalRules, audit: auditRules } as const satisfies Record<LogName, unknown>;

/** The row before the first one that is checked, as it is stored. */
export interface Predecessor {
  readonly index: number;
  /** Null where it cannot be known: the link to it is not checked. */
  readonly chainHash: string | null;
  /** Recording time. */
  readonly recordedAt: string;
}

const beforeTheFirst: Predecessor = { index: -1, chainHash: genesisHash, recordedAt: '' };

/** Checks rows handed in by ascending index, each on its own and against its predecessor. Pure. */
export class RowVerifier<Row extends LedgerRow> {
  #nextIndex: number;
  /** Null right after a gap, where the predecessor's hash cannot be known. */
  #previousHash: string | null;
  #previousTime: string;
  #headChainHash = genesisHash;
  readonly #plainBody: PlainBody<Row>;

  /** Starts at the beginning of the log, or behind `predecessor`. */
  constructor(
    private readonly rules: RowRules<Row>,
    private readonly breaks: BreakList,
    predecessor: Predecessor = beforeTheFirst,
  ) {
    this.#plainBody = new PlainBody(rules.bodyType, rules.bodyProperties, rules.jsonParts);
    this.#nextIndex = predecessor.index + 1;
    this.#previousHash = predecessor.chainHash;
    this.#previousTime = predecessor.recordedAt;
  }

  /** `chain_hash` of the last row checked, 64 zeros before the first, as hex. */
  get headChainHash(): string {
    return this.#headChainHash;
  }

  /** Returns the leaf hash that the body gives, as hex, whatever is stored. */
  check(row: Row): string {
    const index = Number(row.chainIndex);
    this.#checkIndex(index);
    const leafHash = this.#checkContent(row, index);
    this.#checkLink(row, index);
    const recordedAt = this.rules.recordedAt(row);
    if (recordedAt < this.#previousTime) {
      this.breaks.add('TIME_DISORDER', index, `recorded at ${recordedAt}, its predecessor at ${this.#previousTime}`);
    }
    this.#previousTime = recordedAt;
    this.#previousHash = row.chainHash;
    this.#headChainHash = row.chainHash;
    return leafHash;
  }

  #checkIndex(index: number): void {
    const expected = this.#nextIndex;
    this.#nextIndex = index + 1;
    if (index === expected) return;
    if (index < expected) {
      this.breaks.add('INDEX_GAP', index, `index ${index} follows index ${expected - 1}`);
      return;
    }
    this.#previousHash = null;
    const missing = index - expected === 1 ? `index ${expected} is` : `indexes ${expected} to ${index - 1} are`;
    this.breaks.add('INDEX_GAP', expected, `${missing} missing`);
  }

  #checkContent(row: Row, index: number): string {
    const hash = hashLeaf(row.body);
    if (hash !== row.verificationHash) {
      this.breaks.add('BODY_HASH_MISMATCH', index, `the body gives ${hash}, stored is ${row.verificationHash}`);
    }
    if (!this.#plainBody.matches(row, row.body)) {
      const rebuilt = this.rules.encodeBody(row);
      if (rebuilt !== row.body) {
        this.breaks.add('COLUMN_MISMATCH', index, describeDifference(this.rules.columns, row.body, rebuilt));
      }
    }
    const derived = this.rules.derived(row);
    for (const [property, expected] of derived === null ? [] : Object.entries(derived)) {
      const stored = row[property as keyof Row];
      if (stored === expected) continue;
      const column = this.rules.columns[property as keyof Row & string];
      this.breaks.add('COLUMN_MISMATCH', index, `column ${column} is ${String(stored)}, expected is ${expected}`);
    }
    for (const property of this.rules.jsonParts) {
      const text = row[property];
      if (typeof text !== 'string' || isPlainlyCanonical(text)) continue;
      const fault = canonicalJsonFault(text);
      if (fault === null) continue;
      this.breaks.add('BODY_NOT_CANONICAL', index, `column ${this.rules.columns[property]}: ${fault}`);
    }
    return hash;
  }

  #checkLink(row: Row, index: number): void {
    if (this.#previousHash !== null && row.previousHash !== this.#previousHash) {
      this.breaks.add(
        'CHAIN_BREAK',
        index,
        `previous_hash is ${row.previousHash}, the predecessor's chain_hash is ${this.#previousHash}`,
      );
    }
    const link = hashChainLink(row.previousHash, row.verificationHash);
    if (link !== row.chainHash) {
      this.breaks.add('CHAIN_BREAK', index, `chain_hash is ${row.chainHash}, its parts give ${link}`);
    }
  }
}

/** Names the first column, by key of the body, in which body and columns differ. */
function describeDifference(columns: Readonly<Record<string, string>>, body: string, rebuilt: string): string {
  const stored = parseObject(body);
  const expected = parseObject(rebuilt);
  if (stored === null) return 'the body is not a JSON object';
  if (expected === null) return 'the columns do not give a JSON object';
  for (const key of [...new Set([...Object.keys(stored), ...Object.keys(expected)])].sort()) {
    const inBody = JSON.stringify(stored[key]);
    const inColumns = JSON.stringify(expected[key]);
    if (inBody === inColumns) continue;
    const name = columns[key] === undefined ? `the body's key ${key}` : `column ${columns[key]}`;
    return `${name} differs: the body says ${shorten(inBody)}, the columns give ${shorten(inColumns)}`;
  }
  return 'the body is written in another form than its columns give';
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

function shorten(json: string | undefined): string {
  if (json === undefined) return 'nothing';
  return json.length > 100 ? `${json.slice(0, 100)}…` : json;
}
