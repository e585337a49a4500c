import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertEntriesSql, insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';

const reason = `'the machine of the first database burned'`;
const tables = ['signals', 'audit_entries'] as const;
type Dump = Record<(typeof tables)[number], Record<string, string | null>[]>;

let source: TestDatabase;
let dump: Dump;
let target: TestDatabase;
let migrator: SqlSession;

beforeAll(async () => {
  source = await createTestDatabase();
  await using application = await openSession(source.urls.application);
  await application.run(`BEGIN; ${insertSignalsSql(5)}; SAVEPOINT one; ${insertEntriesSql(3)}; COMMIT`);
  await application.run(insertSignalsSql(1, 'later'));
  await application.run(`INSERT INTO public.signals (symbol, action, entry_price, confidence, rationale, supersedes)
    SELECT symbol, 'SELL', 2, 0.5, 'It corrects the first signal of this log', signal_id
    FROM public.signals WHERE chain_index = 0`);
  dump = { signals: await read(application, 'signals'), audit_entries: await read(application, 'audit_entries') };
});

afterAll(async () => source[Symbol.asyncDispose]());

beforeEach(async () => {
  target = await createTestDatabase();
  migrator = await openSession(target.urls.migrator);
});

afterEach(async () => {
  await expectLedgerIntact(target.urls.auditor);
  await migrator[Symbol.asyncDispose]();
  await target[Symbol.asyncDispose]();
});

/** Every column as text, as a dump holds it. */
async function read(session: SqlSession, table: string): Promise<Record<string, string | null>[]> {
  const columns = await session.run(
    `SELECT string_agg(format('%1$I::text AS %1$I', attname), ', ' ORDER BY attnum) AS list FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`,
    [`public.${table}`],
  );
  const rows = await session.run(
    `SELECT ${String(columns[0]?.list)} FROM public.${table} ORDER BY ${table}.chain_index`,
  );
  return rows as Record<string, string | null>[];
}

async function load(table: string, rows: readonly Record<string, string | null>[]): Promise<void> {
  await migrator.run('SET LOCAL ROLE daybook_owner');
  await migrator.run(
    `INSERT INTO public.${table} SELECT * FROM json_populate_recordset(NULL::public.${table}, $1::json)`,
    [
      JSON.stringify(
        rows.map(({ details, old_data, new_data, ...row }) => ({
          ...row,
          ...parseJson({ details, old_data, new_data }),
        })),
      ),
    ],
  );
  await migrator.run('RESET ROLE');
}

/** json_populate_recordset takes JSON columns as JSON, not as text. */
function parseJson(columns: Record<string, string | null | undefined>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(columns)
      .filter(([, text]) => text !== undefined)
      .map(([name, text]) => [name, text === null || text === undefined ? null : (JSON.parse(text) as unknown)]),
  );
}

async function declare(): Promise<void> {
  await migrator.run(`BEGIN; SELECT daybook.declare_restore(${reason})`);
}

describe('a declared restore', () => {
  test('keeps every column but xid and ends with an entry that says what was loaded', async () => {
    await declare();
    for (const table of tables) await load(table, dump[table]);
    expect(await migrator.run('SELECT signals::int, audit_entries::int FROM daybook.finish_restore()')).toEqual([
      { signals: dump.signals.length, audit_entries: dump.audit_entries.length },
    ]);
    await migrator.run('COMMIT');
    await using application = await openSession(target.urls.application);
    const without = (rows: readonly Record<string, string | null>[]) => rows.map((row) => ({ ...row, xid: null }));
    expect(without(await read(application, 'signals'))).toEqual(without(dump.signals));
    const entries = await read(application, 'audit_entries');
    expect(without(entries.slice(0, -1))).toEqual(without(dump.audit_entries));
    expect(entries.at(-1)).toMatchObject({ event: 'LedgerRestored', actor: 'daybook_migrator' });
    await application.run(insertSignalsSql(1, 'after the restore'));
  });

  const altered: [string, (dump: Dump) => void][] = [
    ['a price', ({ signals }) => (signals[1]!.entry_price = '1')],
    ['a body', ({ signals }) => (signals[1]!.body = signals[1]!.body!.replace('BTC', 'ETH'))],
    ['a hash', ({ signals }) => (signals[1]!.verification_hash = signals[0]!.verification_hash!)],
    ['a recording time', ({ signals }) => (signals[1]!.server_timestamp = '2099-01-01 00:00:00+00')],
    ['a retention date', ({ signals }) => (signals[1]!.retention_expires_at = '2026-01-01 00:00:00+00')],
    ['an index', ({ signals }) => (signals[1]!.chain_index = '9')],
    ['a row less', ({ signals }) => signals.splice(1, 1)],
    ['two rows in each other’s place', ({ signals }) => signals.splice(1, 2, signals[2]!, signals[1]!)],
    ['details', ({ audit_entries: entries }) => (entries[6]!.details = '{"note":"altered","number":1}')],
  ];

  test.each(altered)('refuses a source with %s altered', async (_, alter) => {
    const copy = structuredClone(dump);
    alter(copy);
    await declare();
    await expect(
      (async () => {
        for (const table of tables) await load(table, copy[table]);
      })(),
    ).rejects.toMatchObject({ code: 'DB005' });
    await migrator.run('ROLLBACK');
    expect(await migrator.value('SELECT count(*)::int FROM public.signals')).toBe(0);
  });

  test('refuses a signal that supersedes one which is not there', async () => {
    const copy = structuredClone(dump);
    copy.signals.at(-1)!.supersedes = 'nobody';
    await declare();
    await expect(load('signals', copy.signals)).rejects.toMatchObject({ code: 'DB003' });
  });

  test('needs empty logs', async () => {
    await using application = await openSession(target.urls.application);
    await application.run(insertEntriesSql());
    expect((await migrator.failure(`SELECT daybook.declare_restore(${reason})`)).code).toBe('55000');
  });

  test('is over with its transaction, also where it was not finished', async () => {
    await declare();
    await migrator.run('COMMIT');
    expect((await migrator.failure('SELECT daybook.finish_restore()')).code).toBe('55000');
    await load('signals', dump.signals.slice(0, 1));
    expect(await migrator.value("SELECT server_timestamp > now() - interval '1 minute' FROM public.signals")).toBe(
      true,
    );
  });

  test('is not for the application or the auditor', async () => {
    for (const url of [target.urls.application, target.urls.auditor]) {
      await using session = await openSession(url);
      expect((await session.failure(`SELECT daybook.declare_restore(${reason})`)).code).toBe('42501');
    }
  });
});
