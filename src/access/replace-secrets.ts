import { decodeText, isEncoded } from './decode-text.js';
import { textCharactersMax } from './redaction-walk.js';
import { replaceInJson, type Replacement } from './replace-in-json.js';
import { builtInShapes, shapeHint, type SecretShape } from './secret-shapes.js';
import { standsForSecret } from './stand-in.js';

/** How often an encoded text, as an address inside an address, is decoded to look into it. */
const decodingsMax = 5;
/** How deep JSON inside texts of JSON is read as such. */
const jsonLevelsMax = 4;
const quotes = /^(\\*["'`]?)([\s\S]*?)(\\*["'`]?)$/;

/**
 * Replaces what the rules find in a text. Marks of earlier redactions stay as they are. JSON in a text is read as such; a text
 * that hides a secret by an encoding comes back decoded; any other one keeps its encoding.
 */
export function replaceSecrets(text: string, shapes: readonly SecretShape[], replacement: Replacement): string {
  return replaceAtLevel(text, shapes, replacement, 0);
}

function replaceAtLevel(text: string, shapes: readonly SecretShape[], replacement: Replacement, level: number): string {
  const replaceText = (inner: string) => replaceAtLevel(inner, shapes, replacement, level + 1);
  let replaced = text;
  let plain = text;
  for (let round = 0; ; round += 1) {
    const inJson = level < jsonLevelsMax ? replaceInJson(plain, { replaceText, replacement }) : plain;
    const looked = replaceShapes(inJson, shapes, replacement, round < decodingsMax);
    if (looked !== plain) replaced = looked;
    if (round === decodingsMax || !isEncoded(looked)) return replaced;
    const decoded = decodeText(looked);
    if (decoded === looked) return replaced;
    plain = decoded;
  }
}

/**
 * For texts that are shown and not recorded: without a mark, which would tell whoever sent the text something. What is too long to
 * be searched is not shown. `shapes`: those that are in force.
 */
export function withoutSecrets(text: string, shapes: readonly SecretShape[] = builtInShapes): string {
  if (text.length > textCharactersMax) return `(a text of ${text.length} characters)`;
  return replaceSecrets(text, shapes, () => '[redacted]');
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
    const kept = inner === '' || standsForSecret(inner);
    replaced += found.slice(done, from) + (kept ? secret : open + replacement(shape.name, inner) + close);
    done = to;
  }
  return replaced + found.slice(done);
}
