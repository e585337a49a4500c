import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect, test } from '@jest/globals';
import { startOwnServer } from '../../demo/own-server.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';

/** The longest that the demo may take on a slow machine. */
const demoMaxMs = 30_000;

interface DemoRun {
  readonly exitCode: number | null;
  /** Cells of the table, by step. */
  readonly results: ReadonlyMap<string, string>;
  readonly output: string;
}

async function runDemoProcess(environment: Readonly<Record<string, string>>): Promise<DemoRun> {
  const { PATH, TMPDIR } = process.env;
  const child = spawn(process.execPath, ['--import', './test/support/typescript-hooks.js', 'demo/main.ts'], {
    env: { PATH, ...(TMPDIR === undefined ? {} : { TMPDIR }), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: demoMaxMs,
  });
  const exit = once(child, 'close') as Promise<[number | null]>;
  const [table, progress] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [exitCode] = await exit;
  const rows = table.split('\n').map((line) => line.split('│').map((cell) => cell.trim()));
  return {
    exitCode,
    results: new Map(rows.filter((cells) => cells.length > 3).map((cells) => [cells[1] ?? '', cells[2] ?? ''])),
    output: `${progress}${table}`,
  };
}

test('the demo starts a service of its own, records, follows, is refused, verifies, and stops it again', async () => {
  const { exitCode, results, output } = await runDemoProcess({});
  expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
  expect(results.get('Record the signals over HTTP')).toBe('333 recorded, 0 were there already');
  expect(results.get('Follow them over WebSocket')).toMatch(/^333 delivered in \d+ frames, no gap up to position 333$/);
  expect(results.get('Record orders and fills')).toBe('12 events of 3 orders, each naming its signal');
  expect(results.get('Try an UPDATE past the API')).toMatch(/^PostgreSQL refused it \(DB001\): signals is immutable/);
  expect(results.get('Find the refusal in the audit log')).toMatch(/daybook_migrator, LEDGER_IMMUTABLE$/);
  expect(results.get('Verify both logs')).toMatch(/^signals: 333 entries intact, .*; audit: \d+ entries intact, /);
  const url = results.get('Start a service in a temporary folder') ?? '';
  await expect(fetch(new URL('/health', url))).rejects.toThrow('fetch failed');
});

test('on a running service a second run records nothing twice and leaves no valid key behind', async () => {
  await using target = await startOwnServer(new AbortController().signal);
  const environment = {
    DAYBOOK_URL: target.url,
    DAYBOOK_ADMIN_KEY: target.adminKey,
    DAYBOOK_DEMO_DATABASE_URL: target.databaseUrl ?? '',
  };
  const first = await runDemoProcess(environment);
  expect({ exitCode: first.exitCode, output: first.output }).toMatchObject({ exitCode: 0 });
  const second = await runDemoProcess(environment);
  expect(second.results.get('Record the signals over HTTP')).toBe('0 recorded, 333 were there already');
  expect(second.results.get('Follow them over WebSocket')).toMatch(/^0 delivered .* no gap up to position 333$/);
  const response = await fetch(new URL('/graphql', target.url), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${target.adminKey}` },
    body: JSON.stringify({ query: '{ apiKeys { name revokedAt } }' }),
  });
  const { data } = (await response.json()) as { data: { apiKeys: { name: string; revokedAt: string | null }[] } };
  expect(data.apiKeys.filter(({ revokedAt }) => revokedAt === null).map(({ name }) => name)).toEqual(['admin']);
  await expectLedgerIntact(target.databaseUrl ?? '');
});

test('without a database URL the demo says which steps it leaves out, and a wrong key ends it with 1', async () => {
  await using target = await startOwnServer(new AbortController().signal);
  const api = { DAYBOOK_URL: target.url, DAYBOOK_ADMIN_KEY: target.adminKey };
  const { exitCode, results, output } = await runDemoProcess(api);
  expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
  expect(results.get('Verify both logs')).toBe('left out: it needs --database-url');
  const refused = await runDemoProcess({ ...api, DAYBOOK_ADMIN_KEY: 'x'.repeat(32) });
  expect(refused.exitCode).toBe(1);
  expect(refused.output).toContain('The demo stopped: UNAUTHENTICATED');
  await expectLedgerIntact(target.databaseUrl ?? '');
});
