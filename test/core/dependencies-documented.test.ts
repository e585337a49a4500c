import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { readTable } from '../support/markdown-table.js';

const rows = readTable(readFileSync('docs/decisions/0009-direct-dependencies.md', 'utf8'), 'Package');
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, Record<string, string>>;

test('the decision on dependencies names each direct one with a reason, and no other', () => {
  const installed = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies });
  expect(rows.map((row) => row.Package).sort()).toEqual(installed.map((name) => `\`${name}\``).sort());
  expect(rows.filter((row) => (row.Reason ?? '').length < 5)).toEqual([]);
});

test('each direct dependency has an exact version', () => {
  const versions = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
  expect(versions.filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([]);
});
