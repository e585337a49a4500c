/** A value of a JSON text, or the name of a member: where it stands in the text. */
export interface JsonSpan {
  readonly from: number;
  readonly to: number;
  readonly kind: 'text' | 'number' | 'word' | 'object' | 'list';
  /** Of an object names and values in turn, of a list its items. */
  readonly parts: readonly JsonSpan[];
}

/** Texts nested deeper are not read as JSON, so that none exhausts the stack. */
const levelsMax = 100;

/** How often the search for JSON begins anew behind a bracket that nothing closes. */
const openBracketsMax = 16;

/** The objects and lists of JSON that stand in a text, as many as there are beside one another, with where their values stand. */
export function findJson(text: string): JsonSpan[] {
  const found: JsonSpan[] = [];
  let unclosed = 0;
  for (let from = nextBracket(text, 0); from !== -1 && unclosed <= openBracketsMax;) {
    const to = endOfBracket(text, from);
    if (to === -1) unclosed += 1;
    const span = to === -1 ? null : readJson(text, from, to);
    if (span !== null) found.push(span);
    // What only looks like JSON is passed over as a whole, so that each character is read once.
    from = nextBracket(text, to === -1 ? from + 1 : to);
  }
  return found;
}

function nextBracket(text: string, from: number): number {
  const found = text.slice(from).search(/[[{]/);
  return found === -1 ? -1 : from + found;
}

/** Behind the bracket that closes the one at `from`, without regard to brackets in quotes; −1 where none does. */
function endOfBracket(text: string, from: number): number {
  let level = 0;
  for (let place = from; place < text.length; place += 1) {
    const letter = text[place];
    if (letter === '"') {
      place = endOfString(text, place);
      if (place === -1) return -1;
    } else if (letter === '{' || letter === '[') level += 1;
    else if (letter === '}' || letter === ']') level -= 1;
    if (level === 0) return place + 1;
  }
  return -1;
}

/** Where the quote is that ends the text which begins at `from`; −1 where none does. */
function endOfString(text: string, from: number): number {
  for (let place = from + 1; place < text.length; place += 1) {
    if (text[place] === '\\') place += 1;
    else if (text[place] === '"') return place;
  }
  return -1;
}

function readJson(text: string, from: number, to: number): JsonSpan | null {
  try {
    JSON.parse(text.slice(from, to));
  } catch (error) {
    if ((error as Error).name === 'SyntaxError') return null;
    throw error;
  }
  return new SpanReader(text, from).read();
}

/** Reads a piece of a text that is known to be JSON. */
class SpanReader {
  #place: number;

  constructor(
    private readonly text: string,
    from: number,
  ) {
    this.#place = from;
  }

  read(): JsonSpan | null {
    return this.#value(0);
  }

  #value(level: number): JsonSpan | null {
    const next = this.#next();
    const from = this.#place;
    if (next === '"') return this.#string();
    if (next === '{' || next === '[') return level < levelsMax ? this.#container(next, level) : null;
    const [word = ''] = /^[-+.\w]+/.exec(this.text.slice(from, from + 400)) ?? [];
    this.#place += word.length;
    return { from, to: this.#place, kind: /^[-\d]/.test(word) ? 'number' : 'word', parts: [] };
  }

  #container(open: '{' | '[', level: number): JsonSpan | null {
    const from = this.#place;
    const parts: JsonSpan[] = [];
    this.#place += 1;
    for (let next = this.#next(); next !== '}' && next !== ']'; next = this.#next()) {
      if (next === ',' || next === ':') {
        this.#place += 1;
        continue;
      }
      const part = this.#value(level + 1);
      if (part === null || part.to === part.from) return null;
      parts.push(part);
    }
    this.#place += 1;
    return { from, to: this.#place, kind: open === '{' ? 'object' : 'list', parts };
  }

  #string(): JsonSpan {
    const from = this.#place;
    this.#place = endOfString(this.text, from) + 1;
    return { from, to: this.#place, kind: 'text', parts: [] };
  }

  /** The next character that is not white space. */
  #next(): string | undefined {
    while (' \t\r\n'.includes(this.text[this.#place] ?? '.')) this.#place += 1;
    return this.text[this.#place];
  }
}

/** The text with other sources at the places of some parts of a value; the rest stays to the byte. */
export function spliceJson(text: string, span: JsonSpan, sourceOf: (part: JsonSpan, place: number) => string): string {
  let spliced = '';
  let done = span.from;
  for (const [place, part] of span.parts.entries()) {
    spliced += text.slice(done, part.from) + sourceOf(part, place);
    done = part.to;
  }
  return spliced + text.slice(done, span.to);
}
