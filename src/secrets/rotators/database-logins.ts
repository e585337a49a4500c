import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { SecretVersion } from '../../core/rotation.js';
import type { LoginSession } from '../../db/login-roles.js';
import { DaybookError } from '../../errors.js';

const passwordBytes = 32;
/** Given passwords: what needs no SASLprep, and not so short that a verifier could be guessed. */
const passwordForm = /^[\x21-\x7e]{16,200}$/;
const lookMs = 100;

/** A password, or the one given. Throws SECRET_REFUSED for one that is weak, or has other characters. */
export function makePassword(
  given: Uint8Array | null,
): Promise<{ readonly value: Uint8Array; readonly facts: Readonly<Record<string, never>> }> {
  if (given !== null && !passwordForm.test(Buffer.from(given).toString('latin1'))) {
    const message = 'a database password has 16 to 200 printable ASCII characters without spaces';
    return Promise.reject(new DaybookError('SECRET_REFUSED', message));
  }
  const value = Buffer.from(given ?? randomBytes(passwordBytes).toString('base64url'));
  return Promise.resolve({ value, facts: {} });
}

/** What is left when there is none, or after `waitMs`. */
export async function untilNone(list: () => Promise<LoginSession[]>, waitMs: number): Promise<LoginSession[]> {
  const endMs = performance.now() + waitMs;
  for (;;) {
    const sessions = await list();
    if (sessions.length === 0 || performance.now() >= endMs) return sessions;
    await delay(lookMs);
  }
}

export function describeSessions(sessions: readonly LoginSession[]): string {
  const names = [...new Set(sessions.map(({ applicationName }) => applicationName || 'a session without a name'))];
  return `${sessions.length} sessions (${names.slice(0, 5).join(', ')})`;
}

/** The value as text. */
export function textOf({ value }: Pick<SecretVersion, 'value'>): string {
  if (value === null) throw new TypeError('the version has no value');
  return Buffer.from(value).toString();
}
