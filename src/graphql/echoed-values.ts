/** How what GraphQL, or a scalar of ours, says behind a value begins; a value that holds the same is cut up to its last one. */
const explanation = String.raw`; (?:Expected |Field |Exactly |The value |Enum |\w+ cannot represent |\w+ must )`;

/**
 * Places where messages of GraphQL's own repeat what was sent. A value may be a secret in an input that is marked as one, or a
 * sibling of what was refused: the whole input object is repeated there. Values can hold any text, so each is cut generously.
 */
const echoes: readonly (readonly [echo: RegExp, instead: string])[] = [
  [
    /^(Syntax Error: [^"\n]*(?:"[^"\n]*", )?(?:Unexpected|found) (?:Name|Int|Float|String|BlockString)) "[\s\S]*$/,
    '$1',
  ],
  [/(cannot represent [\w -]*value): [\s\S]*$/, '$1'],
  [/Value "[\s\S]*"(?= does not exist in "\w+" enum)/, 'The value'],
  [new RegExp(String.raw`(Expected value of type "[^"\n]*"), found [\s\S]*(?=${explanation})`), '$1'],
  [/(Expected value of type "[^"\n]*"), found [\s\S]*$/, '$1'],
  [new RegExp(String.raw`got invalid value [\s\S]*(?= at "[^"\n]*"${explanation})`), 'got an invalid value'],
  [new RegExp(String.raw`got invalid value [\s\S]*(?=${explanation})`), 'got an invalid value'],
  [/got invalid value [\s\S]*$/, 'got an invalid value'],
];

/** A message of GraphQL's without the values that it repeats. */
export function withoutEchoes(message: string): string {
  return echoes.reduce((text, [echo, instead]) => text.replace(echo, instead), message);
}
