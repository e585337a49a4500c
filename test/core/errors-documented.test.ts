import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { errorCatalogue } from '../../src/errors.js';
import { readTable } from '../support/markdown-table.js';

const rows = readTable(readFileSync('docs/errors.md', 'utf8'), 'Code');

test('docs/errors.md lists every code of the catalogue and no other, with status, retryability and meaning', () => {
  const documented = rows.map((row) => [row.Code, { http: row.HTTP, retryable: row.Retryable, meaning: row.Meaning }]);
  const catalogued = Object.entries(errorCatalogue).map(([code, { httpStatus, retryable, meaning }]) => [
    `\`${code}\``,
    { http: String(httpStatus), retryable: retryable ? 'yes' : 'no', meaning },
  ]);
  expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(catalogued));
  expect(documented).toHaveLength(catalogued.length);
});

test.each(rows)('$Code says how to mend it', (row) => {
  expect(row['How to mend it']).toMatch(/^[A-Z].{10,}\.$/);
});
