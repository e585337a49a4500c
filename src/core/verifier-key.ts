import { concatBytes, decodeBase64, encodeBase64, encodeHex, encodeUtf8 } from './bytes.js';
import { sha256 } from './digest.js';

/** Public keys of note signers, with the name they sign under (C2SP signed-note, "Verifier keys"). */
export interface VerifierKey {
  /** Non-empty, without Unicode white space and `+`. */
  readonly name: string;
  /** 8 digits of lower-case hex. */
  readonly keyId: string;
  /** 1: Ed25519 over the note's text; 4: a witness's timestamped cosignature. */
  readonly type: 1 | 4;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

const publicKeyBytes = 32;

/** The key of `name` with its id: the first 4 bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key). Throws SyntaxError for a bad name or key. */
export function verifierKeyOf(name: string, publicKey: Uint8Array, type: 1 | 4 = 1): VerifierKey {
  if (!isKeyName(name)) {
    throw new SyntaxError("a key's name is not empty and holds no white space, control character or '+'");
  }
  if (publicKey.length !== publicKeyBytes) throw new SyntaxError('an Ed25519 public key has 32 bytes');
  const keyId = sha256(concatBytes(encodeUtf8(`${name}\n`), Uint8Array.of(type), publicKey)).subarray(0, 4);
  return { name, keyId: encodeHex(keyId), type, publicKey };
}

/** `<name>+<key id>+<base64(type ‖ public key)>`. */
export function encodeVerifierKey(key: VerifierKey): string {
  return `${key.name}+${key.keyId}+${encodeBase64(concatBytes(Uint8Array.of(key.type), key.publicKey))}`;
}

/** Reads what encodeVerifierKey writes. Throws SyntaxError, also when the id is not that of name and key. */
export function parseVerifierKey(text: string): VerifierKey {
  const [name = '', keyId = ''] = text.split('+', 2);
  const [type, ...publicKey] = decodeBase64(text.slice(name.length + keyId.length + 2));
  if (type !== 1 && type !== 4) throw new SyntaxError('the key is neither of type 1 (Ed25519) nor 4 (cosignature)');
  const key = verifierKeyOf(name, Uint8Array.from(publicKey), type);
  if (key.keyId !== keyId) throw new SyntaxError(`the key id is not ${key.keyId}, that of this name and key`);
  return key;
}

/** Whether a text can name a key in a signature line. */
export function isKeyName(name: string): boolean {
  return name.isWellFormed() && /^[^\p{White_Space}+]+$/u.test(name) && !holdsControlCharacter(name);
}

/** Whether a text holds one of U+0000–U+001F, which no note may but for its line breaks. */
export function holdsControlCharacter(text: string): boolean {
  for (let place = 0; place < text.length; place += 1) {
    if (text.charCodeAt(place) < 0x20) return true;
  }
  return false;
}
