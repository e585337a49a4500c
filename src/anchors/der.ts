/** Deeper than any structure in a timestamp; bounds the recursion that hostile bytes can cause. */
const DEPTH_MAX = 32;
const sequenceTag = 16;
const setTag = 17;

/**
 * True when the bytes are one value in DER whose lengths are minimal and whose parts fill it exactly (X.690 §10.1, §10.2).
 * The ASN.1 library reads past lengths that contradict each other; two readers of such bytes could see two different
 * tokens. What the primitive values hold is left to the library.
 */
export function isDerFramed(bytes: Uint8Array): boolean {
  return skipValue(bytes, 0, bytes.length, 0) === bytes.length;
}

/** Where the value that begins at `at` ends, which is not after `end`; null where there is none. */
function skipValue(bytes: Uint8Array, at: number, end: number, depth: number): number | null {
  const tag = bytes[at];
  if (tag === undefined || at + 2 > end || depth > DEPTH_MAX) return null;
  const number = tag & 0x1f;
  // Numbers above 30 take more bytes; nothing in a timestamp has one.
  if (number === 0x1f) return null;
  const isConstructed = (tag & 0x20) !== 0;
  const isUniversal = (tag & 0xc0) === 0;
  // In DER a sequence or set is always made of parts, and strings never are.
  if (isUniversal && isConstructed !== (number === sequenceTag || number === setTag)) return null;
  const content = readLength(bytes, at + 1);
  if (content === null || content.begin + content.length > end) return null;
  const contentEnd = content.begin + content.length;
  if (!isConstructed) return contentEnd;
  let part = content.begin;
  while (part < contentEnd) {
    const next = skipValue(bytes, part, contentEnd, depth + 1);
    if (next === null) return null;
    part = next;
  }
  return contentEnd;
}

function readLength(bytes: Uint8Array, at: number): { begin: number; length: number } | null {
  const first = bytes[at];
  if (first === undefined) return null;
  if (first < 0x80) return { begin: at + 1, length: first };
  // 0x80 stands for an unknown length, which DER does not have; four bytes are more than any answer has.
  const lengthBytes = first - 0x80;
  if (lengthBytes === 0 || lengthBytes > 3) return null;
  const begin = at + 1 + lengthBytes;
  const length = bytes.subarray(at + 1, begin).reduce((value, byte) => value * 256 + byte, 0);
  const isMinimal = length >= (lengthBytes === 1 ? 0x80 : 256 ** (lengthBytes - 1));
  return isMinimal ? { begin, length } : null;
}
