import { concatBytes, decodeBase64, decodeHex, encodeBase64, encodeHex, encodeUtf8 } from './bytes.js';
import { verifyEd25519 } from './digest.js';
import { holdsControlCharacter, isKeyName, type VerifierKey } from './verifier-key.js';

/** Signed notes (C2SP signed-note): a text, a blank line, and a line for each signature of the text. */

/** One signature line; what it is worth, only a key can tell. */
export interface NoteSignature {
  readonly name: string;
  /** 8 digits of lower-case hex. */
  readonly keyId: string;
  /** What follows the 4 bytes of the key id. */
  readonly signature: Uint8Array;
}

export interface SignedNote {
  /** Ends in a line break, which is part of what is signed. */
  readonly text: string;
  /** 1 to 100. */
  readonly signatures: readonly NoteSignature[];
}

/** Bounds the work that a hostile note can cause: bytes of UTF-8, and signatures to verify. */
const noteBytesMax = 1_000_000;
const signaturesMax = 100;

const signaturePrefix = '\u2014 ';

/** The note as text. Throws SyntaxError for one that parseNote would not read back the same. */
export function encodeNote(note: SignedNote): string {
  const lines = note.signatures.map(({ name, keyId, signature }) => {
    const id = decodeHex(keyId);
    if (id.length !== 4) throw new SyntaxError('a key id has 4 bytes');
    return `${signaturePrefix}${name} ${encodeBase64(concatBytes(id, signature))}\n`;
  });
  const encoded = `${note.text}\n${lines.join('')}`;
  const parsed = parseNote(encoded);
  if (parsed.text !== note.text) throw new SyntaxError("a note's text ends in a line break");
  return encoded;
}

/** Text and signatures of a note; nothing is verified. Throws SyntaxError for anything malformed or over the limits. */
export function parseNote(note: string): SignedNote {
  if (note.length > noteBytesMax || encodeUtf8(note).length > noteBytesMax) {
    throw new SyntaxError(`the note has more than ${noteBytesMax} bytes`);
  }
  if (note.split('\n').some(holdsControlCharacter)) throw new SyntaxError('the note holds a control character');
  const blankLine = note.lastIndexOf('\n\n');
  if (blankLine < 0) throw new SyntaxError('the note has no blank line before its signatures');
  if (!note.endsWith('\n')) throw new SyntaxError('the note does not end in a line break');
  const lines = note
    .slice(blankLine + 2)
    .split('\n')
    .slice(0, -1);
  if (lines.length === 0) throw new SyntaxError('the note has no signature');
  if (lines.length > signaturesMax) throw new SyntaxError(`the note has more than ${signaturesMax} signatures`);
  return { text: note.slice(0, blankLine + 1), signatures: lines.map(parseSignatureLine) };
}

function parseSignatureLine(line: string): NoteSignature {
  if (!line.startsWith(signaturePrefix)) throw new SyntaxError('a signature line begins with an em dash and a space');
  const nameEnd = line.indexOf(' ', signaturePrefix.length);
  const name = line.slice(signaturePrefix.length, nameEnd);
  if (nameEnd < 0 || !isKeyName(name)) throw new SyntaxError("a signature line has no key's name");
  const bytes = decodeBase64(line.slice(nameEnd + 1));
  if (bytes.length < 5) throw new SyntaxError('a signature is shorter than its key id');
  return { name, keyId: encodeHex(bytes.subarray(0, 4)), signature: bytes.subarray(4) };
}

/** `keys` are those whose signatures stand under the note, each once. */
export type NoteVerdict =
  | { status: 'verified'; keys: readonly VerifierKey[] }
  | { status: 'unknown-key' }
  | { status: 'bad-signature'; key: VerifierKey };

/**
 * Judges a note by the keys one trusts. Signatures of others are ignored; one bad signature under a known name and id
 * refuses the note, even beside a good one. Keys of type 1 only: verifyCosignature is for witnesses. Never throws.
 */
export function verifyNote(note: SignedNote, keys: readonly VerifierKey[]): NoteVerdict {
  const verified = new Set<VerifierKey>();
  for (const { name, keyId, signature } of note.signatures) {
    const known = keys.filter((key) => key.type === 1 && key.name === name && key.keyId === keyId);
    const [first] = known;
    if (first === undefined) continue;
    // Two keys may share an id of 32 bits; the signature says whose it is.
    const signer = known.find((key) => verifyText(key.publicKey, note.text, signature));
    if (signer === undefined) return { status: 'bad-signature', key: first };
    verified.add(signer);
  }
  return verified.size === 0 ? { status: 'unknown-key' } : { status: 'verified', keys: [...verified] };
}

function verifyText(publicKey: Uint8Array, text: string, signature: Uint8Array): boolean {
  return text.isWellFormed() && verifyEd25519(publicKey, encodeUtf8(text), signature);
}
