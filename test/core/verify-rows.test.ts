import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { AuditRow, LogName, SignalRow } from '../../src/ledger/rows.js';
import { BreakList, breaksKeptMax, type BreakCode } from '../../src/core/log-breaks.js';
import { rowRules, RowVerifier } from '../../src/ledger/verify-rows.js';
import { readVectors } from '../support/read-vectors.js';

type Rows = { log: 'signals'; rows: SignalRow[] } | { log: 'audit'; rows: AuditRow[] };

function check(vector: Rows): { breaks: { code: BreakCode; index: number | null }[]; headChainHash: string } {
  const breaks = new BreakList();
  const checkAll = <Row extends SignalRow | AuditRow>(verifier: RowVerifier<Row>, rows: readonly Row[]) => {
    for (const row of rows) verifier.check(row);
    return verifier.headChainHash;
  };
  const headChainHash =
    vector.log === 'signals'
      ? checkAll(new RowVerifier(rowRules.signals, breaks), vector.rows)
      : checkAll(new RowVerifier(rowRules.audit, breaks), vector.rows);
  return { breaks: breaks.first.map(({ code, index }) => ({ code, index })), headChainHash };
}

const valid = readVectors<Rows & { headChainHash: string }>('log', 'valid');

test.each(valid)('rows that another program hashed and chained are intact: %s', (_, vector) => {
  expect(check(vector)).toEqual({ breaks: [], headChainHash: vector.headChainHash });
});

test.each(readVectors<Rows & { breaks: { code: BreakCode; index: number | null }[] }>('log', 'invalid'))(
  'each break is found, with its code and index: %s',
  (_, vector) => {
    expect(check(vector).breaks).toEqual(vector.breaks);
  },
);

test('no character of a hashed value can be changed without a break at its row', () => {
  const vectors = valid.map(([, vector]) => vector).filter(({ rows }) => rows.length > 0);
  const ledgerOnly = new Set(['chainIndex']);
  const place = fc.constantFrom(...vectors).chain((vector) =>
    fc.constantFrom(...vector.rows.keys()).chain((index) => {
      const row = vector.rows[index] as unknown as Record<string, string | null>;
      const names = Object.keys(row).filter((name) => row[name] && !ledgerOnly.has(name));
      return fc
        .constantFrom(...names)
        .chain((name) => fc.tuple(fc.constant({ vector, index, name }), fc.nat((row[name] ?? '').length - 1)));
    }),
  );
  fc.assert(
    fc.property(place, ([{ vector, index, name }, position]) => {
      const copy = structuredClone(vector) as unknown as { log: LogName; rows: Record<string, string>[] };
      const row = copy.rows[index]!;
      const before = row[name]!;
      row[name] = `${before.slice(0, position)}${before[position] === 'x' ? 'y' : 'x'}${before.slice(position + 1)}`;
      expect(check(copy as unknown as Rows).breaks[0]?.index).toBe(index);
    }),
    { numRuns: 300 },
  );
});

describe('the list of breaks', () => {
  test('keeps those of the lowest indexes in order, however they come, and counts all', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { maxLength: 60 }), (indexes) => {
        const list = new BreakList();
        for (const index of indexes) list.add('INDEX_GAP', index, '');
        const expected = [...indexes].sort((left, right) => left - right).slice(0, breaksKeptMax);
        expect(list.first.map(({ index }) => index)).toEqual(expected);
        expect(list.count).toBe(indexes.length);
      }),
    );
  });
});
