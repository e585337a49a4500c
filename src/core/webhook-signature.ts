import { createHmac } from 'node:crypto';

/** Shorter keys can be tried out. */
const keyBytesMin = 16;

/**
 * The signature of Standard Webhooks: `v1,` and the base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>`. `timestamp` is in
 * seconds.
 */
export function signWebhook(key: Uint8Array, id: string, timestamp: number, body: string): string {
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}

/**
 * The bytes that webhooks are signed with: `whsec_` and base64 as in Standard Webhooks, or any text of 16 bytes and more, which is
 * taken as it is. Null where they are fewer.
 */
export function decodeWebhookKey(text: string): Uint8Array | null {
  const bytes = text.startsWith('whsec_') ? Buffer.from(text.slice('whsec_'.length), 'base64') : Buffer.from(text);
  return bytes.length < keyBytesMin ? null : bytes;
}
