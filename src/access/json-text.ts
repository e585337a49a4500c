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

/** Where the values of a JSON text stand. Null for a text that is not one JSON object or list. */
export function readJsonText(text: string): JsonSpan | null {
  if (!/^\s{0,1000}[[{]/.test(text)) return null;
  try {
    JSON.parse(text);
  } catch (error) {
    if ((error as Error).name === 'SyntaxError') return null;
    throw error;
  }
  return new SpanReader(text).read();
}

/** Reads a text that is known to be JSON. */
class SpanReader {
  #place = 0;

  constructor(private readonly text: string) {}

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
    do {
      this.#place += this.text[this.#place] === '\\' ? 2 : 1;
    } while (this.text[this.#place] !== '"');
    this.#place += 1;
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
