/** How what GraphQL, or a scalar of ours, says behind a value begins. */
const explanation = String.raw`; (?:Expected |Field |Exactly |The value |Enum |\w{1,200} cannot represent |\w{1,200} must )`;

/** A place where messages of GraphQL's own repeat what was sent. */
interface Echo {
  /** What stands before the value, and stays. */
  readonly before: RegExp;
  /** What stands behind it, and stays: the first of these that is found. Values can hold the same, so its last place counts. */
  readonly behind: readonly RegExp[];
  /** In place of what stands before, where that would not read well without the value. */
  readonly instead?: string;
  /** Only what has something of this behind it is a value. */
  readonly isKeptWithout?: true;
}

/**
 * A value may be a secret in an input that is marked as one, or a sibling of what was refused: the whole input object is repeated
 * there. Values can hold any text, and be of megabytes: each is cut generously, and by patterns that look at a character a bounded
 * number of times.
 */
const echoes: readonly Echo[] = [
  {
    before: /^Syntax Error: [^"\n]*(?:"[^"\n]*", )?(?:Unexpected|found) (?:Name|Int|Float|String|BlockString)(?= ")/,
    behind: [],
  },
  { before: /cannot represent [\w -]{0,100}value(?=: )/, behind: [] },
  {
    before: /Value "/,
    behind: [/" does not exist in "\w{1,200}" enum/g],
    instead: 'The value ',
    isKeptWithout: true,
  },
  { before: /Expected value of type "[^"\n]{0,200}"(?=, found )/, behind: [new RegExp(explanation, 'g')] },
  {
    before: /got invalid value /,
    behind: [new RegExp(String.raw` at "[^"\n]{0,500}"${explanation}`, 'g'), new RegExp(explanation, 'g')],
    instead: 'got an invalid value',
  },
];

/** A message of GraphQL's without the values that it repeats. */
export function withoutEchoes(message: string): string {
  return echoes.reduce(cut, message);
}

function cut(message: string, { before, behind, instead, isKeptWithout }: Echo): string {
  const found = before.exec(message);
  if (found === null) return message;
  const from = found.index + found[0].length;
  const end = behind.map((pattern) => lastPlace(message, pattern, from)).find((place) => place !== null);
  if (end === undefined && isKeptWithout) return message;
  return message.slice(0, found.index) + (instead ?? found[0]) + (end === undefined ? '' : restFrom(message, end ?? 0));
}

function lastPlace(message: string, pattern: RegExp, from: number): number | null {
  let last: number | null = null;
  for (const { index } of message.slice(from).matchAll(pattern)) last = from + index;
  return last;
}

/** From a quote that ended the value on it is a sentence without that quote. */
function restFrom(message: string, end: number): string {
  return message[end] === '"' ? message.slice(end + 2) : message.slice(end);
}
