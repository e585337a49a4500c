import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { canonicalJsonFault } from '../../src/core/canonical-json.js';
import { auditColumns, signalColumns } from '../../src/ledger/rows.js';
import { breakCodes } from '../../src/core/log-breaks.js';

const page = readFileSync(join(import.meta.dirname, '../../docs/format.md'), 'utf8');

/** The cells of every table row below `heading`, up to the next heading. */
function readTable(heading: string): string[][] {
  const section = page.split(`${heading}\n`)[1]?.split(/\n#+ /)[0] ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\|[ :-]+\|/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')))
    .map((cells) => cells.slice(1, -1))
    .slice(1);
}

/** The examples in order: log, index, body, and the values of the table below. */
const examples = [...page.matchAll(/```text (signals|audit)-(\d+)\n(.*)\n```\n([\s\S]*?)(?=\n```|\n#)/g)].map(
  ([, log, index, body, below]) => ({
    log,
    index,
    body: body ?? '',
    columns: Object.fromEntries(
      [...(below ?? '').matchAll(/^\| `(\w+)` +\| `?([0-9a-f]+)`? +\|$/gm)].map(([, name, value]) => [name, value]),
    ),
  }),
);

const ledgerColumns = ['chain_index', 'body', 'verification_hash', 'previous_hash', 'chain_hash'];

describe('the page of the format', () => {
  test.each([
    ['### A signal', signalColumns, ['generation_latency_ms', 'retention_expires_at']],
    ['### An audit entry', auditColumns, []],
  ])('lists every key of the body with its column, in order: %s', (heading, columns, derived) => {
    const expected = Object.entries(columns)
      .filter(([, column]) => !ledgerColumns.includes(column) && !derived.includes(column as never))
      .concat([
        ['type', ''],
        ['v', ''],
      ]);
    const documented = readTable(heading).map(([key, column]) => [key, column]);
    expect(documented).toEqual(expected.sort(([left], [right]) => (left < right ? -1 : 1)));
  });

  test('lists every break and no other', () => {
    const documented = readTable('## Verification').flatMap(([code]) => (/^[A-Z_]+$/.test(code ?? '') ? [code] : []));
    expect(documented).toEqual(Object.keys(breakCodes));
  });

  test('gives examples whose hashes and links are right', () => {
    expect(examples.map(({ log, index }) => `${log} ${index}`)).toEqual(['signals 0', 'audit 0', 'audit 1']);
    const heads: Record<string, string> = {};
    for (const { log, index, body, columns } of examples) {
      const sha256 = (...parts: (string | Uint8Array)[]) =>
        createHash('sha256')
          .update(Buffer.concat(parts.map((part) => Buffer.from(part as string))))
          .digest('hex');
      const previous = heads[log ?? ''] ?? '0'.repeat(64);
      const leaf = sha256(Uint8Array.of(0), body);
      const link = sha256(Uint8Array.of(2), Buffer.from(previous, 'hex'), Buffer.from(leaf, 'hex'));
      expect(columns).toEqual({
        chain_index: index,
        verification_hash: leaf,
        previous_hash: previous,
        chain_hash: link,
      });
      expect(canonicalJsonFault(body)).toBeNull();
      heads[log ?? ''] = link;
    }
    expect(page).toContain(`These are ${Buffer.byteLength(examples[0]?.body ?? '')} bytes`);
  });

  const python = spawnSync('python3', ['--version']).status === 0 ? test : test.skip;
  python('gives a program that arrives at the same head and finds a changed byte', () => {
    const [, program = ''] = /```python\n([\s\S]*?)```/.exec(page) ?? [];
    const lines = examples
      .filter(({ log }) => log === 'audit')
      .map(({ body, columns }) => `${body}\t${columns.verification_hash}\t${columns.chain_hash}\n`);
    const check = (input: string) => spawnSync('python3', ['-c', program], { input, encoding: 'utf8' });
    expect(check(lines.join('')).stdout.trim()).toBe(examples.at(-1)?.columns.chain_hash);
    const changed = check([lines[0], lines[1]?.replace('UPDATE', 'DELETE')].join(''));
    expect(changed).toMatchObject({ status: 1, stderr: 'break at index 1\n' });
  });
});
