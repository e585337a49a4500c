import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodeCsvLine, headerOf, PackContents } from '../../src/core/pack-contents.js';
import { readLines } from '../../src/core/read-lines.js';

/** RFC 4180, read by a plain state machine. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let [row, field, quoted]: [string[], string, boolean] = [[], '', false];
  for (let place = 0; place < text.length; place += 1) {
    const letter = text[place] ?? '';
    if (quoted) {
      if (letter !== '"') field += letter;
      else if (text[place + 1] === '"') field += text[(place += 1)];
      else quoted = false;
    } else if (letter === '"') quoted = true;
    else if (letter === ',') [row, field] = [[...row, field], ''];
    else if (letter === '\r' && text[place + 1] === '\n') {
      rows.push([...row, field]);
      [row, field] = [[], ''];
      place += 1;
    } else field += letter;
  }
  return rows;
}

const bodyOf = (members: object) => JSON.stringify({ type: 'audit', v: 1, ...members });

describe('CSV lines', () => {
  test('give back every field, quotes, commas and line breaks included', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 2 }), (fields) => {
        expect(parseCsv(encodeCsvLine(fields))).toEqual([fields]);
      }),
    );
  });

  test('have as many fields as the header, whatever an entry holds', () => {
    const contents = new PackContents();
    const details = { quantity: 'NaN', price: { deep: [1] }, orderId: 7, message: null };
    for (const category of ['ORDER', 'FILL']) {
      for (const { file, line } of contents.takeAudit(3, bodyOf({ category, event: 'Strange', details }))) {
        if (file === 'alerts.jsonl') continue;
        expect(parseCsv(line)[0]).toHaveLength(parseCsv(headerOf(file))[0]?.length ?? 0);
      }
    }
    // What is no decimal counts as a row and not as a quantity.
    expect(contents.totals).toMatchObject({ fills: 1, fills_quantity: '0', fills_notional: '0' });
  });
});

describe('significant events', () => {
  const isSignificant = (members: object) =>
    new PackContents().takeAudit(0, bodyOf({ outcome: 'OK', ...members })).some(({ file }) => file === 'alerts.jsonl');

  test('are those that the documentation lists', () => {
    expect(isSignificant({ category: 'ALERT', event: 'AlertSent' })).toBe(true);
    expect(isSignificant({ category: 'INTEGRITY', event: 'ModificationRefused' })).toBe(true);
    expect(isSignificant({ category: 'AUTH', event: 'Login', outcome: 'LOGIN_FAILED' })).toBe(true);
    expect(isSignificant({ category: 'API', event: 'ApiCall', outcome: 'FORBIDDEN' })).toBe(true);
    expect(isSignificant({ category: 'AUTH', event: 'Login' })).toBe(false);
    expect(isSignificant({ category: 'API', event: 'ApiCall' })).toBe(false);
    expect(isSignificant({ category: 'INTEGRITY', event: 'MerkleRootSealed' })).toBe(false);
  });

  test('redactions are counted by rule', () => {
    const contents = new PackContents();
    contents.takeAudit(0, bodyOf({ details: { redacted: ['secret-name /password', 'jwt /note', 'jwt /other'] } }));
    expect(contents.totals.redactions).toEqual({ 'secret-name': 1, jwt: 2 });
  });
});

describe('lines', () => {
  async function* inParts(bytes: Uint8Array, size: number): AsyncIterable<Uint8Array> {
    for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
  }
  const read = async (text: string, size: number, max = 1_000) => {
    const lines: string[] = [];
    for await (const line of readLines(inParts(Buffer.from(text), size), max)) lines.push(line);
    return lines;
  };

  test('are the same however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ' '))),
        fc.integer({ min: 1, max: 9 }),
        async (lines, size) => {
          expect(await read(lines.map((line) => `${line}\n`).join(''), size)).toEqual(lines);
        },
      ),
    );
  });

  test('too long, without an end, or not UTF-8 are refused', async () => {
    await expect(read(`${'a'.repeat(11)}\n`, 3, 10)).rejects.toThrow(SyntaxError);
    await expect(read('a'.repeat(11), 3, 10)).rejects.toThrow(SyntaxError);
    await expect(read('no end', 3)).rejects.toThrow(SyntaxError);
    const invalid = readLines(inParts(Uint8Array.of(0xc3, 0x0a), 2), 10)[Symbol.asyncIterator]();
    await expect(invalid.next()).rejects.toThrow(SyntaxError);
  });
});
