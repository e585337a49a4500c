import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { BreakList } from '../../src/core/log-breaks.js';
import { acknowledgeIncident, closeIncident, openIncident } from '../../src/integrity/incidents.js';
import { serviceOrigin } from '../../src/integrity/integrity-entry.js';
import { verifyRecords } from '../../src/integrity/verify-records.js';
import { withSnapshot } from '../../src/ledger/verify-snapshot.js';
import { startWithBaseline } from '../support/integrity-baseline.js';
import { openSession } from '../support/sql-session.js';
import { copyTestDatabase, createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { startTestService } from '../support/test-service.js';

let filled: TestDatabase;

beforeAll(async () => {
  filled = await createTestDatabase();
  await using service = await startTestService({
    database: filled,
    environment: { DAYBOOK_CHECKPOINT_SECONDS: '0.05', DAYBOOK_JOBS: 'off' },
  });
  const { context } = service;
  const made = await service.call(
    `mutation { one: createApiKey(input: { name: "Überwachung \\"1\\"", role: MONITOR, expiresAt: "2999-01-01T00:00:00+02:00" })
       { apiKey { id } } two: createApiKey(input: { name: "two", role: PRODUCER }) { apiKey { id } } }`,
  );
  const revoked = made.data?.two.apiKey.id as string;
  for (let time = 0; time < 2; time += 1) {
    await service.call(`mutation { revokeApiKey(input: { id: "${revoked}" }) { apiKey { id } } }`);
  }
  const store = { database: context.services.database, append: context.append };
  const origin = { ...serviceOrigin('test', 'test'), actor: 'alice' };
  const incidents = [];
  for (const title of ['first', 'second', 'third'])
    incidents.push(await openIncident(store, { title, note: 'n' }, origin));
  await acknowledgeIncident(store, { id: incidents[0]!.id, note: 'seen' }, origin);
  await closeIncident(store, { id: incidents[0]!.id, note: 'was nothing' }, { ...origin, actor: 'bob' });
  await closeIncident(store, { id: incidents[1]!.id, note: 'closed at once' }, origin);
  for (const kind of ['FULL', 'SAMPLE'] as const) {
    const check = await context.services.integrity.run({ kind, origin, append: context.append });
    expect(check.result).toBe('OK');
  }
});

afterAll(async () => {
  await filled[Symbol.asyncDispose]();
});

/** Breaks as `code: message`. */
async function findBreaks(database: TestDatabase): Promise<string[]> {
  const breaks = new BreakList();
  await withSnapshot({ url: database.urls.auditor }, (client) => verifyRecords(client, breaks));
  return breaks.first.map(({ code, message }) => `${code}: ${message}`);
}

test('rows that the service made agree with their entries', async () => {
  expect(await findBreaks(filled)).toEqual([]);
});

test('many rows are compared with their entries, whatever the order of their keys', async () => {
  await using database = await copyTestDatabase(filled);
  await using application = await openSession(database.urls.application);
  await application.run(`CREATE TEMP TABLE made AS SELECT gen_random_uuid() AS id, 'key ' || number AS name
      FROM generate_series(1, 1200) AS number;
    INSERT INTO public.api_keys (id, name, role, prefix, key_hash)
      SELECT id, name, 'MONITOR', 'daybook_12345678', sha256(convert_to(name, 'UTF8')) FROM made;
    INSERT INTO public.audit_entries (category, event, actor, resource, details)
      SELECT 'ADMIN', 'ApiKeyCreated', 'daybook', 'api-key/' || id,
        json_build_object('keyRole', 'MONITOR', 'name', name, 'prefix', 'daybook_12345678') FROM made ORDER BY name`);
  expect(await findBreaks(database)).toEqual([]);
  await application.run(`INSERT INTO public.audit_entries (category, event, actor, resource, details)
    SELECT 'ADMIN', 'ApiKeyCreated', 'daybook', 'api-key/' || id, '{}' FROM made WHERE name = 'key 1000'`);
  expect((await findBreaks(database)).map((one) => one.split(',')[0])).toEqual([
    'RECORD_MISSING: an API key',
    'RECORD_UNEXPLAINED: an API key',
  ]);
});

describe('by the application’s login, without the service, it is found that', () => {
  const entry = (event: string, resource: string, details: string) =>
    `INSERT INTO public.audit_entries (category, event, resource, details) VALUES ('ADMIN', '${event}', '${resource}', '${details}')`;
  test.each<[string, string, string[]]>([
    [
      'an API key was made',
      `INSERT INTO public.api_keys (id, name, role, prefix, key_hash)
         VALUES ('00000000-0000-4000-8000-000000000001', 'x', 'ADMIN', 'daybook_12345678', sha256('x'))`,
      ['RECORD_UNEXPLAINED: an API key, api-key/00000000-0000-4000-8000-000000000001: no entry tells of it'],
    ],
    [
      'an API key was revoked',
      `UPDATE public.api_keys SET revoked_at = clock_timestamp() WHERE role = 'MONITOR'`,
      ['RECORD_UNEXPLAINED: a revoked API key, api-key/'],
    ],
    [
      'an incident was opened, and closed',
      `INSERT INTO public.incidents (id, kind, fingerprint, title, opened_by)
         VALUES (gen_random_uuid(), 'OPERATOR', 'x', 'x', 'x');
       UPDATE public.incidents SET status = 'CLOSED', acknowledged_at = now(), acknowledged_by = 'x', closed_at = now(),
         acknowledgement_note = 'x', closed_by = 'x', closing_note = 'x' WHERE title = 'third'`,
      [
        'RECORD_UNEXPLAINED: an incident, incident/',
        'RECORD_UNEXPLAINED: an acknowledged incident, incident/',
        'RECORD_UNEXPLAINED: a closed incident, incident/',
      ],
    ],
    [
      'a check is pretended',
      `INSERT INTO public.integrity_checksum_log (id, kind, requested_by, started_at, ended_at, duration_ms, ranges,
         entries_checked, result, failed_verifications, breaks)
         SELECT gen_random_uuid(), kind, requested_by, started_at, ended_at, duration_ms, ranges, entries_checked, result,
           failed_verifications, breaks FROM public.integrity_checksum_log LIMIT 1`,
      ['RECORD_UNEXPLAINED: an integrity check, integrity-check/'],
    ],
    [
      'a baseline was set',
      `INSERT INTO public.integrity_baselines (taken_by, reason, facts, facts_hash)
         SELECT taken_by, reason, facts, facts_hash FROM public.integrity_baselines`,
      ['RECORD_UNEXPLAINED: an integrity baseline, integrity-baseline/'],
    ],
    [
      'entries tell of what is nowhere',
      [
        entry('ApiKeyCreated', 'api-key/x', '{}'),
        entry('IncidentOpened', 'incident/x', '{}'),
        entry('IncidentClosed', 'incident/x', '{}'),
        entry('MerkleRootSealed', 'signals/2026-01-01', '{}'),
        entry('IntegrityChecked', 'integrity-check/𝒳', '{}'),
        `INSERT INTO public.audit_entries (category, event) VALUES ('ADMIN', 'SigningKeyCreated')`,
      ].join(';'),
      [
        'RECORD_MISSING: an API key, api-key/x',
        'RECORD_MISSING: an incident, incident/x',
        'RECORD_MISSING: an acknowledged incident, incident/x',
        'RECORD_MISSING: a closed incident, incident/x',
        'RECORD_MISSING: an integrity check, integrity-check/𝒳',
        "RECORD_MISSING: a day's root, signals/2026-01-01",
        'RECORD_MISSING: a signing key, :',
      ],
    ],
    [
      'a second entry tells of one key, in a text that SQL cannot read',
      `SET daybook.canonical = 'on'; INSERT INTO public.audit_entries (category, event, actor, resource, session_id, details)
         SELECT 'ADMIN', 'ApiKeyCreated', 'x', resource, 'x', '{"name":"\\u0000\\ud800"}' FROM public.audit_entries
         WHERE event = 'ApiKeyCreated' LIMIT 1`,
      ['RECORD_MISSING: an API key, api-key/', 'RECORD_UNEXPLAINED: an API key, api-key/'],
    ],
    [
      'an entry pretends that a restore excuses what is gone',
      `${entry('ApiKeyCreated', 'api-key/x', '{}')}; ${entry('LedgerRestored', 'ledger', '{"auditEntries":"99"}')}`,
      ['RECORD_MISSING: an API key, api-key/x'],
    ],
  ])('%s', async (_, sql, expected) => {
    await using database = await copyTestDatabase(filled);
    await using application = await openSession(database.urls.application);
    await application.run(sql);
    const found = await findBreaks(database);
    for (const one of expected) expect(found).toContainEqual(expect.stringContaining(one));
    expect(found).toHaveLength(expected.length);
  });
});

describe('by a superuser, it is found that', () => {
  test.each<[string, string, string, string]>([
    ['an API key was removed', 'api_keys', `DELETE FROM api_keys WHERE name = 'two'`, 'RECORD_MISSING: an API key'],
    [
      'an API key has another role',
      'api_keys',
      `UPDATE api_keys SET role = 'ADMIN' WHERE role = 'MONITOR'`,
      'RECORD_UNEXPLAINED: an API key, api-key/',
    ],
    [
      'an API key lasts longer',
      'api_keys',
      `UPDATE api_keys SET expires_at = 'infinity' WHERE role = 'MONITOR'`,
      'RECORD_UNEXPLAINED: an API key, api-key/',
    ],
    [
      'a revoked API key is valid again',
      'api_keys',
      `UPDATE api_keys SET revoked_at = NULL`,
      'RECORD_MISSING: a revoked API key',
    ],
    [
      'an incident was removed',
      'incidents',
      `DELETE FROM incidents WHERE title = 'third'`,
      'RECORD_MISSING: an incident',
    ],
    [
      'an incident has another title',
      'incidents',
      `UPDATE incidents SET title = 'x' WHERE title = 'third'`,
      'RECORD_UNEXPLAINED: an incident, incident/',
    ],
    [
      'a closing has another note',
      'incidents',
      `UPDATE incidents SET closing_note = 'x' WHERE title = 'first'`,
      'RECORD_UNEXPLAINED: a closed incident, incident/',
    ],
    [
      'a check was removed',
      'integrity_checksum_log',
      `DELETE FROM integrity_checksum_log WHERE kind = 'FULL'`,
      'RECORD_MISSING: an integrity check',
    ],
    [
      'a check has another result',
      'integrity_checksum_log',
      `UPDATE integrity_checksum_log SET result = 'FAILED' WHERE kind = 'FULL'`,
      'RECORD_UNEXPLAINED: an integrity check, integrity-check/',
    ],
    [
      'a signing key was exchanged',
      'signing_keys',
      `UPDATE signing_keys SET public_key = sha256('x') WHERE log = 'signals'`,
      'RECORD_UNEXPLAINED: a signing key, signing-key/',
    ],
    [
      'a signing key was removed',
      'signing_keys',
      `DELETE FROM signing_keys WHERE log = 'signals'`,
      'RECORD_MISSING: a signing key',
    ],
    [
      'the baseline was removed',
      'integrity_baselines',
      `DELETE FROM integrity_baselines`,
      'RECORD_MISSING: an integrity baseline',
    ],
  ])('%s', async (_, table, sql, expected) => {
    await using database = await copyTestDatabase(filled);
    await using superuser = await openSession(database.urls.superuser, 'SET event_triggers = off');
    await superuser.run(`ALTER TABLE ${table} DISABLE TRIGGER USER; ${sql}`);
    expect((await findBreaks(database))[0]).toContain(expected);
  });
});

test('what stood beside logs that were restored is not missed, and what came later is', async () => {
  await using source = await openSession(filled.urls.superuser);
  await using target = await createTestDatabase();
  await using migrator = await openSession(target.urls.migrator);
  const read = async (table: string) =>
    (await source.value(`SELECT json_agg(rows ORDER BY chain_index)::text FROM public.${table} AS rows`)) as
      string | null;
  const [signals, audit] = [await read('signals'), await read('audit_entries')];
  await migrator.run(`BEGIN; SELECT daybook.declare_restore('the first machine burned'); SET LOCAL ROLE daybook_owner`);
  for (const [table, rows] of [
    ['signals', signals],
    ['audit_entries', audit],
  ] as const) {
    await migrator.run(
      `INSERT INTO public.${table} SELECT * FROM json_populate_recordset(NULL::public.${table}, $1::json)`,
      [rows ?? '[]'],
    );
  }
  await migrator.run('SELECT daybook.finish_restore(); COMMIT');
  expect(await findBreaks(target)).toEqual([]);
  expect(await startWithBaseline(target)).toBe('first start');
  await migrator.run(`INSERT INTO public.audit_entries (category, event, resource)
    VALUES ('ADMIN', 'ApiKeyCreated', 'api-key/${randomUUID()}')`);
  expect(await findBreaks(target)).toEqual([expect.stringContaining('RECORD_MISSING: an API key')]);
});
