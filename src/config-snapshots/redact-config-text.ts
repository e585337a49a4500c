import type { Redactor } from '../access/redact.js';
import { endOfPem, findExtent, type NamePlace } from './secret-extent.js';
import type { SecretNames } from './secret-names.js';

/** Lines between the name and the value of a pair such as `- name: DB_PASSWORD` and `value: …`. */
const pairDistanceMax = 3;
/** Characters of an XML tag behind its name. */
const tagLengthMax = 1_000;

export interface RedactedText {
  readonly text: string;
  /** How many secrets were replaced by their marks. */
  readonly redactions: number;
}

/** A piece of text that holds no known secret, or a secret. */
interface Piece {
  readonly text: string;
  readonly secret: boolean;
}

/**
 * Replaces the values of secret names, private keys, credentials in URLs and what the redactor's own shapes find by the keyed
 * marks of the redactor. The same secret gives the same mark in every file. Lines stay lines, but a value of several becomes one.
 */
export function redactConfigText(text: string, redactor: Redactor, names: SecretNames): RedactedText {
  let redactions = 0;
  const pieces = splitSecrets(text, names).map((piece) => {
    if (piece.secret) {
      redactions += 1;
      return redactor.mark(piece.text);
    }
    // Line by line, for a shape may look behind over white space.
    return piece.text
      .split('\n')
      .map((line) => redactor.redactText(line, () => (redactions += 1)))
      .join('\n');
  });
  return { text: pieces.join(''), redactions };
}

/** A name in quotes or without, the beginning of a private key, user information of a URL, or the head of a section. */
const landmark =
  /(?<pem>-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----)|(?<=:\/\/)(?<user>[^\s"'`<>/?#@]*:[^\s"'`<>]*(?=@)|[^\s"'`<>/?#@]+(?=@))|\[(?<=^[ \t]*\[)\[?(?<section>[^\]\n]+)\]\]?(?=[ \t]*(?:[#;].*)?\r?$)|(?<![\w.-])(?<dashes>-*)(?:(?<open>\\*["'`])(?<quoted>[A-Za-z_@$][\w.@$: -]{0,200}?)\k<open>|(?<bare>[A-Za-z_][\w.-]*))/gm;

function splitSecrets(text: string, names: SecretNames): Piece[] {
  const pieces: Piece[] = [];
  const pairs = new PairLines(text, names);
  const walk = new RegExp(landmark);
  let done = 0;
  const hide = (from: number, to: number) => {
    pieces.push({ text: text.slice(done, from), secret: false }, { text: text.slice(from, to), secret: true });
    done = to;
    walk.lastIndex = to;
  };
  for (let found = walk.exec(text); found !== null; found = walk.exec(text)) {
    const { pem, user, section, dashes = '', open = '', quoted, bare } = found.groups ?? {};
    const after = found.index + found[0].length;
    if (pem !== undefined) hide(found.index, endOfPem(text, found.index));
    else if (user !== undefined) hide(found.index, after);
    else if (section !== undefined) {
      const body = section.split(/[\s."':]+/).some((word) => names.isSecret(word)) ? sectionBody(text, after) : null;
      if (body !== null) hide(body.from, body.to);
    } else {
      const name = quoted ?? bare ?? '';
      if (!names.isSecret(name) && !pairs.isValue(name, found.index)) continue;
      const place = findValue(text, { from: found.index, after, dashed: dashes.length > 0, quoted: open !== '' });
      const extent = place === null ? null : findExtent(text, place);
      if (extent !== null) hide(extent.from, extent.to);
    }
  }
  pieces.push({ text: text.slice(done), secret: false });
  return pieces;
}

interface FoundName {
  readonly from: number;
  readonly after: number;
  readonly dashed: boolean;
  readonly quoted: boolean;
}

/** Where the value of a name begins; null where the name is but a word. */
function findValue(text: string, { from, after, dashed, quoted }: FoundName): NamePlace | null {
  const lineStart = text.lastIndexOf('\n', from - 1) + 1;
  const before = text.slice(lineStart, from);
  const leadsLine = /^[\s#;/*-]*(?:(?:export|set|setenv|env|arg|const|let|var)\s+)*$/i.test(before);
  const column = from - lineStart;
  const at = (start: number, element = false): NamePlace => ({ start, column, leadsLine, element });
  if (text[from - 1] === '<') {
    const tag = /^[^<>=]*>/.exec(text.slice(after, after + tagLengthMax));
    if (tag !== null) return at(after + tag[0].length, true);
  }
  const separated =
    matchAt(/[ \t]*(?:=>|:=|[+?]?=(?!=)|:(?!\/\/))[ \t]*/y, text, after) ?? matchAt(/[ \t]+(?=\\*["'`])/y, text, after);
  if (separated !== null) return at(separated);
  if (dashed) {
    // A flag: its value is the next word, also in a list of arguments.
    const next = matchAt(/["'`]?[ \t]*,?\s+(?:-[ \t]+)?(?!-)|["'`][ \t]*,[ \t]*/y, text, after);
    if (next !== null) return { ...at(next), leadsLine: false };
  }
  if (!leadsLine || quoted) return null;
  const spaced = matchAt(/[ \t]+(?=\S)/y, text, after);
  return spaced === null ? null : at(spaced);
}

/** The index behind what a sticky pattern matches at `place`; null where it does not. */
function matchAt(pattern: RegExp, text: string, place: number): number | null {
  pattern.lastIndex = place;
  return pattern.test(text) ? pattern.lastIndex : null;
}

/** Everything up to the next section: names below `[credentials]` need not tell. */
function sectionBody(text: string, after: number): { readonly from: number; readonly to: number } | null {
  const next = /^[ \t]*\[/gm;
  next.lastIndex = after;
  const end = next.exec(text)?.index ?? text.length;
  const body = text.slice(after, end);
  const from = after + (body.length - body.trimStart().length);
  const to = after + body.trimEnd().length;
  return from < to ? { from, to } : null;
}

/** Lines near one that names a secret, where the member `value` holds it: `- name: DB_PASSWORD` before `value: …`. */
class PairLines {
  readonly #starts: number[] = [];
  readonly #near = new Set<number>();

  constructor(text: string, names: SecretNames) {
    let start = 0;
    for (const [number, line] of text.split('\n').entries()) {
      this.#starts.push(start);
      start += line.length + 1;
      for (const [, named = ''] of line.matchAll(
        /\b(?:name|key|variable|env|id)\\*["']?\s*[:=]\s*\\*["']?([\w.-]+)/gi,
      )) {
        if (!names.isSecret(named)) continue;
        for (let near = number - pairDistanceMax; near <= number + pairDistanceMax; near += 1) this.#near.add(near);
      }
    }
  }

  isValue(name: string, index: number): boolean {
    if (this.#near.size === 0 || !/^(value|default|content|data)$/i.test(name)) return false;
    return this.#near.has(this.#lineOf(index));
  }

  #lineOf(index: number): number {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#starts[middle] ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
