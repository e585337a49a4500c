import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { BreakList, type LogBreak } from '../../src/core/log-breaks.js';
import { verifyAttempts } from '../../src/integrity/verify-attempts.js';
import { withSnapshot } from '../../src/ledger/verify-snapshot.js';
import { asIntruder } from '../support/integrity-baseline.js';
import { expectRefusedOnce, reconcile } from '../support/refused-attempts.js';
import { insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

let database: TestDatabase;
let application: SqlSession;
let service: SqlSession;

async function findBreaks(): Promise<readonly LogBreak[]> {
  const breaks = new BreakList();
  await withSnapshot({ url: database.urls.auditor }, (client) => verifyAttempts(client, breaks));
  expect(breaks.count).toBe(breaks.first.length);
  return breaks.first;
}

beforeAll(async () => {
  database = await createTestDatabase();
  application = await openSession(database.urls.application);
  service = await openSession(database.urls.application);
  await application.run(insertSignalsSql(3, 'a "quoted" \\ note, ünïcödé 😀'));
});

afterAll(async () => {
  await application[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

describe('refused modifications and their entries', () => {
  test.each([
    ['an update', `UPDATE public.signals SET strategy = E'line\\nbreak "quoted" 😀' WHERE chain_index = 1`],
    ['an update of no row', 'UPDATE public.signals SET strategy = NULL WHERE false'],
    ['a deletion through the view', `DELETE FROM public.signal_audit_log /* ünïcödé */`],
    ['an update of an audit entry', `UPDATE public.audit_entries SET details = '{"b":1,"a":[null,"\\u00e9"]}'`],
    ['a truncation', 'TRUNCATE public.audit_entries'],
    ['an update of a long text', `UPDATE public.signals SET rationale = repeat('long ', 9000) WHERE chain_index = 0`],
    ['an update of a key', `UPDATE public.signals SET producer = 'x' -- password=hunter2`],
  ])('belong together after %s', async (_, sql) => {
    await expectRefusedOnce(application, service, sql);
    expect(await findBreaks()).toEqual([]);
  });

  test('belong together where the record could not be written', async () => {
    await using superuser = await openSession(database.urls.superuser);
    await superuser.run("SELECT nextval('public.modification_attempt_number')");
    await reconcile(service);
    await superuser.run(
      `UPDATE public.modification_watch SET gap_first_seen_at = gap_first_seen_at - interval '1 minute'`,
    );
    expect(await reconcile(service)).toMatchObject([{ details: { recorded: false } }]);
    expect(await findBreaks()).toEqual([]);
  });
});

describe('an entry that the application invented', () => {
  const forge = async (details: string) =>
    Number(
      await application.value(
        `INSERT INTO public.audit_entries (category, event, resource, actor, details)
         VALUES ('INTEGRITY', 'ModificationRefused', 'signals', 'innocent', $1) RETURNING chain_index`,
        [details],
      ),
    );

  test.each([
    ['of an attempt that was never made', '{"attempt":"4711","operation":"UPDATE","recorded":true}'],
    ['of an attempt that has its entry', '{"attempt":"1","operation":"UPDATE","recorded":true}'],
    ['of a number that was never drawn', '{"attempt":"4711","operation":"unknown","recorded":false}'],
    ['of a number that is none', '{"attempt":"many","operation":"unknown","recorded":false}'],
    ['that does not say whether it was recorded', '{"attempt":"1"}'],
  ])('is found: %s', async (_, details) => {
    const before = await findBreaks();
    const index = await forge(details);
    expect((await findBreaks()).filter((one) => !before.some((other) => other.index === one.index))).toEqual([
      { code: 'ATTEMPT_UNEXPLAINED', index, message: expect.stringContaining('led to this entry') as unknown },
    ]);
  });
});

test('an attempt that was altered behind its entry is found', async () => {
  const entry = await expectRefusedOnce(application, service, 'DELETE FROM public.signals');
  const before = await findBreaks();
  await using superuser = await openSession(database.urls.superuser, asIntruder);
  await superuser.run(`ALTER TABLE public.modification_attempts DISABLE TRIGGER USER;
    UPDATE public.modification_attempts SET session_user_name = 'innocent' WHERE audit_index = ${entry.index};
    ALTER TABLE public.modification_attempts ENABLE ALWAYS TRIGGER guard_attempts_trigger`);
  expect(await findBreaks()).toHaveLength(before.length + 1);
  expect(await findBreaks()).toContainEqual({
    code: 'ATTEMPT_UNEXPLAINED',
    index: entry.index,
    message: expect.stringContaining('is not what attempt') as unknown,
  });
});
