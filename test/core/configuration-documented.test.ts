import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { environmentNames, readConfig } from '../../src/config.js';
import { readTable } from '../support/markdown-table.js';

const rows = readTable(readFileSync('docs/configuration.md', 'utf8'), 'Variable');

test('docs/configuration.md lists every environment variable of the service and no other, in the same order', () => {
  expect(rows.map((row) => row.Variable)).toEqual(environmentNames.map((name) => `\`${name}\``));
});

test.each(rows.filter((row) => row.Default !== 'none'))('the default of $Variable is $Default', (row) => {
  const [name = '', value = ''] = [row.Variable, row.Default].map((cell) => cell?.replaceAll('`', ''));
  expect(readConfig({ [name]: value })).toEqual(readConfig({}));
});
