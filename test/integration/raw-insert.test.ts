import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { roles } from '../../src/db/roles.js';
import { verifyLog } from '../../src/ledger/verify-log.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertEntriesSql, insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

let database: TestDatabase;
let session: SqlSession;

beforeAll(async () => {
  database = await createTestDatabase();
  session = await openSession(database.urls.application);
});

afterAll(async () => {
  await expectLedgerIntact(database.urls.auditor);
  await session[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

async function counts(): Promise<unknown> {
  return session.run(
    `SELECT (SELECT count(*)::int FROM public.signals) AS signals,
            (SELECT count(*)::int FROM public.audit_entries) AS entries`,
  );
}

/** The statement is refused with `code` and both logs stay as they were. */
async function expectRefused(sql: string, code: string): Promise<void> {
  const before = await counts();
  expect((await session.failure(sql)).code).toBe(code);
  await session.run('ROLLBACK');
  expect(await counts()).toEqual(before);
}

describe('an INSERT with nothing but business columns', () => {
  test('gets index, times, body, hashes and link, and leaves its audit entry', async () => {
    await session.run(insertSignalsSql(3, 'first'));
    const rows = await session.run(
      `SELECT chain_index::int AS index, session_id LIKE 'postgres:%' AS named, ip_address, producer,
              generated_at = server_timestamp AS generated, generation_latency_ms::text AS latency,
              retention_expires_at = server_timestamp + interval '7 years' AS kept,
              verification_hash = sha256('\\x00'::bytea || convert_to(body, 'UTF8')) AS hashed,
              chain_hash = sha256('\\x02'::bytea || previous_hash || verification_hash) AS linked,
              xid = xmin::text::xid8 AS own
       FROM public.signals WHERE rationale LIKE '%first%' ORDER BY chain_index`,
    );
    const first = rows[0]?.index as number;
    expect(rows).toEqual(
      [0, 1, 2].map((offset) => ({
        index: first + offset,
        named: true,
        ip_address: '127.0.0.1',
        producer: 'desk',
        generated: true,
        latency: '0',
        kept: true,
        hashed: true,
        linked: true,
        own: true,
      })),
    );
    const entries = await session.run(
      `SELECT signal.chain_index::int AS index, entry.action, entry.actor, entry.details ->> 'databaseUser' AS login
       FROM public.signals AS signal JOIN public.audit_entries AS entry USING (signal_id)
       WHERE signal.rationale LIKE '%first%' AND entry.event = 'SignalCreated'
         AND entry.details ->> 'chainIndex' = signal.chain_index::text
         AND entry.details ->> 'verificationHash' = encode(signal.verification_hash, 'hex')
       ORDER BY entry.chain_index`,
    );
    expect(entries).toEqual(
      [0, 1, 2].map((offset) => ({
        index: first + offset,
        action: 'CREATE',
        actor: 'desk',
        login: roles.application,
      })),
    );
  });

  test('names the database user where no producer or actor is given', async () => {
    await session.run(
      `INSERT INTO public.signals (symbol, action, entry_price, confidence, rationale)
       VALUES ('ETH-USD', 'HOLD', 1, 0, 'No producer is named in this statement')`,
    );
    await session.run(`INSERT INTO public.audit_entries (category, event) VALUES ('ALERT', 'AlertRaised')`);
    expect(await session.value(`SELECT producer FROM public.signals WHERE symbol = 'ETH-USD'`)).toBe(roles.application);
    expect(await session.value(`SELECT actor FROM public.audit_entries WHERE event = 'AlertRaised'`)).toBe(
      roles.application,
    );
  });

  test('is taken from COPY too', async () => {
    await session.run('BEGIN');
    await session.run(insertSignalsSql(1, 'before a copy'));
    await session.run('COMMIT');
    await session.run(`CREATE TEMP TABLE source (symbol text, action text, entry_price numeric, confidence numeric,
      rationale text, producer text)`);
    await session.run(`INSERT INTO source SELECT 'SOL-USD', 'SELL', 20, 1, 'Copied from another table, row ' || n, 'desk'
      FROM generate_series(1, 5) AS n`);
    await session.run(`INSERT INTO public.signals (symbol, action, entry_price, confidence, rationale, producer)
      TABLE source`);
    expect(await session.value(`SELECT count(*)::int FROM public.signals WHERE symbol = 'SOL-USD'`)).toBe(5);
  });

  test('may give columns of the ledger, which are overwritten', async () => {
    const [row] = await session.run(
      `INSERT INTO public.signals (symbol, action, entry_price, confidence, rationale, producer, chain_index, body,
         verification_hash, previous_hash, chain_hash, xid, server_timestamp, generation_latency_ms, retention_expires_at)
       VALUES ('ADA-USD', 'BUY', 1, 1, 'All columns of the ledger are forged here', 'desk', 4711, '{}', '\\x00', '\\x00',
         '\\x00', '1', '2001-01-01', 99, '2002-01-01')
       RETURNING chain_index = (SELECT max(chain_index) + 1 FROM public.signals) AS next, body LIKE '{"action":"BUY",%' AS body,
         octet_length(chain_hash) AS bytes, server_timestamp > now() - interval '1 minute' AS timely,
         generation_latency_ms::int AS latency, retention_expires_at > now() + interval '6 years' AS kept`,
    );
    expect(row).toEqual({ next: true, body: true, bytes: 32, timely: true, latency: 0, kept: true });
    await session.run(
      `INSERT INTO public.audit_entries (category, event, chain_index, recorded_at, body, chain_hash)
       VALUES ('CONFIG', 'ConfigForged', -5, '2001-01-01', 'x', '\\xff')`,
    );
    expect(
      await session.value(
        `SELECT recorded_at > now() - interval '1 minute' FROM public.audit_entries WHERE event = 'ConfigForged'`,
      ),
    ).toBe(true);
  });

  test('canonicalises details, and keeps what is hashed', async () => {
    await session.run(
      `INSERT INTO public.audit_entries (category, event, details)
       VALUES ('CONFIG', 'ConfigChanged', '{ "b" : [1, 2.0, {"z": null, "a": true}], "a" : "\\u00e9\\/" }')`,
    );
    expect(await session.value(`SELECT details::text FROM public.audit_entries WHERE event = 'ConfigChanged'`)).toBe(
      '{"a":"é/","b":[1,2,{"a":true,"z":null}]}',
    );
  });
});

describe('a signal', () => {
  test.each([
    ['a price that is no number', `entry_price`, `'NaN'`],
    ['an infinite price', `entry_price`, `'Infinity'`],
    ['a price of 0', `entry_price`, `0`],
    ['a target with 19 decimals', `target_price`, `0.0000000000000000001`],
    ['a confidence above 1', `confidence`, `1.000001`],
    ['a rationale that repeats one character', `rationale`, `repeat('a', 40)`],
    ['a rationale of white space', `rationale`, `repeat(E' \\t', 40)`],
    ['an unknown action', `action`, `'SHORT'`],
    ['a symbol with a quote', `symbol`, `'A"B'`],
    ['a signal id with a line break at its end', `signal_id`, `E'abc\\n'`],
    ['a time more than five minutes ahead', `generated_at`, `now() + interval '6 minutes'`],
  ])('with %s is refused', async (_, column, value) => {
    const columns: Record<string, string> = {
      symbol: `'BTC-USD'`,
      action: `'BUY'`,
      entry_price: '1',
      confidence: '1',
      rationale: `'A rationale of more than twenty characters'`,
      [column]: value,
    };
    await expectRefused(
      `INSERT INTO public.signals (${Object.keys(columns).join(', ')}) VALUES (${Object.values(columns).join(', ')})`,
      '23514',
    );
  });

  test.each([
    ['before year 1', `'0044-03-15 BC'`],
    ['without end', `'-infinity'`],
  ])('generated %s is refused', async (_, time) => {
    await expectRefused(
      `INSERT INTO public.signals (symbol, action, entry_price, confidence, rationale, generated_at)
       VALUES ('BTC-USD', 'BUY', 1, 1, 'A rationale of more than twenty characters', ${time})`,
      '22008',
    );
  });

  test('supersedes only a recorded one, and only once', async () => {
    const insert = (id: string, supersedes: string) =>
      `INSERT INTO public.signals (signal_id, symbol, action, entry_price, confidence, rationale, supersedes)
       VALUES ('${id}', 'BTC-USD', 'SELL', 1, 1, 'It corrects the signal before it', ${supersedes})`;
    await session.run(insert('corrected', 'NULL'));
    await expectRefused(insert('stray', `'never recorded'`), 'DB003');
    await expectRefused(insert('own', `'own'`), 'DB003');
    await session.run(insert('correction', `'corrected'`));
    await expectRefused(insert('second', `'corrected'`), '23505');
  });
});

describe('the settings that carry the tail between rows', () => {
  const forge = (settings: Record<string, string>, source = '') =>
    `INSERT INTO public.audit_entries (category, event, resource)
     SELECT 'ORDER', 'OrderForged', concat(${Object.entries(settings)
       .map(([name, value]) => `set_config('daybook.audit_entries_${name}', ${value}, true)`)
       .join(', ')}) ${source}`;
  const zeros = `repeat('00', 32)`;

  test.each([
    ['a later index', forge({ index: `'4711'` }), 'DB004'],
    ['a later index with a chain of its own', forge({ index: `'4711'`, hash: zeros }), 'DB004'],
    ['an index below zero with a chain of its own', forge({ index: `'-9'`, hash: zeros }), 'DB004'],
    ['an index that is taken', forge({ index: `'0'` }), '23505'],
    ['a hash', forge({ hash: `repeat('ab', 32)` }), 'DB004'],
    ['a gap between its rows', forge({ index: `(9000 + n)::text` }, 'FROM generate_series(1, 3) AS n'), 'DB004'],
    ['an earlier time', forge({ time: `'2001-01-01T00:00:00.000000Z'` }), 'DB004'],
    ['a later time', forge({ time: `'2999-01-01T00:00:00.000000Z'` }), 'DB004'],
    [
      "the predecessor's time",
      forge({ time: `(SELECT recorded_at::text FROM public.audit_entries ORDER BY chain_index DESC LIMIT 1)` }),
      'DB004',
    ],
    ['a restore that nobody declared, and a time', forge({ restoring: `'on'`, time: `'2001-01-01'` }), 'DB004'],
  ])('cannot be forged inside a statement: %s is refused', async (_, sql, code) => {
    await session.run(insertEntriesSql());
    await expectRefused(sql, code);
  });

  test('cannot bring a time into the body in another form than the ledger writes', async () => {
    await session.run(forge({ time: `'now'` }));
    const body = await session.value(
      `SELECT body FROM public.audit_entries WHERE event = 'OrderForged' ORDER BY chain_index DESC LIMIT 1`,
    );
    expect((JSON.parse(body as string) as { recordedAt: string }).recordedAt).toMatch(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/,
    );
  });

  test('cannot be set beforehand: each statement reads the tail anew', async () => {
    await session.run(`SELECT set_config('daybook.audit_entries_index', '4711', false),
      set_config('daybook.audit_entries_hash', repeat('ab', 32), false), set_config('daybook.signals_index', '4711', false)`);
    await session.run(insertEntriesSql(2));
    await session.run(insertSignalsSql(2));
  });
});

describe('a transaction', () => {
  test.each(['REPEATABLE READ', 'SERIALIZABLE', 'READ UNCOMMITTED'])('under %s is refused', async (level) => {
    await expectRefused(`BEGIN ISOLATION LEVEL ${level}; ${insertSignalsSql()}`, 'DB002');
    await expectRefused(`BEGIN ISOLATION LEVEL ${level}; ${insertEntriesSql()}`, 'DB002');
  });

  test('that is rolled back leaves neither rows nor a gap', async () => {
    const before = await counts();
    await session.run(`BEGIN; ${insertSignalsSql(3)}; ${insertEntriesSql(3)}; ROLLBACK`);
    expect(await counts()).toEqual(before);
  });

  test('may use savepoints: their transaction ids are on record, those rolled back leave nothing', async () => {
    await session.run(`BEGIN; ${insertEntriesSql(1, 'outside')};
      SAVEPOINT kept; ${insertEntriesSql(2, 'kept')}; ${insertSignalsSql(2, 'kept')}; RELEASE kept;
      SAVEPOINT undone; ${insertEntriesSql(2, 'undone')}; ROLLBACK TO undone;
      SAVEPOINT outer_one; SAVEPOINT inner_one; ${insertEntriesSql(1, 'inner')}; COMMIT`);
    expect(
      await session.value(`SELECT count(*)::int FROM public.audit_entries WHERE details ->> 'note' = 'undone'`),
    ).toBe(0);
    expect(
      await session.value(`SELECT count(*)::int FROM public.audit_entries AS entry JOIN public.ledger_subxacts AS part
        ON log = 'audit' AND chain_index BETWEEN first_index AND last_index AND subxid = entry.xmin
        WHERE details ->> 'note' IN ('kept', 'inner')`),
    ).toBe(3);
    await expectLedgerIntact(database.urls.auditor);
  });

  test('may insert in PL/pgSQL blocks that catch errors', async () => {
    await session.run(`DO $$ BEGIN
      FOR number IN 1..3 LOOP
        BEGIN
          INSERT INTO public.audit_entries (category, event) VALUES ('ORDER', 'OrderCaught');
          IF number = 2 THEN RAISE 'undo'; END IF;
        EXCEPTION WHEN raise_exception THEN NULL; END;
      END LOOP; END $$`);
    expect(await session.value(`SELECT count(*)::int FROM public.audit_entries WHERE event = 'OrderCaught'`)).toBe(2);
  });

  test('may insert from a function that its own statement calls', async () => {
    await session.run(`CREATE FUNCTION pg_temp.nested(number integer) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO public.signals (symbol, action, entry_price, confidence, rationale)
        VALUES ('NESTED', 'BUY', 1, 1, 'Inserted while another statement inserts');
      BEGIN
        INSERT INTO public.audit_entries (category, event) VALUES ('ORDER', 'OrderNested');
      EXCEPTION WHEN unique_violation THEN NULL; END;
      RETURN 'outer ' || number; END $$`);
    await session.run(`INSERT INTO public.audit_entries (category, event, resource)
      SELECT 'ORDER', 'OrderOuter', pg_temp.nested(n) FROM generate_series(1, 3) AS n`);
    expect(await session.value(`SELECT count(*)::int FROM public.audit_entries WHERE event = 'OrderNested'`)).toBe(3);
    await expectLedgerIntact(database.urls.auditor);
  });
});

describe('ON CONFLICT DO NOTHING', () => {
  const insert = (ids: string[]) => `INSERT INTO public.signals
    (signal_id, symbol, action, entry_price, confidence, rationale)
    SELECT id, 'BTC-USD', 'BUY', 1, 1, 'Retried with ON CONFLICT DO NOTHING'
    FROM unnest(ARRAY[${ids.map((id) => `'${id}'`).join(', ')}]) AS id ON CONFLICT DO NOTHING`;

  test('may drop all rows or the last, but none before another', async () => {
    await session.run(insert(['retry-1']));
    const before = await counts();
    await session.run(insert(['retry-1']));
    expect(await counts()).toEqual(before);
    await session.run(insert(['retry-2', 'retry-1']));
    await expectRefused(insert(['retry-1', 'retry-3']), 'DB004');
    await expectRefused(insert(['retry-3', 'retry-1', 'retry-4']), 'DB004');
  });
});

test('an entry that claims a signal was created is written by the ledger alone', async () => {
  await expectRefused(
    `INSERT INTO public.audit_entries (category, event, signal_id, details) VALUES ('SIGNAL', 'SignalCreated', 'ghost',
       '{"chainIndex":"0","verificationHash":"00"}')`,
    'DB003',
  );
});

test('a body of 65,535 bytes is taken and one byte more is refused', async () => {
  const insert = (length: number) => `INSERT INTO public.audit_entries (category, event, details)
    VALUES ('ORDER', 'OrderLong', json_build_object('text', repeat('x', ${length})))`;
  await session.run(insert(1_000));
  const overhead = (await session.value(
    `SELECT octet_length(body) - 1000 FROM public.audit_entries WHERE event = 'OrderLong'`,
  )) as number;
  await session.run(insert(65_535 - overhead));
  await expectRefused(insert(65_536 - overhead), '23514');
  expect((await verifyLog({ source: { url: database.urls.auditor }, log: 'audit' })).firstBreak).toBeNull();
});
