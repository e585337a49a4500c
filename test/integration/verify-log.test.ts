import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { genesisHash } from '../../src/core/hash-entry.js';
import { ledgerConnection } from '../../src/db/pool.js';
import { breaksKeptMax } from '../../src/core/log-breaks.js';
import { verifyLog, verifyLogs, type VerifyProgress } from '../../src/ledger/verify-log.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertEntriesSql, insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

let database: TestDatabase;
let superuser: SqlSession;

beforeEach(async () => {
  database = await createTestDatabase();
  superuser = await openSession(database.urls.superuser);
  await using application = await openSession(database.urls.application);
  for (let round = 0; round < 6; round += 1) await application.run(insertSignalsSql(1, `round ${round}`));
  await application.run(insertEntriesSql(6));
  await expectLedgerIntact(database.urls.auditor);
});

afterEach(async () => {
  await superuser[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** What somebody with every right can do: switch all guards off, change rows, and switch them on again. */
async function tamper(sql: string): Promise<void> {
  const guards = (state: string) =>
    ['signals', 'audit_entries'].map((table) => `ALTER TABLE public.${table} ${state} TRIGGER USER`).join(';');
  await superuser.run(`SET event_triggers = off; BEGIN; ${guards('DISABLE')}; ${sql}; ${guards('ENABLE')}; COMMIT`);
}

/** All breaks as `log index code`, those of signals first. */
async function findBreaks(): Promise<string[]> {
  const verifications = await verifyLogs({ source: { url: database.urls.auditor }, logs: ['signals', 'audit'] });
  return verifications.flatMap(({ log, breaks }) => breaks.map(({ code, index }) => `${log} ${index} ${code}`));
}

/** SQL that makes the rows of signals from `first` on agree with each other again. */
const rechain = (first: number) => `DO $$
  DECLARE signal record; previous bytea;
  BEGIN
    FOR signal IN SELECT * FROM public.signals WHERE chain_index >= ${first} ORDER BY chain_index LOOP
      SELECT chain_hash INTO previous FROM public.signals WHERE chain_index = signal.chain_index - 1;
      UPDATE public.signals SET
        verification_hash = sha256('\\x00'::bytea || convert_to(body, 'UTF8')),
        previous_hash = coalesce(previous, decode(repeat('00', 32), 'hex')),
        chain_hash = sha256('\\x02'::bytea || coalesce(previous, decode(repeat('00', 32), 'hex'))
          || sha256('\\x00'::bytea || convert_to(body, 'UTF8')))
      WHERE chain_index = signal.chain_index;
    END LOOP;
  END $$`;
const bodyPrice = `body = replace(body, '"entryPrice":"100.5"', '"entryPrice":"1"')`;
const leaf = (body: string) => `sha256('\\x00'::bytea || convert_to(${body}, 'UTF8'))`;
const changedBody = bodyPrice.slice('body = '.length);

describe('verification finds', () => {
  const cases: [string, string, string[]][] = [
    [
      'a changed value',
      `UPDATE public.signals SET entry_price = 1 WHERE chain_index = 2`,
      ['signals 2 COLUMN_MISMATCH', 'signals 2 ROW_REWRITTEN'],
    ],
    [
      'a changed body',
      `UPDATE public.signals SET ${bodyPrice} WHERE chain_index = 2`,
      ['signals 2 BODY_HASH_MISMATCH', 'signals 2 COLUMN_MISMATCH', 'signals 2 ROW_REWRITTEN'],
    ],
    [
      'a changed body with its hash',
      `UPDATE public.signals SET ${bodyPrice}, verification_hash = ${leaf(changedBody)} WHERE chain_index = 2`,
      [
        'signals 2 COLUMN_MISMATCH',
        'signals 2 CHAIN_BREAK',
        'signals 2 ROW_REWRITTEN',
        'signals 2 SIGNAL_ENTRY_MISSING',
        'audit 2 SIGNAL_MISSING',
      ],
    ],
    [
      'a changed value with body and hash',
      `UPDATE public.signals SET entry_price = 1, ${bodyPrice}, verification_hash = ${leaf(changedBody)}
       WHERE chain_index = 2`,
      ['signals 2 CHAIN_BREAK', 'signals 2 ROW_REWRITTEN', 'signals 2 SIGNAL_ENTRY_MISSING', 'audit 2 SIGNAL_MISSING'],
    ],
    [
      'a changed value with body, hash and link',
      `UPDATE public.signals SET entry_price = 1, ${bodyPrice}, verification_hash = ${leaf(changedBody)},
         chain_hash = sha256('\\x02'::bytea || previous_hash || ${leaf(changedBody)}) WHERE chain_index = 2`,
      ['signals 2 ROW_REWRITTEN', 'signals 2 SIGNAL_ENTRY_MISSING', 'signals 3 CHAIN_BREAK', 'audit 2 SIGNAL_MISSING'],
    ],
    [
      'a changed value with the whole chain after it',
      `UPDATE public.signals SET entry_price = 1, ${bodyPrice} WHERE chain_index = 4; ${rechain(4)}`,
      [
        'signals 4 ROW_REWRITTEN',
        'signals 4 SIGNAL_ENTRY_MISSING',
        'signals 5 ROW_REWRITTEN',
        'audit 4 SIGNAL_MISSING',
      ],
    ],
    [
      'a value written anew as it was',
      `UPDATE public.audit_entries SET outcome = outcome WHERE chain_index = 7`,
      ['audit 7 ROW_REWRITTEN'],
    ],
    [
      'a row written anew, its transaction id forged with it',
      `UPDATE public.signals SET xid = pg_current_xact_id() WHERE chain_index = 2`,
      ['signals 2 ROW_REWRITTEN'],
    ],
    [
      'an announcement written anew, its transaction id forged with it',
      `UPDATE public.audit_entries SET xid = pg_current_xact_id() WHERE chain_index = 2`,
      ['signals 2 ROW_REWRITTEN'],
    ],
    [
      'a changed retention date',
      `UPDATE public.signals SET retention_expires_at = server_timestamp WHERE chain_index = 0`,
      ['signals 0 COLUMN_MISMATCH', 'signals 0 ROW_REWRITTEN'],
    ],
    [
      'a changed latency',
      `UPDATE public.signals SET generation_latency_ms = 0.001 WHERE chain_index = 0`,
      ['signals 0 COLUMN_MISMATCH', 'signals 0 ROW_REWRITTEN'],
    ],
    [
      'a row removed from the middle',
      `DELETE FROM public.signals WHERE chain_index = 2`,
      ['signals 2 INDEX_GAP', 'audit 2 SIGNAL_MISSING'],
    ],
    [
      'rows removed from the start',
      `DELETE FROM public.audit_entries WHERE chain_index < 2`,
      ['signals 0 SIGNAL_ENTRY_MISSING', 'signals 1 SIGNAL_ENTRY_MISSING', 'audit 0 INDEX_GAP'],
    ],
    ['the last signal removed', `DELETE FROM public.signals WHERE chain_index = 5`, ['audit 5 SIGNAL_MISSING']],
    [
      'a row removed and the others moved up',
      `DELETE FROM public.audit_entries WHERE chain_index = 10;
       UPDATE public.audit_entries SET chain_index = 10 WHERE chain_index = 11`,
      ['audit 10 CHAIN_BREAK', 'audit 10 ROW_REWRITTEN'],
    ],
    [
      'two rows in each other’s place',
      `UPDATE public.audit_entries SET chain_index = -1 WHERE chain_index = 7;
       UPDATE public.audit_entries SET chain_index = 7 WHERE chain_index = 8;
       UPDATE public.audit_entries SET chain_index = 8 WHERE chain_index = -1`,
      [
        'audit 7 CHAIN_BREAK',
        'audit 7 ROW_REWRITTEN',
        'audit 8 CHAIN_BREAK',
        'audit 8 ROW_REWRITTEN',
        'audit 9 CHAIN_BREAK',
      ],
    ],
    [
      'a row inserted behind the last',
      `CREATE TEMP TABLE forged AS SELECT * FROM public.signals WHERE chain_index = 5;
       UPDATE forged SET chain_index = 6, signal_id = 'forged', previous_hash = chain_hash, xid = pg_current_xact_id(),
         body = replace(body, signal_id, 'forged');
       UPDATE forged SET verification_hash = ${leaf('body')};
       UPDATE forged SET chain_hash = sha256('\\x02'::bytea || previous_hash || verification_hash);
       INSERT INTO public.signals TABLE forged`,
      ['signals 6 SIGNAL_ENTRY_MISSING'],
    ],
    [
      'a row copied to a place before the first',
      `CREATE TEMP TABLE copied AS SELECT * FROM public.audit_entries WHERE chain_index = 9;
       UPDATE copied SET chain_index = -1, id = gen_random_uuid();
       INSERT INTO public.audit_entries TABLE copied`,
      [
        'audit -1 INDEX_GAP',
        'audit -1 COLUMN_MISMATCH',
        'audit -1 CHAIN_BREAK',
        'audit -1 ROW_REWRITTEN',
        'audit 0 CHAIN_BREAK',
        'audit 0 TIME_DISORDER',
      ],
    ],
    [
      'an announcement of a signal taken from another entry',
      `UPDATE public.audit_entries SET signal_id = (SELECT signal_id FROM public.signals WHERE chain_index = 3)
       WHERE chain_index = 4`,
      ['signals 4 SIGNAL_ENTRY_MISSING', 'audit 4 COLUMN_MISMATCH', 'audit 4 ROW_REWRITTEN', 'audit 4 SIGNAL_MISSING'],
    ],
  ];

  test.each(cases)('%s', async (_, sql, expected) => {
    await tamper(sql);
    expect(await findBreaks()).toEqual(expected);
  });

  test('a recording time moved before its predecessor, in a log chained anew', async () => {
    await tamper(`
      UPDATE public.signals SET server_timestamp = server_timestamp - interval '1 hour',
        generated_at = generated_at - interval '1 hour', retention_expires_at = retention_expires_at - interval '1 hour'
        WHERE chain_index = 3;
      UPDATE public.signals SET body = regexp_replace(regexp_replace(body,
          '"generatedAt":"[^"]*"', '"generatedAt":"' || daybook.format_time(generated_at) || '"'),
          '"serverTimestamp":"[^"]*"', '"serverTimestamp":"' || daybook.format_time(server_timestamp) || '"')
        WHERE chain_index = 3;
      ${rechain(3)}`);
    expect(await findBreaks()).toContain('signals 3 TIME_DISORDER');
    expect((await findBreaks())[0]).toBe('signals 3 TIME_DISORDER');
  });

  test('the column, whichever it is', async () => {
    const changes = {
      symbol: `'X'`,
      action: `'SELL'`,
      target_price: '7',
      stop_loss: '7',
      confidence: '0.1',
      strategy: `'other'`,
      rationale: `'Another rationale than the one that was recorded'`,
      rationale_origin: `'MODEL'`,
      producer: `'someone else'`,
      ip_address: `'::1'`,
      session_id: `'s'`,
      request_id: `'r'`,
      idempotency_key: `'k'`,
      input_hash: `'\\x00'`,
      generated_at: `generated_at - interval '1 microsecond'`,
    };
    for (const [column, value] of Object.entries(changes)) {
      await tamper(`CREATE TEMP TABLE kept AS SELECT * FROM public.signals WHERE chain_index = 1;
        UPDATE public.signals SET ${column} = ${value} WHERE chain_index = 1`);
      const { firstBreak } = await verifyLog({ source: { url: database.urls.auditor }, log: 'signals' });
      expect(firstBreak).toMatchObject({ code: 'COLUMN_MISMATCH', index: 1 });
      expect(firstBreak?.message).toContain(`column ${column} `);
      await tamper(`UPDATE public.signals SET ${column} = kept.${column} FROM kept WHERE kept.signal_id = signals.signal_id;
        DROP TABLE kept`);
    }
  });

  test('details that were not canonical when they were appended', async () => {
    await using application = await openSession(database.urls.application, `SET daybook.canonical = 'on'`);
    for (const details of [
      '{"b":1,"a":2}',
      '{ }',
      '{"a":1.5}',
      '{"a":1,"a":1}',
      '{"a":"\\ud800"}',
      '{"a":"\\u0041"}',
    ]) {
      await application.run(
        `INSERT INTO public.audit_entries (category, event, details) VALUES ('ORDER', 'OrderOdd', $1)`,
        [details],
      );
    }
    await application.run(
      `INSERT INTO public.audit_entries (category, event, details) VALUES ('ORDER', 'OrderEven', '{"10":1,"9":{"":[]}}')`,
    );
    expect(await findBreaks()).toEqual([12, 13, 14, 15, 16, 17].map((index) => `audit ${index} BODY_NOT_CANONICAL`));
  });

  test('rows of a child table', async () => {
    await tamper(`CREATE TABLE public.more () INHERITS (public.signals); GRANT SELECT ON public.more TO PUBLIC;
      INSERT INTO public.more SELECT * FROM public.signals WHERE chain_index = 1`);
    expect((await findBreaks())[0]).toBe('signals 1 INDEX_GAP');
  });
});

describe('verification', () => {
  test('does not pass over rows that a policy hides: it fails', async () => {
    await tamper(`CREATE POLICY hide ON public.signals USING (chain_index < 3);
      ALTER TABLE public.signals ENABLE ROW LEVEL SECURITY`);
    await expect(verifyLog({ source: { url: database.urls.auditor }, log: 'signals' })).rejects.toMatchObject({
      code: '42501',
    });
  });

  test('keeps the first breaks, counts all, and reports its progress', async () => {
    await using application = await openSession(database.urls.application);
    await application.run(insertSignalsSql(5_000, 'many'));
    await tamper(`UPDATE public.signals SET strategy = 'altered' WHERE chain_index >= 100`);
    const progress: VerifyProgress[] = [];
    const found = await verifyLog({
      source: { url: database.urls.auditor },
      log: 'signals',
      onProgress: (state) => progress.push(state),
    });
    expect(found).toMatchObject({
      entries: 5_006,
      breakCount: 2 * 4_906,
      firstBreak: { code: 'COLUMN_MISMATCH', index: 100 },
    });
    expect(found.breaks).toHaveLength(breaksKeptMax);
    expect(progress.at(-1)).toEqual({ log: 'signals', checked: 5_006, total: 5_006 });
    expect(progress.length).toBeGreaterThan(1);
  });

  test('sees both logs as they stood at one moment, while others append', async () => {
    await using writer = await openSession(database.urls.application);
    let stop = false;
    const writing = (async () => {
      while (!stop) await writer.run(insertSignalsSql(20, 'meanwhile'));
    })();
    try {
      for (let round = 0; round < 5; round += 1) await expectLedgerIntact(database.urls.auditor);
    } finally {
      stop = true;
      await writing;
    }
  });

  test('of savepoints takes those that were recorded, by thousands', async () => {
    await using application = await openSession(database.urls.application);
    await application.run(`DO $$ BEGIN FOR number IN 1..1500 LOOP BEGIN
      INSERT INTO public.audit_entries (category, event) VALUES ('ORDER', 'OrderCaught');
      EXCEPTION WHEN unique_violation THEN NULL; END; END LOOP; END $$`);
    await expectLedgerIntact(database.urls.auditor);
    await tamper(`UPDATE public.audit_entries SET outcome = outcome WHERE chain_index = 1000`);
    expect(await findBreaks()).toEqual(['audit 1000 ROW_REWRITTEN']);
  });

  test('takes a signal and its entry for one transaction’s, also under savepoints of it', async () => {
    await using application = await openSession(database.urls.application);
    await application.run(`BEGIN; ${insertSignalsSql(2, 'outer')}; SAVEPOINT one; ${insertSignalsSql(2, 'inner')};
      SAVEPOINT two; ${insertSignalsSql(2, 'innermost')}; RELEASE two; ROLLBACK TO one; ${insertSignalsSql(2, 'again')};
      COMMIT`);
    await expectLedgerIntact(database.urls.auditor);
  });

  test('ends when it is told to, and leaves the connection usable', async () => {
    const client = new pg.Client(ledgerConnection(database.urls.auditor, 'test'));
    await client.connect();
    const abort = new AbortController();
    abort.abort(new Error('enough'));
    await expect(verifyLog({ source: { client }, log: 'audit', signal: abort.signal })).rejects.toThrow('enough');
    expect(await verifyLog({ source: { client }, log: 'audit' })).toMatchObject({ entries: 12, firstBreak: null });
    await client.end();
  });

  test('of an empty log gives 64 zeros as its head', async () => {
    await using empty = await createTestDatabase();
    const found = await verifyLog({ source: { url: empty.urls.auditor }, log: 'signals' });
    expect(found).toMatchObject({ entries: 0, headChainHash: genesisHash, firstBreak: null });
  });
});
