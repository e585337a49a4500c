/**
 * Bytes as text and back, with what browsers and Node share. Every decoder is strict: of all texts exactly one stands
 * for given bytes, so a proof cannot be spelled in two ways. Decoders throw SyntaxError.
 */
const base64Alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const base64Values = new Map(Array.from(base64Alphabet, (character, value) => [character.charCodeAt(0), value]));
const hexBytes = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const utf8Encoder = new TextEncoder();
// ignoreBOM keeps U+FEFF as the character it is: dropped, it would make two byte strings one text.
const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Lower-case hex. */
export function encodeHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += hexBytes[byte];
  return text;
}

/** The bytes of lower-case hex; upper case is refused. */
export function decodeHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || /[^0-9a-f]/.test(text)) throw new SyntaxError('not lower-case hex of whole bytes');
  const bytes = new Uint8Array(text.length / 2);
  for (let place = 0; place < bytes.length; place += 1) {
    bytes[place] = Number.parseInt(text.slice(place * 2, place * 2 + 2), 16);
  }
  return bytes;
}

/** Base64 of RFC 4648 §4, with padding. */
export function encodeBase64(bytes: Uint8Array): string {
  let text = '';
  for (let place = 0; place < bytes.length; place += 3) {
    const [first = 0, second, third] = [bytes[place], bytes[place + 1], bytes[place + 2]];
    const group = (first << 16) | ((second ?? 0) << 8) | (third ?? 0);
    text += base64Alphabet.charAt(group >> 18) + base64Alphabet.charAt((group >> 12) & 63);
    text += second === undefined ? '=' : base64Alphabet.charAt((group >> 6) & 63);
    text += third === undefined ? '=' : base64Alphabet.charAt(group & 63);
  }
  return text;
}

/** The bytes of padded base64. Refuses whatever encodeBase64 would write otherwise: missing padding, stray bits, white space. */
export function decodeBase64(text: string): Uint8Array {
  if (text.length % 4 !== 0) throw new SyntaxError('not base64: its length is not a multiple of 4');
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let [bits, bitCount, place] = [0, 0, 0];
  for (let character = 0; character < text.length - padding; character += 1) {
    const value = base64Values.get(text.charCodeAt(character));
    if (value === undefined) throw new SyntaxError('not base64: a character is outside of its alphabet');
    bits = (bits << 6) | value;
    bitCount += 6;
    if (bitCount < 8) continue;
    bitCount -= 8;
    bytes[place] = bits >> bitCount;
    place += 1;
    bits &= (1 << bitCount) - 1;
  }
  if (bits !== 0) throw new SyntaxError('not base64: the bits behind the last byte are not zero');
  return bytes;
}

/** All parts, one behind the other. */
export function concatBytes(...parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}

/** Everything compared here is public: the time may tell where the first difference is. */
export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, place) => byte === right[place]);
}

/** UTF-8 of a text. Throws SyntaxError for a lone surrogate, which would silently become another character. */
export function encodeUtf8(text: string): Uint8Array {
  if (!text.isWellFormed()) throw new SyntaxError('a lone surrogate has no UTF-8');
  return utf8Encoder.encode(text);
}

/** The text of valid UTF-8; a byte order mark stays in it. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return utf8Decoder.decode(bytes);
  } catch (err) {
    throw new SyntaxError('not valid UTF-8', { cause: err });
  }
}
