import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { lockFolder } from '../../src/storage/folder-lock.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { checkInFull, fillLog, shortRetention } from '../support/retained-log.js';
import { sampleEntry } from '../support/sample-entries.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const root = join(import.meta.dirname, '../..');

let service: TestService;
let superuser: SqlSession;
let store: string;

beforeAll(async () => {
  service = await startTestService({ environment: { ...shortRetention, DAYBOOK_LOG_FILES: 'off' } });
  superuser = await openSession(service.database.urls.superuser);
  store = service.context.config.store.folder;
});

afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await superuser[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

/** Whatever becomes of the test, they end with it. */
const children = new Set<ChildProcess>();

/** A process that is ready to do what it is told. */
async function startProcess(name: string): Promise<ChildProcess & { answer: Promise<string> }> {
  const args = ['--disable-warning=ExperimentalWarning', '--import', './test/support/typescript-hooks.js'];
  const child = spawn(process.execPath, [...args, 'test/support/retention-process.ts', name], {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      ...shortRetention,
      DAYBOOK_LOG_LEVEL: 'error',
      DAYBOOK_DATA_DIR: service.context.config.dataDir,
      DATABASE_URL: service.database.urls.superuser,
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.add(child);
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  const answer = once(child, 'exit').then(() => output.split('\n')[1] ?? '');
  await waitUntil('the process is ready', () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    return output.startsWith('ready');
  });
  return Object.assign(child, { answer });
}

const lockTable = (table: string) => async () => {
  const holder = await openSession(service.database.urls.superuser);
  await holder.run(`BEGIN; LOCK TABLE public.${table} IN SHARE MODE`);
  return async () => holder[Symbol.asyncDispose]();
};
const lockRow = async () => {
  const holder = await openSession(service.database.urls.superuser);
  // A row in the middle: those before it are gone in the transaction that is stopped.
  await holder.run('BEGIN; SELECT FROM public.audit_entries ORDER BY chain_index OFFSET 100 LIMIT 1 FOR UPDATE');
  return async () => holder[Symbol.asyncDispose]();
};
const lockArchive = async () => {
  const holder = await openSession(service.database.urls.superuser);
  await holder.run('BEGIN; SELECT FROM public.log_archives ORDER BY number LIMIT 1 FOR UPDATE');
  return async () => holder[Symbol.asyncDispose]();
};
const lockStore = async () => {
  const lock = await lockFolder(join(store, '.daybook-lock'));
  if (lock === null) throw new Error('the store is locked already');
  return () => Promise.resolve(lock[Symbol.dispose]());
};

const waitsForLock = (statement: string) => () =>
  `SELECT count(*) FROM pg_stat_activity WHERE application_name <> '' AND wait_event_type = 'Lock'
     AND query LIKE '${statement}%'`;

interface Step {
  readonly what: string;
  readonly line: string;
  /** Holds the step up; gives what frees it. */
  readonly hold: () => Promise<() => Promise<void>>;
  /** A query that gives more than 0 once the step is reached. */
  readonly reached: () => string;
}

const archives = 'SELECT count(*) FROM public.log_archives';
const steps: readonly Step[] = [
  {
    what: 'before the object is written',
    line: 'retention',
    hold: lockStore,
    // It has read the entries and holds the archiver's lock, and asks nothing more before the object is there.
    reached: () => `SELECT count(*) FROM pg_stat_activity
      WHERE application_name = 'daybook archive' AND query LIKE 'SELECT body%' AND state = 'idle'`,
  },
  {
    what: 'written and verified, not on record',
    line: 'retention',
    hold: lockTable('log_archives'),
    reached: waitsForLock('INSERT INTO public.log_archives'),
  },
  {
    what: 'the receipt is to be written',
    line: 'retention',
    hold: lockTable('ledger_purges'),
    reached: waitsForLock('SELECT daybook.purge_entries'),
  },
  {
    what: 'some rows are gone',
    line: 'retention',
    hold: lockRow,
    reached: waitsForLock('SELECT daybook.purge_entries'),
  },
  {
    what: 'copies are to come in',
    line: '0-99999',
    hold: lockTable('restored_entries'),
    reached: waitsForLock('INSERT INTO public.restored_entries'),
  },
];
const lastSteps: readonly Step[] = [
  {
    what: 'an archive is to be given up',
    line: 'retention',
    hold: lockArchive,
    reached: waitsForLock('UPDATE public.log_archives'),
  },
  {
    what: 'it is given up, its object is there',
    line: 'retention',
    hold: lockStore,
    reached: () => `${archives} WHERE removed_at IS NOT NULL`,
  },
];

/** Does a step in a process that dies in the middle of it. */
async function killIn({ what, line, hold, reached }: Step, child: ChildProcess): Promise<void> {
  const free = await hold();
  try {
    child.stdin?.write(`${line}\n`);
    await waitUntil(`it is reached that ${what}`, async () => Number(await superuser.value(reached())) > 0);
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  } finally {
    await free();
  }
}

async function finish(line: string, child: ChildProcess & { answer: Promise<string> }): Promise<unknown> {
  child.stdin?.write(`${line}\n`);
  return JSON.parse(await child.answer) as unknown;
}

test('a node that is killed at any step, two at once, and entries that go on being recorded leave one whole log', async () => {
  await using writer = new LedgerWriter({
    url: service.database.urls.application,
    queueRowsMax: 5_000,
    log: pino({ level: 'silent' }),
  });
  let [done, recorded] = [false, 0];
  const recording = (async () => {
    while (!done) {
      try {
        await writer.append({ entries: [sampleEntry(`order ${(recorded += 1)}`)] });
      } catch (error) {
        // A step that is held up under the ledger lock holds up whoever appends.
        if ((error as { retryable?: boolean }).retryable !== true) throw error;
      }
    }
  })();
  try {
    const starting = steps.map(({ what }) => startProcess(what));
    const pair = [startProcess('left'), startProcess('right')];
    for (const [place, step] of steps.entries()) {
      await fillLog(service, 600, step.what);
      await killIn(step, await starting[place]!);
    }
    await fillLog(service, 1_000, 'two at once');
    const both = await Promise.all(pair.map(async (child) => finish('retention', await child)));
    expect(both).toHaveLength(2);
    await expectLedgerIntact(service.database.urls.auditor);
    expect(await checkInFull(service)).toMatchObject({ result: 'OK', breaks: [] });
    const removed = Number(await superuser.value('SELECT max(first_kept_index) FROM public.ledger_purges'));
    expect(removed).toBeGreaterThan(2_000);
    expect(Number(await superuser.value('SELECT max(last_index) + 1 FROM public.log_archives'))).toBeGreaterThanOrEqual(
      removed,
    );

    const copying = await startProcess('copying');
    expect(await finish(`0-${removed - 1}`, copying)).toEqual(expect.arrayContaining(['RESTORED']));
    expect(Number(await superuser.value('SELECT count(*) FROM public.restored_entries'))).toBe(removed);

    await using migrator = await openSession(service.database.urls.migrator);
    await migrator.run(`SELECT daybook.set_retention('0.864 seconds', '1 second')`);
    const last = [startProcess('giving up'), startProcess('given up'), startProcess('at last')];
    for (const [place, step] of lastSteps.entries()) await killIn(step, await last[place]!);
    await finish('retention', await last[2]!);
  } finally {
    done = true;
    await recording;
  }
  const kept = Number(await superuser.value(`${archives} WHERE removed_at IS NULL`));
  const onDisk = (await readdir(join(store, 'archives/audit'))).filter((name) => name.endsWith('.gz'));
  const known = (await superuser.run('SELECT object_key AS key FROM public.log_archives WHERE removed_at IS NULL')).map(
    ({ key }) => String(key).split('/').at(-1),
  );
  expect(onDisk.filter((name) => known.includes(name))).toHaveLength(kept);
  const gone = await superuser.run('SELECT object_key AS key FROM public.log_archives WHERE removed_at IS NOT NULL');
  expect(gone.length).toBeGreaterThan(2);
  expect(gone.filter(({ key }) => onDisk.includes(String(key).split('/').at(-1)!))).toEqual([]);
  await expectLedgerIntact(service.database.urls.auditor);
  expect(await checkInFull(service)).toMatchObject({ result: 'OK', breaks: [] });
}, 120_000);
