import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';

const nonceBytes = 12;
const tagBytes = 16;
/** The first byte says how the rest is sealed, so that another form can follow. */
const version = 1;

/**
 * AES-256-GCM: version ‖ nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes). `context` is authenticated and not stored: a
 * secret sealed for one place does not open in another. A nonce must never be used twice with one key.
 */
export function sealSecret(input: {
  /** 32 bytes. A key object keeps them out of the heap that JavaScript sees. */
  readonly key: Uint8Array | KeyObject;
  readonly nonce: Uint8Array;
  readonly context: string;
  readonly secret: Uint8Array;
}): Uint8Array {
  if (input.nonce.length !== nonceBytes) throw new RangeError(`the nonce must have ${nonceBytes} bytes`);
  const cipher = createCipheriv('aes-256-gcm', input.key, input.nonce);
  cipher.setAAD(Buffer.from(input.context));
  return Buffer.concat([
    Uint8Array.of(version),
    input.nonce,
    cipher.update(input.secret),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
}

/** The secret, or null where key or context is another, or a byte was changed. */
export function openSecret(input: {
  readonly key: Uint8Array | KeyObject;
  readonly context: string;
  readonly sealed: Uint8Array;
}): Uint8Array | null {
  const { sealed } = input;
  if (sealed.length < 1 + nonceBytes + tagBytes || sealed[0] !== version) return null;
  const decipher = createDecipheriv('aes-256-gcm', input.key, sealed.subarray(1, 1 + nonceBytes));
  decipher.setAAD(Buffer.from(input.context));
  decipher.setAuthTag(sealed.subarray(-tagBytes));
  const plain = decipher.update(sealed.subarray(1 + nonceBytes, -tagBytes));
  try {
    return Buffer.concat([plain, decipher.final()]);
  } catch {
    return null;
  }
}
