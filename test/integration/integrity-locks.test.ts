import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createPack } from '../../src/packs/create-packs.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { startTestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

/** Every lock of the service, with what takes it and what frees it. */
const locks: readonly (readonly [string, string])[] = [
  ['ledger', '7219460237150041'],
  ['provisioning', '7219460237150042'],
  ['refusal layers', '7219460237150043'],
  ['migrations', '7219460237150044'],
  ['signer of signals', '7219460237150045'],
  ['signer of audit', '7219460237150046'],
  ['publisher of signals', '7219460237150047'],
  ['publisher of audit', '7219460237150048'],
  ['anchors', '7219460237150049'],
  ['packs', '7219460237150053'],
  ['sink 1', '7219460237160001'],
  ['sink 70000', '7219460237230000'],
  ['retention', '7219460237150054'],
  ['archiver', '7219460237150055'],
  ['check SAMPLE', '721946049, 1'],
  ['check RECENT', '721946049, 2'],
  ['check FULL', '721946049, 3'],
];

let database: TestDatabase;
let application: SqlSession;

beforeAll(async () => {
  database = await createTestDatabase();
  application = await openSession(database.urls.application);
});

afterAll(async () => {
  await application[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** Names of the locks that somebody holds who should not, as the application sees it, with who it is. */
async function readHolders(): Promise<string[]> {
  const rows = await application.run('SELECT lock_name, user_name FROM daybook.foreign_lock_holders()');
  return rows.map(({ lock_name: name, user_name: user }) => `${String(name)} by ${String(user)}`).sort();
}

const origin = { actor: 'test', role: null, ipAddress: null, userAgent: null, sessionId: 'test', requestId: 'test' };

/** Who holds the lock of a number that is not two. */
const holderOf = (lock: bigint) => `SELECT usename FROM pg_locks JOIN pg_stat_activity USING (pid)
  WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = ${lock}`;

describe('a lock of the service is shown', () => {
  test.each(locks)('when the auditor holds it: %s', async (name, numbers) => {
    await using auditor = await openSession(database.urls.auditor);
    await auditor.run(`SELECT pg_advisory_lock(${numbers})`);
    expect(await readHolders()).toEqual([`${name} by daybook_auditor`]);
    await auditor.run(`SELECT pg_advisory_unlock(${numbers}); BEGIN; SELECT pg_advisory_xact_lock(${numbers})`);
    expect(await readHolders()).toEqual([`${name} by daybook_auditor`]);
    await auditor.run('ROLLBACK');
    expect(await readHolders()).toEqual([]);
  });

  test('when any other login holds it, also one that makes many short transactions', async () => {
    await using writer = await openSession(database.urls.attemptWriter);
    await writer.run('SELECT pg_advisory_lock_shared(7219460237150045)');
    for (let turn = 0; turn < 3; turn += 1) {
      await writer.run('BEGIN; SELECT 1; COMMIT');
      expect(await readHolders()).toEqual(['signer of signals by daybook_attempt_writer']);
    }
  });

  test('when the application holds it for longer than its work takes', async () => {
    await using other = await openSession(database.urls.application);
    await other.run('BEGIN; SELECT daybook.lock_ledger()');
    expect(await readHolders()).toEqual([]);
    await waitUntil('five seconds have passed', async () => (await readHolders()).length > 0);
    expect(await readHolders()).toEqual(['ledger by daybook_application_a']);
    expect(await application.value('SELECT held_seconds > 4 FROM daybook.foreign_lock_holders()')).toBe(true);
  });

  test('when somebody has waited for it so long, whoever holds it', async () => {
    await using holder = await openSession(database.urls.superuser);
    await using waiter = await openSession(database.urls.application);
    await holder.run('BEGIN; SELECT daybook.lock_ledger()');
    const waiting = waiter.run('SELECT pg_advisory_lock(7219460237150041)');
    const [shown] = await waitUntil('five seconds have passed', async () => {
      const holders = await readHolders();
      return holders.length > 0 ? holders : null;
    });
    expect(shown).toMatch(/^ledger by /);
    await holder.run('ROLLBACK');
    await waiting;
  });
});

test('whoever migrates or provisions is no stranger', async () => {
  await using migrator = await openSession(database.urls.migrator);
  await migrator.run('SELECT pg_advisory_lock(7219460237150044); SELECT pg_advisory_lock(7219460237150043)');
  await using superuser = await openSession(database.urls.superuser);
  await superuser.run('SELECT pg_advisory_lock(7219460237150042)');
  expect(await readHolders()).toEqual([]);
});

test('other locks, and those of other databases, are nobody’s business', async () => {
  await using auditor = await openSession(database.urls.auditor);
  await auditor.run(
    `SELECT pg_advisory_lock(lock) FROM unnest(ARRAY[1, 7219460237150040, 7219460237160000, 7219460237260001]) AS lock;
     SELECT pg_advisory_lock(721946049, 4)`,
  );
  await using other = await createTestDatabase();
  await using elsewhere = await openSession(other.urls.auditor);
  await elsewhere.run('SELECT pg_advisory_lock(7219460237150041)');
  expect(await readHolders()).toEqual([]);
});

test('a pack in the making holds its lock as the application', async () => {
  await using service = await startTestService({ database, environment: { DAYBOOK_JOBS: 'off' } });
  const { packs, clock } = service.context.services;
  const seen: Promise<unknown>[] = [];
  const pack = await createPack(packs, {
    date: new Date(clock.nowMs()).toISOString().slice(0, 10),
    kind: 'PARTIAL',
    origin,
    signal: new AbortController().signal,
    onProgress: () => seen.push(application.value(holderOf(7219460237150053n)), readHolders()),
  });
  expect(pack.kind).toBe('PARTIAL');
  expect((await Promise.all(seen)).slice(0, 2)).toEqual(['daybook_application_a', []]);
});

test('a check in progress holds its lock as the application, and health tells of a stranger’s lock', async () => {
  await using service = await startTestService({ database });
  const health = async () => ((await (await fetch(`${service.url}/health/detailed`)).json()) as any).checks.ledgerLock;
  const seen: Promise<string>[] = [];
  const holder = `SELECT usename FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND objid = 3 AND objsubid = 2`;
  const check = await service.context.services.integrity.run({
    kind: 'FULL',
    origin,
    append: service.context.append,
    onProgress: () => seen.push(application.value(holder).then(String), readHolders().then(String)),
  });
  expect(check.result).toBe('OK');
  expect((await Promise.all(seen)).slice(0, 2)).toEqual(['daybook_application_a', '']);
  expect(await health()).toMatchObject({ status: 'ok' });
  await using auditor = await openSession(database.urls.auditor);
  await auditor.run('SELECT pg_advisory_lock(7219460237150045)');
  expect(await health()).toMatchObject({
    status: 'failed',
    heldLong: [{ lock: 'signer of signals', user: 'daybook_auditor', pid: expect.any(Number) }],
  });
});
