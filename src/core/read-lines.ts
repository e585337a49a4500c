import { decodeUtf8 } from './bytes.js';

/** A line break, U+000A. */
const lineBreak = 0x0a;

/**
 * The lines of UTF-8 text that comes in parts, without their line breaks; each line must end in one. Throws SyntaxError for
 * a line of more than `bytesMax` bytes, one that is not UTF-8, and a last line without an end.
 */
export async function* readLines(parts: AsyncIterable<Uint8Array>, bytesMax: number): AsyncIterable<string> {
  let rest: Uint8Array = new Uint8Array();
  for await (const part of parts) {
    let start = 0;
    for (let end = part.indexOf(lineBreak); end >= 0; end = part.indexOf(lineBreak, start)) {
      const piece = part.subarray(start, end);
      const line = rest.length === 0 ? piece : joined(rest, piece);
      if (line.length > bytesMax) throw new SyntaxError(`a line has more than ${bytesMax} bytes`);
      yield decodeUtf8(line);
      rest = new Uint8Array();
      start = end + 1;
    }
    rest = joined(rest, part.subarray(start));
    if (rest.length > bytesMax) throw new SyntaxError(`a line has more than ${bytesMax} bytes`);
  }
  if (rest.length > 0) throw new SyntaxError('the last line has no line break');
}

function joined(left: Uint8Array, right: Uint8Array): Uint8Array {
  const whole = new Uint8Array(left.length + right.length);
  whole.set(left);
  whole.set(right, left.length);
  return whole;
}
