import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { readIndex } from './encode-jsonl-line.js';

/** 32 bytes, and the name by which lines tell which key they need. */
export interface LineKey {
  /** First 8 bytes of SHA-256 over the key's bytes, as hex. */
  readonly id: string;
  readonly bytes: Uint8Array;
}

const algorithm = 'aes-256-gcm';
const ivBytes = 12;
const tagBytes = 16;

export function lineKey(bytes: Uint8Array): LineKey {
  if (bytes.length !== 32) throw new TypeError(`a key of ${bytes.length} bytes`);
  return { id: createHash('sha256').update(bytes).digest('hex').slice(0, 16), bytes };
}

/** What of a line stays readable where its details alone are encrypted; all else is the event's own, or who it was about. */
const clearMembers: ReadonlySet<string> = new Set([
  ...['ts', 'iso_ts', 'event', 'category', 'action', 'actor', 'role', 'resource', 'outcome', 'occurred_at'],
  ...['signal_id', 'session_id', 'request_id', 'id', 'index', 'hash'],
]);

/**
 * Encrypts one line of a log file with AES-256-GCM. The index stays readable, and is bound to the line as additional data: a
 * line that is moved or renumbered does not open. `iv`: 12 bytes that are used once with a key.
 */
export function sealLine(line: string, index: string, key: LineKey, iv: Uint8Array = randomBytes(ivBytes)): string {
  const data = encrypt(line, additionalData(index), key, iv);
  return JSON.stringify({ index: Number(index), enc: 'A256GCM', kid: key.id, data });
}

/**
 * Encrypts the details of a line that `encodeJsonlLine` made: what happened, when, by whom and with what end stays readable, and is
 * bound to the rest. `iv` as in `sealLine`.
 */
export function sealDetails(line: string, key: LineKey, iv: Uint8Array = randomBytes(ivBytes)): string {
  const members = Object.entries(JSON.parse(line) as Record<string, unknown>);
  const clear = JSON.stringify(Object.fromEntries(members.filter(([name]) => clearMembers.has(name))));
  const details = JSON.stringify(Object.fromEntries(members.filter(([name]) => !clearMembers.has(name))));
  const data = encrypt(details, additionalDetailsData(clear), key, iv);
  return `${clear.slice(0, -1)},${JSON.stringify({ enc: 'A256GCM', kid: key.id, data }).slice(1)}`;
}

/**
 * What `sealLine` or `sealDetails` was given, of the latter with its details at the end; null where none of the keys opens it:
 * another key, or it was altered.
 */
export function openLine(line: string, keys: readonly LineKey[]): string | null {
  const { clear, index, kid, data } = parseSealed(line) ?? {};
  const key = keys.find(({ id }) => id === kid);
  if (index === undefined || key === undefined || data === undefined) return null;
  if (clear === undefined) return decrypt(data, additionalData(index), key);
  const details = decrypt(data, additionalDetailsData(clear), key);
  if (details === null) return null;
  return details === '{}' ? clear : `${clear.slice(0, -1)},${details.slice(1)}`;
}

function encrypt(text: string, additional: Uint8Array, key: LineKey, iv: Uint8Array): string {
  const cipher = createCipheriv(algorithm, key.bytes, iv, { authTagLength: tagBytes });
  cipher.setAAD(additional);
  return Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64');
}

function decrypt(data: string, additional: Uint8Array, key: LineKey): string | null {
  const bytes = Buffer.from(data, 'base64');
  if (bytes.length < ivBytes + tagBytes) return null;
  const decipher = createDecipheriv(algorithm, key.bytes, bytes.subarray(0, ivBytes), { authTagLength: tagBytes });
  decipher.setAAD(additional);
  decipher.setAuthTag(bytes.subarray(-tagBytes));
  try {
    const opened = decipher.update(bytes.subarray(ivBytes, -tagBytes));
    return Buffer.concat([opened, decipher.final()]).toString('utf8');
  } catch {
    // GCM's tag does not fit: wrong key under a known name, or altered bytes.
    return null;
  }
}

interface ParsedLine {
  /** What is readable beside the index; absent where the whole line is encrypted. */
  readonly clear: string | undefined;
  readonly index: string;
  readonly kid: string;
  readonly data: string;
}

function parseSealed(line: string): ParsedLine | null {
  const index = readIndex(line, (entry) => entry.index);
  if (index === null) return null;
  const { enc, kid, data, ...others } = JSON.parse(line) as Record<string, unknown>;
  if (enc !== 'A256GCM' || typeof kid !== 'string' || typeof data !== 'string') return null;
  const clear = Object.keys(others).length === 1 ? undefined : JSON.stringify(others);
  return { clear, index: index.toString(), kid, data };
}

function additionalData(index: string): Uint8Array {
  return Buffer.from(`daybook-log-line-v1\n${index}`);
}

function additionalDetailsData(clear: string): Uint8Array {
  return Buffer.from(`daybook-log-details-v1\n${clear}`);
}
