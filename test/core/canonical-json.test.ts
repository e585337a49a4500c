import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJsonFault, encodeCanonicalJson, NotCanonicalError } from '../../src/core/canonical-json.js';
import { readVectors } from '../support/read-vectors.js';

/** Values that have a canonical form: no fractions, lone surrogates or NUL, at most a few levels. */
const text = fc.string({ unit: 'binary', maxLength: 12 }).map((value) => value.replaceAll('\0', ' '));
const { value: canonicalValue } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    text,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(text, fc.nat(20).map(String)), tie('value'), { maxKeys: 5 }),
  ),
}));

/** RFC 8785 §3.2, word for word, for values without fractions. */
function encodeLiterally(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(encodeLiterally).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([left], [right]) => compareCodeUnits(left, right));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${encodeLiterally(member)}`).join(',')}}`;
}

function compareCodeUnits(left: string, right: string): number {
  for (let place = 0; place < Math.min(left.length, right.length); place += 1) {
    const difference = left.charCodeAt(place) - right.charCodeAt(place);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

describe('the canonical form', () => {
  test.each(readVectors<{ text: string; canonical: string }>('canonical-json', 'valid'))('of %s', (_, vector) => {
    expect(encodeCanonicalJson(JSON.parse(vector.text))).toBe(vector.canonical);
    expect(canonicalJsonFault(vector.canonical)).toBeNull();
    if (vector.text !== vector.canonical) expect(canonicalJsonFault(vector.text)).toBe('is not in RFC 8785 form');
  });

  test('is what RFC 8785 says word for word, and says what the value says', () => {
    fc.assert(
      fc.property(canonicalValue, (value) => {
        const canonical = encodeCanonicalJson(value);
        expect(canonical).toBe(encodeLiterally(value));
        expect(encodeCanonicalJson(JSON.parse(canonical))).toBe(canonical);
        expect(canonicalJsonFault(canonical)).toBeNull();
      }),
    );
  });

  test('is the same whatever the order of keys', () => {
    fc.assert(
      fc.property(fc.dictionary(text, canonicalValue, { maxKeys: 6 }), (value) => {
        const reversed = Object.fromEntries(Object.entries(value).reverse());
        expect(encodeCanonicalJson(reversed)).toBe(encodeCanonicalJson(value));
      }),
    );
  });

  test('leaves out members that are absent', () => {
    expect(encodeCanonicalJson({ b: undefined, a: 1 })).toBe('{"a":1}');
  });
});

describe('a value without a canonical form', () => {
  test.each(readVectors<{ text: string; path: string }>('canonical-json', 'invalid'))(
    'is refused and pointed to: %s',
    (_, vector) => {
      const encode = () => encodeCanonicalJson(JSON.parse(vector.text));
      expect(encode).toThrow(NotCanonicalError);
      expect(encode).toThrow(expect.objectContaining({ path: vector.path }));
    },
  );

  test.each([
    ['undefined', undefined],
    ['a function', () => 1],
    ['a bigint', { a: 1n }],
    ['a symbol', [Symbol('x')]],
    ['an absent item', [undefined]],
    ['not a number', [Number.NaN]],
  ])('is refused: %s', (_, value) => {
    expect(() => encodeCanonicalJson(value)).toThrow(NotCanonicalError);
  });

  test('is refused when it holds itself', () => {
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    expect(() => encodeCanonicalJson(loop)).toThrow(NotCanonicalError);
  });
});

describe('text that another program wrote', () => {
  test.each([
    ['is not JSON', '{'],
    ['is not in RFC 8785 form', '{"a":1,"a":1}'],
    ['is not in RFC 8785 form', '[1, 2]'],
    ['/a is a number without one exact form: write it as a string', '{"a":1.5}'],
    ['/a holds a lone surrogate, which UTF-8 cannot hold', '{"a":"\\ud800"}'],
  ])('%s', (fault, written) => {
    expect(canonicalJsonFault(written)).toBe(fault);
  });

  test('may be nested deeper than what we accept, and is refused where nothing could read it', () => {
    const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
    expect(canonicalJsonFault(nested(100))).toBeNull();
    expect(canonicalJsonFault(nested(32_000))).not.toBeNull();
  });
});
