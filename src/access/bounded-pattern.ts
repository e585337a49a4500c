/** Characters that stand for themselves behind a backslash, and classes. */
const escapes = /^[dDwWsSbBtrnfv]|^[^A-Za-z0-9]/;

/** Steps that an attempt to match from one place can take at most: with it the time for a text grows with its length alone. */
const stepsMax = 2_000;
const repetitionsMax = 512;
const charactersMax = 500;
const nestingMax = 10;

/** Why a pattern is not taken; `reason` completes "the pattern …". */
export class PatternFault extends Error {
  override readonly name = 'PatternFault';
}

/**
 * Compiles a pattern that an operator wrote, without regard to case, and refuses those that could take exponential or
 * quadratic time on a text made for it. Taken are literals, classes, `.`, `^`, `$`, `\b`, groups `(?:…|…)` without a
 * repetition, and `?`, `{n}` and `{m,n}` behind a single character or class. The steps of an attempt from one place are counted
 * and bounded: n for a repetition, which leaves n − m + 1 ways to go on; each piece of a sequence once for every way to reach it;
 * alternatives one after the other. Throws PatternFault.
 */
export function compileBoundedPattern(source: string): RegExp {
  if (source.length > charactersMax) throw new PatternFault(`has more than ${charactersMax} characters`);
  const { steps } = new PatternReader(source).read();
  if (steps > stepsMax) {
    throw new PatternFault(`can take ${steps} steps from one place, more than ${stepsMax}: repeat less`);
  }
  const pattern = compile(source);
  if (pattern.test('')) throw new PatternFault('matches the empty text');
  pattern.lastIndex = 0;
  return pattern;
}

function compile(source: string): RegExp {
  try {
    return new RegExp(source, 'giu');
  } catch (error) {
    throw new PatternFault(`is not a regular expression: ${(error as Error).message}`);
  }
}

/** Steps of an attempt to match a piece, and the ways in which it can match. */
interface Effort {
  readonly steps: number;
  readonly ways: number;
}

/** Reads a pattern from left to right and counts the effort of trying it. */
class PatternReader {
  #place = 0;

  constructor(private readonly source: string) {}

  read(): Effort {
    const effort = this.#alternatives(0);
    if (this.#place < this.source.length) throw new PatternFault('has a ) without its (');
    return effort;
  }

  #alternatives(level: number): Effort {
    if (level > nestingMax) throw new PatternFault(`nests groups deeper than ${nestingMax}`);
    let { steps, ways } = this.#sequence(level);
    while (this.#take('|')) {
      const other = this.#sequence(level);
      steps += other.steps;
      ways += other.ways;
    }
    return { steps, ways };
  }

  #sequence(level: number): Effort {
    let [steps, ways] = [0, 1];
    for (let next = this.#next(); next !== undefined && next !== '|' && next !== ')'; next = this.#next()) {
      const piece = this.#piece(level);
      steps += ways * piece.steps;
      ways *= piece.ways;
    }
    return { steps, ways };
  }

  #piece(level: number): Effort {
    if (this.#take('(?:')) {
      const effort = this.#alternatives(level + 1);
      if (!this.#take(')')) throw new PatternFault('has a group without its )');
      if (this.#repetition() !== null) throw new PatternFault('repeats a group: repeat single characters or classes');
      return effort;
    }
    const next = this.#next() ?? '';
    if (next === '(') throw new PatternFault('has a group other than (?:…): captures and look-arounds are not taken');
    if ('*+?{}]'.includes(next)) throw new PatternFault(`has ${next} where a character is due`);
    if (this.#take('[')) this.#class();
    else if (this.#take('\\')) this.#escape();
    else this.#place += String.fromCodePoint(this.source.codePointAt(this.#place) ?? 0).length;
    return this.#repetition() ?? { steps: 1, ways: 1 };
  }

  #class(): void {
    this.#take('^');
    while (!this.#take(']')) {
      if (this.#next() === undefined) throw new PatternFault('has a class without its ]');
      if (this.#take('\\')) this.#escape();
      else this.#place += 1;
    }
  }

  #escape(): void {
    if (!escapes.test(this.source.slice(this.#place))) {
      throw new PatternFault('has a back-reference or an escape that is not taken');
    }
    this.#place += 1;
  }

  /** The repetition that stands here; null where nothing is repeated. */
  #repetition(): Effort | null {
    const next = this.#next();
    if (next === '*' || next === '+')
      throw new PatternFault(`repeats without end: write {0,${repetitionsMax}} instead of ${next}`);
    const optional = this.#take('?');
    if (optional && !'?*+{'.includes(this.#next() ?? ' ')) return { steps: 1, ways: 2 };
    if (optional) throw new PatternFault('repeats a repetition');
    const [text, least, most] = /^\{(\d{1,4})(?:,(\d{1,4}))?\}/.exec(this.source.slice(this.#place)) ?? [];
    if (text === undefined) return null;
    this.#place += text.length;
    const [from, to] = [Number(least), Number(most ?? least)];
    if (to > repetitionsMax || to < from)
      throw new PatternFault(`repeats more than ${repetitionsMax} times, or backwards`);
    if ('?*+{'.includes(this.#next() ?? ' ')) throw new PatternFault('repeats a repetition');
    return { steps: Math.max(1, to), ways: to - from + 1 };
  }

  #next(): string | undefined {
    return this.source[this.#place];
  }

  #take(text: string): boolean {
    if (!this.source.startsWith(text, this.#place)) return false;
    this.#place += text.length;
    return true;
  }
}
