import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { eventRules } from '../../src/audit/event-rules.js';
import { encodeJsonlLine } from '../../src/sinks/encode-jsonl-line.js';
import { readSinksFile } from '../../src/sinks/sink-config.js';
import { auditRow } from '../support/audit-row.js';
import { readVectors } from '../support/read-vectors.js';

const page = readFileSync('docs/sinks.md', 'utf8');
const examples = [...page.matchAll(/^```json\n(.*?)^```/gms)].map(([, text]) => text ?? '');
const words = new Set(page.match(/`[^`\n]+`/g)?.map((text) => text.slice(1, -1)));

test('the sinks file of docs/sinks.md is taken as it stands, and has a sink of each kind', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'daybook-sinks-'));
  try {
    const file = join(folder, 'sinks.json');
    writeFileSync(file, examples.find((text) => text.includes('"sinks"')) ?? '');
    const kinds = (await readSinksFile(file)).map(({ kind }) => kind);
    expect(new Set(kinds)).toEqual(new Set(['jsonl', 'ecs', 'syslog', 'elasticsearch', 'webhook']));
    for (const sink of await readSinksFile(file)) {
      expect(Object.keys(sink).filter((member) => !words.has(member))).toEqual([]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('docs/sinks.md lists every key that a line of a recorded event can have', () => {
  const ofOneEvent = new Set(['bot', 'version', 'payment_id', 'amount', 'currency', 'succeeded', 'idempotency_key']);
  for (const { schema, event } of Object.values(eventRules)) {
    const details = JSON.stringify(Object.fromEntries(Object.keys(schema.shape).map((name) => [name, 'x'])));
    const row = auditRow({ event, details, signalId: 's', userAgent: 'a', oldData: '{}', newData: '{}' });
    const keys = Object.keys(JSON.parse(encodeJsonlLine(row)) as object);
    expect(keys.filter((key) => !words.has(key) && !ofOneEvent.has(key))).toEqual([]);
  }
});

test('the line of docs/sinks.md is one that is written', () => {
  const line = JSON.parse(examples.find((text) => text.includes('"ts"')) ?? '') as object;
  expect(JSON.parse(encodeJsonlLine(auditRow()))).toMatchObject(line);
});

test('docs/sinks.md lists every key of CEF that is sent', () => {
  for (const [, { encoded }] of readVectors<{ encoded: string }>('cef', 'valid')) {
    const extension = encoded.replace(/^CEF:0\|(?:(?:[^\\|]|\\.)*\|){5}\d+\|/, ' ');
    const keys = [...extension.matchAll(/ ([a-z]+[A-Za-z0-9]*)=/g)].map(([, key]) => key ?? '');
    expect(keys.filter((key) => !words.has(key.replace(/Label$/, '')))).toEqual([]);
    expect(keys.length).toBeGreaterThan(5);
  }
});
