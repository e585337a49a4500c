import type { AuditRow } from '../ledger/rows.js';
import { detailsOf, parseRecorded, textOf, withoutAbsent } from './entry-facts.js';

/**
 * An audit entry as one line of JSON, without its line break. `ts` and `iso_ts` are the recording time, as the file's day is.
 * The event's own fields follow under their names in snake_case, then what every entry has; docs/sinks.md lists the keys. A
 * field whose name would hide one of those stands, with its own name, in `details`.
 */
export function encodeJsonlLine(row: AuditRow): string {
  const details = detailsOf(row);
  const common: Readonly<Record<string, unknown>> = withoutAbsent({
    user: textOf(details.user) ?? row.actor,
    source_ip: textOf(details.sourceIp) ?? row.ipAddress,
    signal_id: row.signalId,
    action: row.action,
    actor: row.actor,
    role: row.role,
    resource: row.resource,
    outcome: row.outcome,
    occurred_at: row.occurredAt,
    session_id: row.sessionId,
    request_id: row.requestId,
    user_agent: row.userAgent,
    old_data: row.oldData === null ? null : parseRecorded(row.oldData),
    new_data: row.newData === null ? null : parseRecorded(row.newData),
    id: row.id,
    index: Number(row.chainIndex),
    hash: row.verificationHash,
  });
  const own = new Set<string>();
  const hidden: [string, unknown][] = [];
  let text = `{"ts":${secondsOf(row.recordedAt)},"iso_ts":"${row.recordedAt}","event":${quote(row.event)}`;
  text += `,"category":${quote(row.category.toLowerCase())}`;
  for (const [name, value] of Object.entries(details)) {
    const key = snakeCase(name);
    // It stands there already.
    if (Object.hasOwn(common, key) && common[key] === value) continue;
    if (reservedKeys.has(key) || own.has(key)) {
      hidden.push([name, value]);
      continue;
    }
    own.add(key);
    text += `,${quote(key)}:${JSON.stringify(value)}`;
  }
  // From entries: a member named __proto__ must become one, too.
  if (hidden.length > 0) text += `,"details":${JSON.stringify(Object.fromEntries(hidden))}`;
  return `${text},${JSON.stringify(common).slice(1)}`;
}

/** The index in a line that `encodeJsonlLine` made; null where the line is none, as after a crash in the middle of a write. */
export function readJsonlIndex(line: string): bigint | null {
  return readIndex(line, (entry) => entry.index);
}

/** The safe integer that `member` finds in a line of JSON, else null. */
export function readIndex(line: string, member: (entry: Readonly<Record<string, unknown>>) => unknown): bigint | null {
  try {
    const entry: unknown = JSON.parse(line);
    const index = typeof entry === 'object' && entry !== null ? member(entry as Record<string, unknown>) : null;
    return Number.isSafeInteger(index) && Number(index) >= 0 ? BigInt(Number(index)) : null;
  } catch {
    // JSON.parse throws on a torn line and on nothing else.
    return null;
  }
}

/** Keys that every line has, or may have, with one meaning. */
const reservedKeys: ReadonlySet<string> = new Set([
  ...['ts', 'iso_ts', 'event', 'category', 'details', 'user', 'source_ip', 'signal_id', 'action', 'actor', 'role'],
  ...['resource', 'outcome', 'occurred_at', 'session_id', 'request_id', 'user_agent', 'old_data', 'new_data'],
  ...['id', 'index', 'hash'],
]);

function quote(text: string): string {
  return JSON.stringify(text);
}

/** `dealId` becomes `deal_id`, `sourceIP` `source_ip`. */
function snakeCase(name: string): string {
  // Most names are one word.
  if (!/[A-Z]/.test(name)) return name.toLowerCase();
  return name
    .replace(/([a-z\d])([A-Z])|([A-Z])(?=[A-Z][a-z])/g, (_, before = '', after = '', single = '') =>
      single === '' ? `${before as string}_${after as string}` : `${single as string}_`,
    )
    .toLowerCase();
}

/** Seconds since the Unix epoch with the microseconds as a fraction: a double holds them exactly enough to print the same. */
function secondsOf(timestamp: string): number {
  const whole = Date.parse(`${timestamp.slice(0, 19)}Z`) / 1000;
  return Number(`${whole}.${timestamp.slice(20, 26)}`);
}
