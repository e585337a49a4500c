import { findJson, spliceJson, type JsonSpan } from './json-text.js';
import { linesOfPrivateKey } from './redaction-walk.js';
import { isSecretPair, ruleForMember } from './secret-members.js';
import { standsForSecret } from './stand-in.js';

/** What to put in place of a secret that a rule found. */
export type Replacement = (rule: string, secret: string) => string;

/** How texts inside the JSON are searched, and what stands for members that are secrets by their name. */
interface JsonSearch {
  readonly replaceText: (text: string) => string;
  readonly replacement: Replacement;
}

/**
 * Replaces secrets inside the JSON of a text: members with secret names, whatever they hold and however they are escaped, pairs
 * of name and value, and what the rules find in each text by itself. Everything else stays to the byte.
 */
export function replaceInJson(text: string, search: JsonSearch): string {
  let replaced = '';
  let done = 0;
  for (const root of findJson(text)) {
    replaced += text.slice(done, root.from) + sourceOf(text, root, search);
    done = root.to;
  }
  return replaced + text.slice(done);
}

function sourceOf(text: string, span: JsonSpan, search: JsonSearch): string {
  const source = text.slice(span.from, span.to);
  if (span.kind === 'object') return sourceOfObject(text, span, search);
  if (span.kind === 'list') return sourceOfList(text, span, search);
  if (span.kind === 'word') return source;
  const value = span.kind === 'text' ? (JSON.parse(source) as string) : source;
  const replaced = search.replaceText(value);
  return replaced === value ? source : JSON.stringify(replaced);
}

function sourceOfObject(text: string, object: JsonSpan, search: JsonSearch): string {
  const values = object.parts.map((part) => valueOf(text, part));
  const owner = Object.fromEntries(
    values.flatMap((value, place) => (place % 2 === 1 ? [[String(values[place - 1]), value] as const] : [])),
  );
  return spliceJson(text, object, (part, place) => {
    if (place % 2 === 0 || part.kind === 'word') return sourceOf(text, part, search);
    const rule = ruleForMember(owner, String(values[place - 1]));
    return rule === null ? sourceOf(text, part, search) : sourceOfSecret(text, part, rule, search);
  });
}

function sourceOfList(text: string, list: JsonSpan, search: JsonSearch): string {
  const values = list.parts.map((part) => valueOf(text, part));
  const ofKey = linesOfPrivateKey(values);
  const isPair = isSecretPair(values);
  return spliceJson(text, list, (part, place) => {
    if (ofKey.has(place)) return sourceOfSecret(text, part, 'pem-private-key', search);
    if (isPair && place === 1) return sourceOfSecret(text, part, 'secret-pair', search);
    return sourceOf(text, part, search);
  });
}

/** What a text holds; null for anything else, of which nobody asks more. */
function valueOf(text: string, part: JsonSpan): string | null {
  return part.kind === 'text' ? (JSON.parse(text.slice(part.from, part.to)) as string) : null;
}

function sourceOfSecret(text: string, part: JsonSpan, rule: string, { replacement }: JsonSearch): string {
  const source = text.slice(part.from, part.to);
  const value: unknown = JSON.parse(source);
  if (value === '' || (typeof value === 'string' && standsForSecret(value))) return source;
  return JSON.stringify(replacement(rule, typeof value === 'string' ? value : JSON.stringify(value)));
}
