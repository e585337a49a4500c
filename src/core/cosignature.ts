import { encodeUtf8 } from './bytes.js';
import { verifyEd25519 } from './digest.js';
import type { NoteSignature } from './signed-note.js';
import type { VerifierKey } from './verifier-key.js';

/** Cosignatures of witnesses, version 1 (C2SP tlog-cosignature): that a witness saw a checkpoint, and when. */

/** `u64 seconds ‖ 64 bytes of Ed25519`. */
const cosignatureBytes = 8 + 64;

/** What a witness signs at `seconds` since the Unix epoch. Throws SyntaxError for a time or text that has no such form. */
export function cosignedMessage(noteText: string, seconds: number): Uint8Array {
  if (!Number.isSafeInteger(seconds) || seconds < 0) throw new SyntaxError(`${seconds} is not a time in whole seconds`);
  return encodeUtf8(`cosignature/v1\ntime ${seconds}\n${noteText}`);
}

/**
 * When the witness that owns `key` (type 4) cosigned the note's text, in seconds since the Unix epoch as the witness
 * tells it; null when the line is not by that key or its signature is bad. Never throws.
 */
export function verifyCosignature(
  noteText: string,
  signature: NoteSignature,
  key: VerifierKey,
): { seconds: number } | null {
  if (key.type !== 4 || key.name !== signature.name || key.keyId !== signature.keyId) return null;
  const bytes = signature.signature;
  if (bytes.length !== cosignatureBytes || !noteText.isWellFormed()) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const seconds = view.getUint32(0) * 2 ** 32 + view.getUint32(4);
  if (!Number.isSafeInteger(seconds)) return null;
  return verifyEd25519(key.publicKey, cosignedMessage(noteText, seconds), bytes.subarray(8)) ? { seconds } : null;
}
