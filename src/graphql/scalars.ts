import { GraphQLScalarType, Kind, type ValueNode } from 'graphql';
import { integerDigitsMax, fractionDigitsMax, normalizeDecimal } from '../core/decimal.js';
import { normalizeTimestamp } from '../core/timestamp.js';
import { DaybookError } from '../errors.js';

/** A scalar that travels as text both ways and is checked on the way in. */
function textScalar(options: {
  name: string;
  description: string;
  parse: (text: string) => string | null;
  expected: string;
  acceptsIntegers?: boolean;
}): GraphQLScalarType<string, string> {
  const parse = (value: unknown): string => {
    const text = options.acceptsIntegers === true && Number.isSafeInteger(value) ? String(value) : value;
    const parsed = typeof text === 'string' ? options.parse(text) : null;
    if (parsed === null) throw new DaybookError('BAD_USER_INPUT', `${options.name} must be ${options.expected}`);
    return parsed;
  };
  return new GraphQLScalarType<string, string>({
    name: options.name,
    description: options.description,
    serialize: (value) => value as string,
    parseValue: parse,
    parseLiteral: (node: ValueNode) => {
      if (node.kind === Kind.STRING) return parse(node.value);
      if (node.kind === Kind.INT) return parse(options.acceptsIntegers === true ? node.value : null);
      return parse(null);
    },
  });
}

export const DateTimeScalar = textScalar({
  name: 'DateTime',
  description:
    'A moment as RFC 3339 text in UTC with microseconds, as in 2026-11-20T08:30:00.000000Z. Input may carry any offset.',
  parse: normalizeTimestamp,
  expected: 'an RFC 3339 time of the years 1 to 9999 with at most six fractional digits, as in 2026-11-20T08:30:00Z',
});

export const DateScalar = textScalar({
  name: 'Date',
  description: 'A day in UTC, as in 2026-11-20.',
  parse: (text) => (/^\d{4}-\d{2}-\d{2}$/.test(text) && normalizeTimestamp(`${text}T00:00:00Z`) !== null ? text : null),
  expected: 'a day of the years 1 to 9999, as in 2026-11-20',
});

export const BigIntScalar = textScalar({
  name: 'BigInt',
  description: 'A 64-bit integer as decimal text, because JSON numbers lose digits above 2^53.',
  parse: (text) => (/^-?\d{1,18}$/.test(text) ? BigInt(text).toString() : null),
  expected: 'a whole number as text, as in "42"',
  acceptsIntegers: true,
});

export const DecimalScalar = textScalar({
  name: 'Decimal',
  description: 'An exact decimal as text in plain notation without trailing zeros, as in "101.25".',
  parse: (text) => {
    const decimal = normalizeDecimal(text);
    if (decimal === null) return null;
    const [whole = '', fraction = ''] = decimal.replace('-', '').split('.');
    return whole.length > integerDigitsMax || fraction.length > fractionDigitsMax ? null : decimal;
  },
  expected: `a finite decimal as text with at most ${integerDigitsMax} digits before and ${fractionDigitsMax} after the point, as in "101.25"`,
  acceptsIntegers: true,
});

export const HashScalar = textScalar({
  name: 'Hash',
  description: 'A SHA-256 hash as 64 lower-case hexadecimal digits.',
  parse: (text) => (/^[0-9a-f]{64}$/i.test(text) ? text.toLowerCase() : null),
  expected: '64 hexadecimal digits',
});

/** Canonical JSON text in, a JSON object out. Output only. */
export const JSONObjectScalar = new GraphQLScalarType<string, unknown>({
  name: 'JSONObject',
  description: 'A JSON object.',
  serialize: (value) => (typeof value === 'string' ? (JSON.parse(value) as unknown) : value),
  parseValue: () => {
    throw new DaybookError('BAD_USER_INPUT', 'JSONObject is not accepted as input');
  },
});
