import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeUtf8, encodeHex, encodeUtf8 } from '../../src/core/bytes.js';
import { encodeNote, parseNote, verifyNote } from '../../src/core/signed-note.js';
import { encodeVerifierKey, parseVerifierKey, verifierKeyOf } from '../../src/core/verifier-key.js';
import { flipEachBit } from '../support/flip-bits.js';
import { createNoteSigner } from '../support/note-signer.js';
import { readVectors } from '../support/read-vectors.js';

const signer = createNoteSigner('log.example/signals', 1);
const next = createNoteSigner('log.example/signals', 2);

/** Texts as notes may have them: lines of anything that is no control character. */
const line = fc.string({ unit: 'binary', maxLength: 20 }).map((text) => text.replace(/\p{Cc}/gu, ' '));
const noteText = fc.array(line, { minLength: 1, maxLength: 5 }).map((lines) => `${lines.join('\n')}\n`);

describe('a verifier key', () => {
  test.each(
    readVectors<{ text: string; name: string; keyId: string; type: 1 | 4; publicKey: string }>('verifier-key', 'valid'),
  )('is read and written back: %s', (_, { text, ...expected }) => {
    const key = parseVerifierKey(text);
    expect({ ...key, publicKey: encodeHex(key.publicKey) }).toEqual(expected);
    expect(encodeVerifierKey(key)).toBe(text);
    expect(verifierKeyOf(key.name, key.publicKey, key.type)).toEqual(key);
  });

  test.each(readVectors<{ text: string }>('verifier-key', 'invalid'))('is refused: %s', (_, { text }) => {
    expect(() => parseVerifierKey(text)).toThrow(SyntaxError);
  });

  test('is refused with any bit of it flipped', () => {
    for (const [, flipped] of flipEachBit(encodeUtf8(encodeVerifierKey(signer.key)))) {
      expect(() => parseVerifierKey(decodeUtf8(flipped))).toThrow(SyntaxError);
    }
  });

  test.each(['', 'a b', 'a+b', 'a\u2003b', 'a\u3000b', 'a\u0085b', 'a\nb', '\ud800'])('has no name like %j', (name) => {
    expect(() => verifierKeyOf(name, signer.key.publicKey)).toThrow(SyntaxError);
  });
});

describe('a note', () => {
  test.each(readVectors<{ note: string; keys: string[]; text: string; verifiedBy: string[] }>('signed-note', 'valid'))(
    'is verified: %s',
    (_, vector) => {
      const note = parseNote(vector.note);
      expect(note.text).toBe(vector.text);
      expect(encodeNote(note)).toBe(vector.note);
      const verdict = verifyNote(note, vector.keys.map(parseVerifierKey));
      expect(verdict).toEqual({ status: 'verified', keys: vector.verifiedBy.map(parseVerifierKey) });
    },
  );

  test.each(readVectors<{ note: string; keys: string[]; refusal: string }>('signed-note', 'invalid'))(
    'is refused: %s',
    (_, { note, keys, refusal }) => {
      const verify = () => verifyNote(parseNote(note), keys.map(parseVerifierKey)).status;
      if (refusal === 'SyntaxError') expect(verify).toThrow(SyntaxError);
      else expect(verify()).toBe(refusal);
    },
  );

  test('of any text is written, read back and verified', () => {
    fc.assert(
      fc.property(noteText, (text) => {
        const note = { text, signatures: [signer.sign(text), next.sign(text)] };
        const parsed = parseNote(encodeNote(note));
        expect(parsed).toEqual(note);
        expect(verifyNote(parsed, [signer.key])).toEqual({ status: 'verified', keys: [signer.key] });
        expect(verifyNote(parsed, [next.key, signer.key])).toMatchObject({ keys: [signer.key, next.key] });
      }),
    );
  });

  test('of any characters is refused or written back the same', () => {
    const anything = fc.string({
      unit: fc.constantFrom('\n', '\n\n', '\u2014 ', 'a', ' ', 'AAAAAAA=', '\0', '\ud800'),
    });
    fc.assert(
      fc.property(anything, (text) => {
        const parsed = parseOrNull(text);
        if (parsed !== null) expect(encodeNote(parsed)).toBe(text);
      }),
      { numRuns: 2000 },
    );
  });

  test('with any bit flipped is not verified', () => {
    const text = 'log.example/signals\n70\nkxxgLn1cjwHD8LNA7wWPwdoO4S4xI+0ZOz2cbeYYN38=\n';
    const encoded = encodeNote({ text, signatures: [signer.sign(text)] });
    expect(verifyNote(parseNote(encoded), [signer.key]).status).toBe('verified');
    for (const [, flipped] of flipEachBit(encodeUtf8(encoded))) {
      const note = parseOrNull(flipped);
      if (note !== null) expect(verifyNote(note, [signer.key]).status).not.toBe('verified');
    }
  });

  test('with any bit flipped is not verified by both keys of a rotation', () => {
    const text = 'a text\n';
    const encoded = encodeNote({ text, signatures: [signer.sign(text), next.sign(text)] });
    for (const [, flipped] of flipEachBit(encodeUtf8(encoded))) {
      const note = parseOrNull(flipped);
      const verdict = note === null ? null : verifyNote(note, [signer.key, next.key]);
      if (verdict?.status !== 'verified') continue;
      expect(verdict.keys).toHaveLength(1);
      expect(note?.text).toBe(text);
    }
  });

  test('is judged by each of two keys that share name and id', () => {
    const text = 'a text\n';
    const signature = signer.sign(text);
    const twin = { ...next.key, keyId: signer.key.keyId };
    expect(verifyNote({ text, signatures: [signature] }, [twin, signer.key])).toEqual({
      status: 'verified',
      keys: [signer.key],
    });
  });

  test('of a text that has no UTF-8 is refused without a throw', () => {
    const note = { text: '\ud800\n', signatures: [signer.sign('a text\n')] };
    expect(verifyNote(note, [signer.key])).toEqual({ status: 'bad-signature', key: signer.key });
  });

  test('of more than a megabyte is refused, and so is one that cannot be read back', () => {
    const signatures = [signer.sign('')];
    const long = `${'é'.repeat(499_900)}\n`;
    expect(parseNote(encodeNote({ text: long, signatures })).text).toBe(long);
    expect(() => encodeNote({ text: `${'é'.repeat(500_000)}\n`, signatures })).toThrow(SyntaxError);
    expect(() => encodeNote({ text: 'no line break', signatures })).toThrow(SyntaxError);
    expect(() => encodeNote({ text: 'a\tb\n', signatures })).toThrow(SyntaxError);
    expect(() => encodeNote({ text: 'text\n', signatures: [] })).toThrow(SyntaxError);
    expect(() => encodeNote({ text: 'text\n', signatures: [{ ...signatures[0]!, keyId: '00' }] })).toThrow(SyntaxError);
    expect(() => encodeNote({ text: 'text\n', signatures: [{ ...signatures[0]!, name: 'a b' }] })).toThrow(SyntaxError);
  });
});

function parseOrNull(note: string | Uint8Array): ReturnType<typeof parseNote> | null {
  try {
    return parseNote(typeof note === 'string' ? note : decodeUtf8(note));
  } catch (err) {
    if (err instanceof SyntaxError) return null;
    throw err;
  }
}
