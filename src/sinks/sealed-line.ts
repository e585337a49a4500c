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

/**
 * Encrypts one line of a log file with AES-256-GCM. The index stays readable, and is bound to the line as additional data: a
 * line that is moved or renumbered does not open. `iv`: 12 bytes that are used once with a key.
 */
export function sealLine(line: string, index: string, key: LineKey, iv: Uint8Array = randomBytes(ivBytes)): string {
  const cipher = createCipheriv(algorithm, key.bytes, iv, { authTagLength: tagBytes });
  cipher.setAAD(additionalData(index));
  const sealed = Buffer.concat([iv, cipher.update(line, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return JSON.stringify({ index: Number(index), enc: 'A256GCM', kid: key.id, data: sealed.toString('base64') });
}

/** The line as it was before `sealLine`; null where none of the keys opens it: another key, or it was altered. */
export function openLine(line: string, keys: readonly LineKey[]): string | null {
  const { index, kid, data } = parseSealed(line) ?? {};
  const key = keys.find(({ id }) => id === kid);
  if (index === undefined || key === undefined || data === undefined) return null;
  const bytes = Buffer.from(data, 'base64');
  if (bytes.length < ivBytes + tagBytes) return null;
  const decipher = createDecipheriv(algorithm, key.bytes, bytes.subarray(0, ivBytes), { authTagLength: tagBytes });
  decipher.setAAD(additionalData(index));
  decipher.setAuthTag(bytes.subarray(-tagBytes));
  try {
    const opened = decipher.update(bytes.subarray(ivBytes, -tagBytes));
    return Buffer.concat([opened, decipher.final()]).toString('utf8');
  } catch {
    // GCM's tag does not fit: wrong key under a known name, or altered bytes.
    return null;
  }
}

function parseSealed(line: string): { index: string; kid: string; data: string } | null {
  const index = readIndex(line, (entry) => entry.index);
  if (index === null) return null;
  const { enc, kid, data } = JSON.parse(line) as Record<string, unknown>;
  if (enc !== 'A256GCM' || typeof kid !== 'string' || typeof data !== 'string') return null;
  return { index: index.toString(), kid, data };
}

function additionalData(index: string): Uint8Array {
  return Buffer.from(`daybook-log-line-v1\n${index}`);
}
