import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';

/** PostgreSQL's own default. The passwords have 256 random bits, so more rounds would only slow down each login. */
const ITERATIONS = 4096;
const KEY_BYTES = 32;
const SALT_BYTES = 16;

/**
 * What PostgreSQL stores for a password under SCRAM-SHA-256 (RFC 5803). CREATE and ALTER ROLE take it in place of the
 * password, so that no statement log ever holds the password itself. The password must be printable ASCII, which makes
 * SASLprep the identity.
 */
export function scramVerifier(password: string, salt: Buffer = randomBytes(SALT_BYTES)): string {
  const salted = pbkdf2Sync(password, salt, ITERATIONS, KEY_BYTES, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  const storedKey = createHash('sha256').update(clientKey).digest('base64');
  const serverKey = createHmac('sha256', salted).update('Server Key').digest('base64');
  return `SCRAM-SHA-256$${ITERATIONS}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}

/**
 * The password of a role, base64url of 256 bits, derived from the administrator's secret: every node that may administer
 * the server agrees on it without sharing anything else.
 */
export function deriveRolePassword(adminSecret: string, role: string): string {
  return createHmac('sha256', adminSecret).update(`daybook role password v1 ${role}`).digest('base64url');
}
