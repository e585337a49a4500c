/**
 * Where a secret value ends in a configuration text, by the rules of the formats that people use: dotenv, shell, INI, TOML,
 * YAML, JSON, XML, HCL and properties. In doubt the longer extent wins.
 */

/** A quoted value that does not end within so many characters is taken to end with its line. */
const quotedLengthMax = 65_536;
/** A list or object is followed so far. */
const bracketsLengthMax = 1_048_576;

/** Where a name was found whose value is secret. */
export interface NamePlace {
  /** Where the value begins. */
  readonly start: number;
  /** Column of the name, what is nested below it is indented further. */
  readonly column: number;
  /** Nothing but indentation and keywords stands before the name on its line. */
  readonly leadsLine: boolean;
  /** `<name>value</name>`. */
  readonly element: boolean;
}

/** The secret lies from `from` up to, not including, `to`. */
export interface Extent {
  readonly from: number;
  readonly to: number;
}

/** Null where there is no value. */
export function findExtent(text: string, place: NamePlace): Extent | null {
  const extent = locate(text, place);
  return extent === null || extent.from >= extent.to ? null : extent;
}

function locate(text: string, place: NamePlace): Extent | null {
  const { start } = place;
  if (place.element) return { from: start, to: indexOrEnd(text, '<', start) };
  const lineEnd = endOfLine(text, start);
  const triple = /"""|'''/y;
  triple.lastIndex = start;
  const delimiter = triple.exec(text)?.[0];
  if (delimiter !== undefined) return { from: start + 3, to: indexOrEnd(text, delimiter, start + 3) };
  const quote = /\\*["'`]/y;
  quote.lastIndex = start;
  const opening = quote.exec(text)?.[0];
  if (opening !== undefined) return quoted(text, start, opening, lineEnd);
  if (text[start] === '[' || text[start] === '{') {
    return { from: start, to: matchingBracket(text, start) };
  }
  const rest = text.slice(start, lineEnd);
  const heredoc = /^<<[-~]?\s*["']?(\w+)/.exec(rest)?.[1];
  if (heredoc !== undefined) return linesUntil(text, lineEnd, (line) => line.trim() === heredoc);
  if (/^[|>][+\-\d]*[ \t]*(#.*)?$/.test(rest)) {
    return linesUntil(text, lineEnd, (line) => line.trim() !== '' && indentOf(line) <= place.column);
  }
  if (rest.trim() === '') {
    return linesUntil(text, lineEnd, (line) => {
      const indent = indentOf(line);
      return line.trim() !== '' && indent <= place.column && !(indent === place.column && /^\s*- /.test(line));
    });
  }
  return bare(text, place, lineEnd);
}

function quoted(text: string, start: number, opening: string, lineEnd: number): Extent {
  const from = start + opening.length;
  const close = opening.length > 1 ? text.indexOf(opening, from) : closingQuote(text, from, opening);
  if (close === -1 || close - from > quotedLengthMax) return { from, to: lineEnd };
  // What is glued to the closing quote belongs to the value, as in a shell.
  const glued = /[^\s,;:}\])>"'`\\#&|]+/y;
  glued.lastIndex = close + opening.length;
  const tail = glued.exec(text);
  return tail === null ? { from, to: close } : { from, to: tail.index + tail[0].length };
}

function closingQuote(text: string, from: number, quote: string): number {
  for (let place = from; place < text.length && place - from <= quotedLengthMax; place += 1) {
    if (text[place] === '\\') place += 1;
    else if (text[place] === quote) {
      if (quote === '"' || text[place + 1] !== quote) return place;
      place += 1;
    }
  }
  return -1;
}

/**
 * One past the bracket that closes the one at `start`, brackets in strings left out. Where nothing closes it, everything up to the
 * limit is taken, for then no part of a text is searched twice.
 */
function matchingBracket(text: string, start: number): number {
  const limit = Math.min(text.length, start + bracketsLengthMax);
  let depth = 0;
  for (let place = start; place < limit; place += 1) {
    const letter = text[place];
    if (letter === '[' || letter === '{') depth += 1;
    else if (letter === ']' || letter === '}') {
      depth -= 1;
      if (depth === 0) return place + 1;
    } else if (letter === '"') {
      const close = closingQuote(text, place + 1, letter);
      if (close !== -1) place = close;
    }
  }
  return limit;
}

/** The lines behind `lineEnd` up to the first that `ends`, without its last line break. */
function linesUntil(text: string, lineEnd: number, ends: (line: string) => boolean): Extent | null {
  const from = Math.min(text.length, lineBreakAfter(text, lineEnd));
  let to = from;
  for (let place = from; place < text.length;) {
    const end = endOfLine(text, place);
    const line = text.slice(place, end);
    if (ends(line)) break;
    if (line.trim() !== '') to = end;
    place = lineBreakAfter(text, end);
  }
  return to === from ? null : { from, to };
}

function bare(text: string, { start, leadsLine }: NamePlace, lineEnd: number): Extent {
  let to = lineEnd;
  if (leadsLine) {
    // A backslash at its end carries a line on to the next one.
    while (text[to - 1] === '\\' && to < text.length) to = endOfLine(text, lineBreakAfter(text, to));
  } else {
    const end = /["'`<>\r\n]/g;
    end.lastIndex = start;
    to = end.exec(text)?.index ?? text.length;
  }
  const key = /-----BEGIN [A-Z0-9 ]+-----/g;
  key.lastIndex = start;
  const found = key.exec(text);
  if (found !== null && found.index < to) to = endOfPem(text, found.index);
  while (to > start && /[\s,;]/.test(text[to - 1] ?? '')) to -= 1;
  return { from: start, to };
}

/** Where the PEM block that begins at `start` ends; at the end of the text where its last line is missing. */
export function endOfPem(text: string, start: number): number {
  const end = /-----END [A-Z0-9 ]+-----/g;
  end.lastIndex = start;
  const found = end.exec(text);
  return found === null ? text.length : found.index + found[0].length;
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

/** Index of the line break that ends the line of `from`, a carriage return before it counted in; else of the text's end. */
function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  if (end === -1) return text.length;
  return end > from && text[end - 1] === '\r' ? end - 1 : end;
}

function lineBreakAfter(text: string, lineEnd: number): number {
  return lineEnd + (text[lineEnd] === '\r' ? 2 : 1);
}

function indexOrEnd(text: string, wanted: string, from: number): number {
  const found = text.indexOf(wanted, from);
  return found === -1 ? text.length : found;
}
