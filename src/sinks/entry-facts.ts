import { hash } from 'node:crypto';
import { isIP } from 'node:net';
import type { AuditRow } from '../ledger/rows.js';

/** How much attention an entry deserves. */
export type Severity = 'info' | 'low' | 'medium' | 'high' | 'critical';

export type Details = Readonly<Record<string, unknown>>;

const alertSeverities: Readonly<Record<string, Severity>> = {
  INFO: 'info',
  WARNING: 'medium',
  ERROR: 'high',
  CRITICAL: 'critical',
};
/** Events that somebody should look at whatever their outcome. */
const graveEvents: ReadonlySet<string> = new Set([
  'ModificationRefused',
  'ModificationNumbersSkipped',
  'IncidentOpened',
]);
const graveOutcomes: ReadonlySet<string> = new Set([
  'LEDGER_BROKEN',
  'LOG_INCONSISTENT',
  'INTEGRITY_FAILED',
  'ANCHOR_REFUSED',
]);
const refusals: ReadonlySet<string> = new Set(['UNAUTHENTICATED', 'FORBIDDEN', 'LOGIN_FAILED', 'LEDGER_IMMUTABLE']);

/** Sinks share rows, and each encoder looks at the details several times. */
const parsedDetails = new WeakMap<AuditRow, Details>();

/** The entry's free-form details. They were canonical JSON when they were recorded, so numbers are exact. */
export function detailsOf(row: AuditRow): Details {
  let details = parsedDetails.get(row);
  if (details === undefined) {
    details = parseRecorded(row.details);
    parsedDetails.set(row, details);
  }
  return details;
}

/**
 * A recorded JSON object. One that is nested too deeply to be written again is replaced by its size and hash: whoever reaches
 * the database directly can record such a thing, and no entry may stop a sink for good.
 */
export function parseRecorded(json: string): Details {
  return nestingOf(json) > nestingLevelsMax ? { ...digestOf(json) } : (JSON.parse(json) as Details);
}

/** Deepest nesting that is passed on; the service itself records no more than 64 levels. */
const nestingLevelsMax = 500;

function nestingOf(json: string): number {
  // Each level takes two characters at least.
  if (json.length < 2 * nestingLevelsMax) return 0;
  let [level, deepest, isInText] = [0, 0, false];
  for (let place = 0; place < json.length; place += 1) {
    const character = json[place];
    if (character === '"') isInText = !isInText;
    else if (isInText && character === '\\') place += 1;
    else if (!isInText && (character === '{' || character === '[')) deepest = Math.max(deepest, (level += 1));
    else if (!isInText && (character === '}' || character === ']')) level -= 1;
  }
  return deepest;
}

export function severityOf(row: AuditRow, details: Details): Severity {
  if (row.category === 'ALERT') return alertSeverities[textOf(details.severity) ?? ''] ?? 'medium';
  if (graveEvents.has(row.event) || graveOutcomes.has(row.outcome)) return 'high';
  if (refusals.has(row.outcome)) return 'medium';
  return row.outcome === 'OK' && row.event !== 'Rejected' ? 'info' : 'low';
}

/** True for what somebody was not allowed to do. */
export function isRefused(row: AuditRow): boolean {
  return refusals.has(row.outcome);
}

/** Text of a member that may be anything; an empty one says nothing. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** The address an entry came from: what the event itself says goes before the call that reported it. */
export function addressOf(row: AuditRow, details: Details): string | undefined {
  const address = textOf(details.sourceIp) ?? row.ipAddress ?? undefined;
  return address !== undefined && isIP(address) !== 0 ? address : undefined;
}

/** Who an entry is about: what the event itself says goes before the key that reported it. */
export function userOf(row: AuditRow, details: Details): string | undefined {
  return textOf(details.user) ?? row.actor ?? undefined;
}

/** Milliseconds since the Unix epoch of a recorded time, which is in canonical form, cut off. */
export function millisecondsOf(timestamp: string): number {
  const milliseconds = Date.parse(`${timestamp.slice(0, 23)}Z`);
  // Only tampering brings another form into the ledger.
  return Number.isNaN(milliseconds) ? 0 : milliseconds;
}

/** One line for people: `OrderAccepted AAPL by desk: OK`. */
export function summaryOf(row: AuditRow): string {
  const resource = row.resource === null ? '' : ` ${row.resource}`;
  const actor = row.actor === null ? '' : ` by ${row.actor}`;
  return `${row.event}${resource}${actor}: ${row.outcome}`;
}

/** What stands for JSON that is too long for a message: enough to find and compare it in the ledger. */
export function digestOf(json: string): { readonly bytes: number; readonly sha256: string } {
  return { bytes: Buffer.byteLength(json), sha256: hash('sha256', json, 'hex') };
}

/** Characters that are left of a text in a message that would be too long otherwise. */
export const shortCharactersMax = 100;

/** Cut to a number of characters, never inside one. */
export function shortened(text: string, charactersMax: number): string {
  if (text.length <= charactersMax) return text;
  return Array.from(text).slice(0, charactersMax).join('');
}

/** The members that have a value. */
export function withoutAbsent<Value extends object>(members: Value): Partial<Value> {
  const present: Partial<Value> = {};
  for (const name in members) {
    if (members[name] !== undefined && members[name] !== null) present[name] = members[name];
  }
  return present;
}
