import { readFile } from 'node:fs/promises';
import { decodeWebhookKey } from '../core/webhook-signature.js';
import { DaybookError } from '../errors.js';
import { lineKey, type LineKey } from './sealed-line.js';

/** A file's text without white space around it. Throws CONFIG_INVALID naming the file, never what it holds. */
export async function readSecretText(file: string, what: string): Promise<string> {
  const text = (await readConfigured(file, what)).toString('utf8').trim();
  if (text === '') throw new DaybookError('CONFIG_INVALID', `${what} ${file} is empty`);
  return text;
}

/** The bytes of a certificate or key file. Throws CONFIG_INVALID. */
export async function readConfigured(file: string, what: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new DaybookError('CONFIG_INVALID', `${what} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** A key for lines of log files: 32 bytes as 64 hexadecimal digits, or as base64 or base64url. Throws CONFIG_INVALID. */
export async function readLineKey(file: string): Promise<LineKey> {
  const text = await readSecretText(file, 'the key file');
  const isHex = /^[0-9a-f]{64}$/i.test(text);
  const bytes = isHex || /^[\w+/-]{43}=?$/.test(text) ? Buffer.from(text, isHex ? 'hex' : 'base64') : Buffer.alloc(0);
  if (bytes.length !== 32) {
    throw new DaybookError(
      'CONFIG_INVALID',
      `${file} must hold 32 bytes as 64 hexadecimal digits: openssl rand -hex 32`,
    );
  }
  return lineKey(bytes);
}

/** The bytes that webhooks are signed with, as `decodeWebhookKey` reads them. Throws CONFIG_INVALID. */
export async function readWebhookSecret(file: string): Promise<Uint8Array> {
  const bytes = decodeWebhookKey(await readSecretText(file, 'the webhook secret'));
  if (bytes === null) throw new DaybookError('CONFIG_INVALID', `${file} must hold a secret of at least 16 bytes`);
  return bytes;
}
