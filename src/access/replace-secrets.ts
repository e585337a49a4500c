import { builtInShapes, shapeHint, type SecretShape } from './secret-shapes.js';

/** How often a text that is percent-encoded, as in a path or an address inside an address, is decoded to look into it. */
const decodingsMax = 3;
const encoded = /(?:%[0-9a-f]{2})+/gi;
const isEncoded = /%[0-9a-f]{2}/i;
const mark = /^\[redacted(?: [0-9a-f]{32})?\]$/;
const quotes = /^(\\*["'`]?)([\s\S]*?)(\\*["'`]?)$/;

/** What to put in place of a secret that a rule found. */
type Replacement = (rule: string, secret: string) => string;

/**
 * Replaces what the rules find in a text. Marks of earlier redactions stay as they are. A text that hides a secret by
 * percent-encoding comes back decoded; any other one keeps its encoding.
 */
export function replaceSecrets(text: string, shapes: readonly SecretShape[], replacement: Replacement): string {
  let replaced = text;
  let plain = text;
  for (let round = 0; ; round += 1) {
    const looked = replaceShapes(plain, shapes, replacement, round < decodingsMax);
    if (looked !== plain) replaced = looked;
    if (round === decodingsMax || !isEncoded.test(looked)) return replaced;
    plain = decode(looked);
  }
}

/** For texts that are shown and not recorded: without a mark, which would tell whoever sent the text something. */
export function withoutSecrets(text: string): string {
  return replaceSecrets(text, builtInShapes, () => '[redacted]');
}

/** `isDecodedLater`: pieces of percent-encoded runs are left to the next look, which sees them whole. */
function replaceShapes(
  text: string,
  shapes: readonly SecretShape[],
  replacement: Replacement,
  isDecodedLater: boolean,
): string {
  const isSuspect = shapeHint.test(text);
  if (!isSuspect && shapes.length === builtInShapes.length) return text;
  let replaced = text;
  for (const [place, shape] of shapes.entries()) {
    if (!isSuspect && place < builtInShapes.length) continue;
    replaced = replaced.replace(shape.pattern, (match: string, ...rest: unknown[]) => {
      const groups = rest.at(-1);
      const lead = typeof groups === 'object' ? ((groups as { lead?: string }).lead ?? '') : '';
      const offset = rest.find((argument) => typeof argument === 'number') ?? 0;
      if (isDecodedLater && lead === '' && isPartOfEncoded(replaced, offset, match)) return match;
      return lead + replaceFound(match.slice(lead.length), lead, shape, replacement);
    });
  }
  return replaced;
}

/** True for a piece of a run that percent-encoding divides: the whole of it is found once it is decoded. */
function isPartOfEncoded(text: string, offset: number, match: string): boolean {
  const before = text[offset - 1] === '%' && /^[0-9a-f]{2}/i.test(match);
  return before || /^%[0-9a-f]{2}/i.test(text.slice(offset + match.length, offset + match.length + 3));
}

function replaceFound(found: string, lead: string, shape: SecretShape, replacement: Replacement): string {
  const ranges = shape.find === undefined ? [[0, found.length] as const] : shape.find(found, lead);
  let replaced = '';
  let done = 0;
  for (const [from, to] of ranges) {
    const secret = found.slice(from, to);
    const [, open = '', inner = secret, close = ''] = shape.quoted === true ? (quotes.exec(secret) ?? []) : [];
    const kept = inner === '' || mark.test(inner);
    replaced += found.slice(done, from) + (kept ? secret : open + replacement(shape.name, inner) + close);
    done = to;
  }
  return replaced + found.slice(done);
}

function decode(text: string): string {
  return text.replace(encoded, (bytes) => {
    try {
      return decodeURIComponent(bytes);
    } catch {
      // Not UTF-8: whatever it is, ASCII inside it is what secrets are named by.
      return bytes.replace(/%([2-7][0-9a-f])/gi, (_, byte: string) => String.fromCharCode(Number.parseInt(byte, 16)));
    }
  });
}
