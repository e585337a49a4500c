import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { readConfig } from '../../src/config.js';
import { openContext } from '../../src/context.js';
import { startServer } from '../../src/server.js';
import { createDataFolder } from '../support/data-folder.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { findFreePort } from '../support/test-server.js';
import { waitUntil } from '../support/wait-until.js';

const hooks = join(process.cwd(), 'test/support/typescript-hooks.js');

/** Commands of the README in order, without those that install or start: the set-up does that. */
const blocks = [...(await readFile('README.md', 'utf8')).matchAll(/^```sh\n(.*?)^```$/gms)]
  .map((match) => match[1] ?? '')
  .filter((block) => !block.includes('npm ci'));

const hasPsql = isInstalled('psql');
if (!hasPsql) {
  // eslint-disable-next-line no-console -- what is left out is said where nobody can miss it
  console.warn('LEFT OUT: the README’s psql commands, for psql is missing (apt-get install postgresql-client).');
}

interface Ran {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

let stack: AsyncDisposableStack;
let run: (block: string) => Promise<Ran>;
let databaseUrl: string;

beforeAll(async () => {
  await using opening = new AsyncDisposableStack();
  const folder = opening.use(await createDataFolder());
  const environment = {
    DAYBOOK_PORT: String(await findFreePort()),
    DAYBOOK_POSTGRES_PORT: String(await findFreePort()),
    DAYBOOK_DATA_DIR: folder.path,
    DAYBOOK_LOG_LEVEL: 'silent',
  };
  const config = readConfig(environment);
  const context = opening.use(await openContext(config, pino({ level: 'silent' })));
  const server = opening.use(await startServer(context));
  const programs = await writeNpm(join(folder.path, 'programs'));
  run = (block) => {
    // The reader's shell keeps KEY from block to block, and runs the compiled code.
    const script = `KEY=$(cat var/admin.key)\n${block}`
      .replaceAll('http://127.0.0.1:4000', server.url)
      .replaceAll('ws://127.0.0.1:4000', server.url.replace('http', 'ws'))
      .replaceAll('npx node', `${process.execPath} --import ${hooks}`)
      .replaceAll('./dist/src/', './src/')
      .replaceAll('dist/daybook-verify.js', 'src/verifier/main.ts')
      .replaceAll(/(?<=[\s'])var\//g, `${folder.path}/`);
    return runShell(script, { ...environment, PATH: `${programs}:${process.env.PATH ?? ''}` });
  };
  databaseUrl = (await run('npm run -s daybook -- db-url --role auditor')).stdout.trim();
  stack = opening.move();
});

afterAll(async () => {
  await expectLedgerIntact(databaseUrl);
  await stack.disposeAsync();
});

/** An npm that runs the sources: the README's build would write the folder that other tests may be using. */
async function writeNpm(folder: string): Promise<string> {
  await mkdir(folder);
  const npm = join(folder, 'npm');
  await writeFile(
    npm,
    `#!/bin/sh
case "$1 $2 $3 $4" in
  "run -s daybook --") shift 4; exec ${process.execPath} --import ${hooks} src/main.ts "$@" ;;
  "run -s demo ") exec ${process.execPath} --import ${hooks} demo/main.ts ;;
esac
echo "the README uses an npm command that its test does not know: $*" >&2; exit 127
`,
  );
  await chmod(npm, 0o755);
  return folder;
}

async function runShell(script: string, environment: Readonly<Record<string, string>>): Promise<Ran> {
  const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 50_000,
  });
  const closed = once(child, 'close') as Promise<[number | null]>;
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [exitCode] = await closed;
  return { exitCode: exitCode ?? -1, stdout, stderr };
}

function isInstalled(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

interface Expectation {
  readonly piece: string;
  readonly output: RegExp;
  readonly exitCode?: number;
  /** It comes true a moment after the block before it. */
  readonly delayed?: boolean;
}

/** Without psql nothing was attempted, and the answer is an empty list. */
const refusalEntry = hasPsql ? /"actor":"daybook_migrator","resource":"signals"/ : /"nodes":\[\]/;

/** What a reader is to see: a piece of the block, and what its output must say. */
const expectations: readonly Expectation[] = [
  { piece: '{ viewer', output: /^\{"data":\{"viewer":\{"name":"admin","role":"ADMIN"\}\}\}\s*$/ },
  { piece: 'createSignal', output: /"replayed":false,"signal":\{"id":"[^"]+","chainIndex":"0"/ },
  { piece: '{ signals(filter', output: /"totalCount":1,.*"entryPrice":"187.45"/ },
  { piece: 'INSERT INTO signals', output: /INSERT 0 1/ },
  { piece: 'UPDATE signals', output: /ERROR: {2}signals is immutable: UPDATE refused/, exitCode: 1 },
  { piece: 'auditEntries(filter', output: refusalEntry, delayed: true },
  { piece: 'auditStats', output: /"totalEntries":"\d+","byActor":\[.*"key":"admin"/ },
  {
    piece: 'followFeed',
    output: /^0 \S+Z RedactionRulesChanged daybook OK\n[^]*^\d+ \S+Z IntegrityBaselineSet daybook OK\n/m,
  },
  { piece: '-- verify', output: /signals: intact\n[\s\S]*audit: intact\n/ },
  { piece: 'verifierKeys', output: /^daybook\.local\/(signals|audit)\+[0-9a-f]{8}\+\S+\n/ },
  { piece: 'daybook-verify.js proof', output: /proven|valid|verified/i },
  { piece: 'daybook-verify.js log', output: /intact|verified/i, delayed: true },
  { piece: 'sink list', output: /jsonl/ },
  { piece: 'check-integrity full', output: /OK/ },
  { piece: '-- pack', output: /\(PARTIAL\): \d+ signals, \d+ audit entries, [^]*: verified, \d+ entries\n/ },
  { piece: '/audit/export', output: /^id,userId,action,resource,.*\r\n[^\r]+,admin,/ },
  { piece: '-- config-snapshot', output: /^configuration snapshot \S+ of \S+Z: \d+ files\n/ },
  { piece: '-- trace', output: /: BUY AAPL at 187.45, strategy momentum, recorded \S+Z\nPENDING: / },
  { piece: '-- rotate', output: /^SIGNING_KEY audit, generation 2: ROTATED\n[^]*DATABASE +│ application/ },
  { piece: 'run -s demo', output: /signals: 333 entries intact/ },
  { piece: '/health/detailed', output: /^\{"status":"ok"/ },
];

test.each(blocks)('the command of the README does what it says: %#', async (block) => {
  const expected = expectations.find(({ piece }) => block.includes(piece));
  if (expected === undefined) throw new Error(`the README has a command that this test does not know:\n${block}`);
  if (block.includes('psql ') && !hasPsql) return;
  const { exitCode, stdout, stderr } = expected.delayed
    ? await waitUntil(`${expected.piece} shows it`, async () => {
        const ran = await run(block);
        return expected.output.test(ran.stdout) ? ran : null;
      })
    : await run(block);
  expect({ exitCode, stderr }).toMatchObject({ exitCode: expected.exitCode ?? 0 });
  expect(expected.exitCode === undefined ? stdout : stderr).toMatch(expected.output);
});

test('the README has a command for everything that this test expects', () => {
  expect(expectations.filter(({ piece }) => !blocks.some((block) => block.includes(piece)))).toEqual([]);
});
