import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJsonFault, encodeCanonicalJson } from '../../src/core/canonical-json.js';
import type { AuditRow, SignalRow } from '../../src/ledger/rows.js';
import { PlainBody } from '../../src/ledger/verify-body.js';
import { dateAfter, DayStarts, entriesUntil } from '../../src/ledger/verify-days.js';
import { isPlainlyCanonical } from '../../src/ledger/verify-json.js';
import { rowRules, type RowRules } from '../../src/ledger/verify-rows.js';

/** Texts that tempt whoever compares by pieces: parts of bodies, escapes, nothing. */
const hostileText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', '"', '\\', '\u0000', '\u001f', '\ud800', 'x","actor":"y', '{}', 'é\u2028', '😀', '","v":1}'),
);

describe('the quick comparison of a body with its columns', () => {
  const rows = <Row>(rules: RowRules<Row & AuditRow>) =>
    fc.record(
      Object.fromEntries(rules.bodyProperties.map((property) => [property, fc.option(hostileText, { freq: 4 })])),
    );
  const audit = new PlainBody<AuditRow>('audit', rowRules.audit.bodyProperties, rowRules.audit.jsonParts);
  const signals = new PlainBody<SignalRow>('signal', rowRules.signals.bodyProperties, rowRules.signals.jsonParts);

  test('says yes to no body but the one that the columns give', () => {
    fc.assert(
      fc.property(rows(rowRules.audit as never), hostileText, fc.nat(), (row, inserted, place) => {
        const entry = row as unknown as AuditRow;
        const body = rowRules.audit.encodeBody(entry);
        const at = place % (body.length + 1);
        for (const candidate of [body, `${body.slice(0, at)}${inserted}${body.slice(at)}`, body.slice(0, at)]) {
          if (audit.matches(entry, candidate)) expect(candidate).toBe(body);
        }
        // The body that a comparison without escapes would take for the columns'.
        const raw = rawBody(rowRules.audit.bodyProperties, row, ['details', 'oldData', 'newData'], 'audit');
        if (audit.matches(entry, raw)) expect(raw).toBe(body);
      }),
      { numRuns: 2_000 },
    );
  });

  test('says yes to ordinary bodies of both logs', () => {
    const ordinary = fc.option(fc.stringMatching(/^[a-zA-Z0-9 .:+é€-]{0,30}$/), { freq: 3 });
    const record = (properties: readonly string[]) =>
      fc.record(Object.fromEntries(properties.map((property) => [property, ordinary])));
    fc.assert(
      fc.property(record(rowRules.signals.bodyProperties), record(rowRules.audit.bodyProperties), (signal, entry) => {
        expect(signals.matches(signal as never, rowRules.signals.encodeBody(signal as never))).toBe(true);
        const withDetails = { ...entry, details: '{"a":"\\n"}', oldData: null, newData: '{}' };
        expect(audit.matches(withDetails as never, rowRules.audit.encodeBody(withDetails as never))).toBe(true);
      }),
    );
  });
});

function rawBody(
  properties: readonly string[],
  row: Readonly<Record<string, string | null>>,
  jsonParts: readonly string[],
  type: string,
): string {
  const members = properties.flatMap((key) => {
    const value = row[key] ?? null;
    return value === null ? [] : [[key, jsonParts.includes(key) ? value : `"${value}"`] as const];
  });
  members.push(['type', `"${type}"`], ['v', '1']);
  members.sort(([left], [right]) => (left < right ? -1 : 1));
  return `{${members.map(([key, value]) => `"${key}":${value}`).join(',')}}`;
}

describe('the quick look at JSON', () => {
  test('takes nothing that is not in its canonical form', () => {
    const text = fc.oneof(
      fc.json(),
      fc.json().map((json) => json.replaceAll(',', ', ')),
      fc.string({ unit: fc.constantFrom(...'{}[]",:\\01-.eE tfn aé\u0000\ud800') }),
    );
    fc.assert(
      fc.property(text, (candidate) => {
        if (isPlainlyCanonical(candidate)) expect(canonicalJsonFault(candidate)).toBeNull();
      }),
      { numRuns: 5_000 },
    );
  });

  test('takes ordinary details, so that they need no second look', () => {
    const value = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.stringMatching(/^[a-zA-Z0-9 .:é€-]*$/),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(fc.stringMatching(/^[a-zA-Z0-9é]+$/), tie('value'), { maxKeys: 4 }),
      ),
    })).value;
    fc.assert(fc.property(value, (each) => expect(isPlainlyCanonical(encodeCanonicalJson(each))).toBe(true)));
  });

  test.each([
    ['{"b":1,"a":1}'],
    ['{"a":1,"a":1}'],
    ['-0'],
    ['01'],
    ['1.0'],
    ['{"a":"\\u0041"}'],
    ['{} '],
    ['9007199254740993'],
    ['[1,]'],
    ['{"a":1'],
    ['nul'],
    [''],
    ['['.repeat(60_000)],
  ])('leaves to the full check what is not surely canonical: %.20s', (text) => {
    expect(isPlainlyCanonical(text)).toBe(false);
  });
});

describe('days', () => {
  test('begin where recording times pass midnight, UTC', () => {
    const days = new DayStarts();
    const times = ['2026-02-27T23:59:59.999999Z', '2026-02-28T00:00:00.000000Z', '2026-02-28T10:00:00.000000Z'];
    for (const [index, time] of [...times, '2026-03-02T00:00:00.000001Z', 'infinity'].entries()) days.take(index, time);
    expect(days.found).toEqual([
      { date: '2026-02-27', index: 0 },
      { date: '2026-02-28', index: 1 },
      { date: '2026-03-02', index: 3 },
    ]);
    const dates = ['2026-02-26', '2026-02-27', '2026-02-28', '2026-03-01', '2026-03-02', '2027-01-01'];
    expect(dates.map((date) => entriesUntil(date, days.found, 9))).toEqual([0, 1, 3, 3, 9, 9]);
    const later = new DayStarts('2026-02-28T23:00:00.000000Z');
    later.take(7, '2026-02-28T23:59:00.000000Z');
    later.take(8, '2026-03-01T00:00:00.000000Z');
    expect(later.found).toEqual([{ date: '2026-03-01', index: 8 }]);
  });

  test('follow one another through leap years and to the end of the calendar', () => {
    expect(['2028-02-28', '2026-12-31', '0099-12-31', '9999-12-31', 'infinity'].map(dateAfter)).toEqual([
      '2028-02-29',
      '2027-01-01',
      '0100-01-01',
      '~',
      '~',
    ]);
  });
});
