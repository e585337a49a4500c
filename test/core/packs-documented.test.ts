import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { derivedColumns } from '../../src/core/pack-contents.js';
import { packFaultCodes } from '../../src/core/pack-faults.js';
import { packFileNames } from '../../src/core/pack-manifest.js';

const text = readFileSync(join(import.meta.dirname, '../../docs/packs.md'), 'utf8');

test('docs/packs.md lists each fault with its exit code and meaning, and no other', () => {
  const rows = [...text.matchAll(/^\| (\d+) +\| `(\w+)` +\| (.+?) +\|$/gm)].map(([, code, name, meaning]) => [
    Number(code),
    name,
    meaning,
  ]);
  expect(rows).toEqual(Object.entries(packFaultCodes).map(([name, meaning], place) => [10 + place, name, meaning]));
});

test('docs/packs.md names every file of a pack and the columns of each CSV', () => {
  for (const name of packFileNames.filter((each) => !each.endsWith('.previous.checkpoint'))) {
    expect(text).toContain(`\`${name}\``);
  }
  for (const [name, columns] of Object.entries(derivedColumns)) {
    if (columns !== null) expect(text).toContain(`\`${columns.join(', ')}\``);
    expect(text).toContain(`\`${name}\``);
  }
});
