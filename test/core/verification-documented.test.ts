import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { breakCodes } from '../../src/core/log-breaks.js';
import { proofFaultCodes } from '../../src/core/verify-tlog-proof.js';
import { exitCodes } from '../../src/verifier/exit-codes.js';
import { readTable } from '../support/markdown-table.js';

const page = readFileSync('docs/verification.md', 'utf8');

test('docs/verification.md lists every reason to refuse a proof and no other, with its meaning', () => {
  const documented = readTable(page, 'Refused with').map((row) => [row['Refused with'], row.Meaning]);
  const known = Object.entries(proofFaultCodes).map(([code, meaning]) => [`\`${code}\``, meaning]);
  expect(documented).toEqual(known);
});

test('docs/verification.md lists every exit code of the verifier and no other', () => {
  const documented = readTable(page, 'Exit code').map((row) => Number(row['Exit code']));
  expect(documented).toEqual(Object.values(exitCodes));
});

test('docs/verification.md names breaks of the closed list only, and each that the verifier can find', () => {
  const documented = readTable(page, 'Break').map((row) => row.Break!.replaceAll('`', ''));
  expect(Object.keys(breakCodes)).toEqual(expect.arrayContaining(documented));
  const sources = [
    'verify-layout',
    'verify-entries',
    'verify-roots',
    'verify-growth',
    'tile-verifier',
    'body-verifier',
  ].map((name) => readFileSync(`src/verifier/${name}.ts`, 'utf8'));
  const headFaults = ['CHECKPOINT_MALFORMED', 'UNKNOWN_KEY', 'BAD_SIGNATURE'];
  const written = Object.keys(breakCodes).filter((code) => sources.some((source) => source.includes(`'${code}'`)));
  expect([...new Set([...written, ...headFaults])].sort()).toEqual([...documented].sort());
});
