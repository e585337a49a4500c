import { generateKeyPairSync, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { encodeArchiveStatement } from '../../src/core/archive-statement.js';
import { encodeNote } from '../../src/core/signed-note.js';
import { verifierKeyOf } from '../../src/core/verifier-key.js';
import { ledgerConnection } from '../../src/db/pool.js';
import pg from 'pg';
import { archiveOld, checkInFull, fillLog, purgeOld, shortRetention } from '../support/retained-log.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { openSession, type SqlSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

let service: TestService;
let application: SqlSession;

beforeAll(async () => {
  service = await startTestService({ environment: shortRetention });
  application = await openSession(service.database.urls.application);
  await fillLog(service, 800);
});

afterAll(async () => {
  await application[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

/** Runs statements in one transaction that is rolled back, and gives the code of the last one's refusal. */
async function refusal(session: SqlSession, statements: readonly string[], values?: unknown[]): Promise<string> {
  await session.run('BEGIN');
  try {
    for (const statement of statements.slice(0, -1)) await session.run(statement);
    return (await session.failure(statements.at(-1)!, values)).code ?? '';
  } finally {
    await session.run('ROLLBACK');
  }
}

const told = (event: string, resource: string, actor = 'mallory') =>
  `INSERT INTO public.audit_entries (category, event, actor, resource, details)
   VALUES ('BACKUP', '${event}', '${actor}', '${resource}', '{"reason":"a reason of its own"}')`;
const hold = '00000000-0000-4000-8000-0000000000aa';

describe('the application’s login, without the service', () => {
  const statementOf = async () => {
    const client = new pg.Client(ledgerConnection(service.database.urls.auditor, 'test'));
    await client.connect();
    try {
      const { rows } = await client.query<Record<string, string>>(
        `SELECT first.previous_hash AS "previousHash", last.chain_hash AS "chainHash",
           first.recorded_at AS "firstRecordedAt", last.recorded_at AS "lastRecordedAt",
           (SELECT origin FROM public.signing_keys WHERE log = 'audit') AS origin
         FROM public.audit_entries AS first, public.audit_entries AS last
         WHERE first.chain_index = 0 AND last.chain_index = 255`,
      );
      const row = rows[0] as { origin: string } & Record<
        'previousHash' | 'chainHash' | 'firstRecordedAt' | 'lastRecordedAt',
        string
      >;
      return {
        ...row,
        firstIndex: '0',
        lastIndex: '255',
        holdsSignals: false,
        objectKey: 'archives/audit/0000-00ff-dead.jsonl.gz',
        bytes: '1000',
        objectHash: '00'.repeat(32),
        versionId: null,
      };
    } finally {
      await client.end();
    }
  };
  const insert = `INSERT INTO public.log_archives (last_index, object_key, bytes, object_hash, created_by, note)
    VALUES (255, $1, 1000, decode($2, 'hex'), 'mallory', $3)`;

  test('puts no archive on record that a node with the log’s key has not read back', async () => {
    const statement = await statementOf();
    const text = encodeArchiveStatement(statement);
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const raw = Uint8Array.from(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
    const { keyId } = verifierKeyOf(statement.origin, raw);
    const own = (await application.value(`SELECT key_id FROM public.signing_keys WHERE log = 'audit'`)) as string;
    const signedAs = (id: string) =>
      encodeNote({
        text,
        signatures: [{ name: statement.origin, keyId: id, signature: sign(null, Buffer.from(text), privateKey) }],
      });
    const checkpoint = (await application.value(
      `SELECT note FROM public.checkpoints WHERE log = 'audit' ORDER BY tree_size DESC LIMIT 1`,
    )) as string;
    const entry = told('ArchiveCreated', 'archive/0-255');
    for (const note of [signedAs(keyId), signedAs(own), checkpoint, text, '']) {
      const values = [statement.objectKey, statement.objectHash, note];
      expect(await refusal(application, [entry, insert], values)).toBe('DB007');
    }
    expect(await refusal(application, [entry, insert], ['audit/checkpoint', statement.objectHash, ''])).toBe('DB007');
  });

  test('names nobody as the one who places or releases a hold but who is on record for it', async () => {
    const place = (by: string, columns = '', values = '') =>
      `INSERT INTO public.legal_holds (id, reason, placed_by${columns}) VALUES ('${hold}', 'a reason of its own', '${by}'${values})`;
    const entry = told('LegalHoldPlaced', `legal-hold/${hold}`);
    const requested = told('LegalHoldReleaseRequested', `legal-hold/${hold}`);
    const request = `UPDATE public.legal_holds SET release_requested_by = 'mallory', release_reason = 'a reason of its own'`;
    const release = (by: string) => `UPDATE public.legal_holds SET released_by = '${by}'`;
    const released = (by: string) => told('LegalHoldReleased', `legal-hold/${hold}`, by);
    const placed = [entry, place('mallory')];
    const asked = [...placed, requested, request];
    expect(await refusal(application, [place('mallory')])).toBe('DB001');
    expect(await refusal(application, [entry, place('alice')])).toBe('DB001');
    expect(await refusal(application, [entry, place('mallory', ', released_by', `, 'bob'`)])).toBe('DB001');
    const numbered = place('mallory', ', number', ', 77').replace(') VALUES', ') OVERRIDING SYSTEM VALUE VALUES');
    expect(await refusal(application, [entry, numbered])).toBe('DB001');
    expect(await refusal(application, [...placed, released('bob'), release('bob')])).toBe('DB001');
    expect(await refusal(application, [...asked, released('mallory'), release('mallory')])).toBe('DB001');
    expect(await refusal(application, [...asked, released('mallory'), release('bob')])).toBe('DB001');
    expect(await refusal(application, [...asked, `UPDATE public.legal_holds SET signal_id = 'x'`])).toBe('DB001');
    expect(await refusal(application, [...asked, released('bob'), release('bob'), request])).toBe('DB001');
  });

  test('places no more holds than a removal can compare', async () => {
    const many = `SELECT md5('hold ' || number)::uuid AS id FROM generate_series(1, 1001) AS number`;
    const entries = `INSERT INTO public.audit_entries (category, event, actor, resource)
      SELECT 'ADMIN', 'LegalHoldPlaced', 'mallory', 'legal-hold/' || id FROM (${many}) AS made`;
    const rows = (limit: number) => `INSERT INTO public.legal_holds (id, reason, placed_by)
      SELECT id, 'a reason of its own', 'mallory' FROM (${many}) AS made LIMIT ${limit}`;
    expect(await refusal(application, [entries, rows(1_000), rows(1_001).replace('LIMIT', 'OFFSET 1000 LIMIT')])).toBe(
      'DB008',
    );
  });
});

describe('a removal', () => {
  test('waits for a hold that is being placed, and then removes nothing; nobody gets stuck', async () => {
    expect(await archiveOld(service)).toHaveLength(1);
    await using placing = await openSession(service.database.urls.application);
    await placing.run('BEGIN');
    await placing.run(told('LegalHoldPlaced', `legal-hold/${hold}`));
    await placing.run(
      `INSERT INTO public.legal_holds (id, reason, placed_by) VALUES ('${hold}', 'a reason of its own', 'mallory')`,
    );
    const removing = purgeOld(service).catch((error: { code: string }) => error.code);
    await using observer = await openSession(service.database.urls.superuser);
    await waitUntil('the removal waits', async () => {
      const waiting = `SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'daybook purge' AND wait_event_type = 'Lock'`;
      return Number(await observer.value(waiting)) === 1;
    });
    await placing.run('COMMIT');
    expect(await removing).toBe('DB008');
    expect(await application.value('SELECT min(chain_index) FROM public.audit_entries')).toBe('0');
    expect((await purgeOld(service)).entries).toBe(0);
    await placing.run('BEGIN');
    for (const [event, change, by] of [
      [
        'LegalHoldReleaseRequested',
        `release_requested_by = 'mallory', release_reason = 'a reason of its own'`,
        'mallory',
      ],
      ['LegalHoldReleased', `released_by = 'trent'`, 'trent'],
    ] as const) {
      await placing.run(told(event, `legal-hold/${hold}`, by));
      await placing.run(`UPDATE public.legal_holds SET ${change}`);
    }
    await placing.run('COMMIT');
  });

  test('is of entries of days that have their root alone, once the day is over', async () => {
    await using superuser = await openSession(service.database.urls.superuser, 'SET event_triggers = off');
    expect(await superuser.value('SELECT daybook.first_kept_index()')).toBe('768');
    await superuser.run(`BEGIN; ALTER TABLE public.log_archives DISABLE TRIGGER ALL;
      UPDATE public.log_archives SET first_recorded_at = first_recorded_at - interval '1 day'`);
    expect(await superuser.value('SELECT daybook.first_kept_index()')).toBe('0');
    await superuser.run('ROLLBACK');
  });

  test('takes place in READ COMMITTED, where every hold is seen', async () => {
    const begin = 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ';
    expect(await refusal(application, [begin, `SELECT daybook.purge_entries(768, 'mallory')`])).toBe('DB002');
  });

  test('permits nothing else in its transaction, and nothing once it was taken back', async () => {
    const purge = `SELECT daybook.purge_entries(768, 'mallory')`;
    for (const statement of [
      'DELETE FROM public.audit_entries WHERE chain_index >= 768',
      'DELETE FROM public.audit_entries',
      'TRUNCATE public.audit_entries',
      `UPDATE public.audit_entries SET actor = 'x'`,
      `UPDATE public.audit_entries SET actor = 'x' WHERE chain_index = 5`,
    ]) {
      expect([statement, await refusal(application, [purge, statement])]).toEqual([statement, 'DB001']);
    }
    const back = ['SAVEPOINT before', purge, 'ROLLBACK TO SAVEPOINT before'];
    expect(await refusal(application, [...back, 'DELETE FROM public.audit_entries WHERE chain_index = 1'])).toBe(
      'DB001',
    );
  });

  test('does not hold up nodes that start, nor appends, while rows are removed', async () => {
    await using holder = await openSession(service.database.urls.application);
    await holder.run("BEGIN; SELECT daybook.purge_entries(768, 'mallory'); ROLLBACK");
    await using superuser = await openSession(service.database.urls.superuser);
    // Whoever removes is stopped at the first row.
    await superuser.run('BEGIN; SELECT FROM public.audit_entries WHERE chain_index = 0 FOR UPDATE');
    const removing = purgeOld(service);
    await waitUntil('the removal is stopped', async () => {
      const waiting = `SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'daybook purge' AND wait_event_type = 'Lock'`;
      return Number(await application.value(waiting)) === 1 || Number(await superuser.value(waiting)) === 1;
    });
    await application.run(told('OrderAccepted', 'order 1'));
    await using migrator = await openSession(service.database.urls.migrator);
    const same = `SELECT daybook.set_retention(0.00001 * interval '1 day', make_interval(years => 7))`;
    expect(await migrator.value(same)).toBe(false);
    await superuser.run('COMMIT');
    expect((await removing).firstKept).toBe(768);
    await expectLedgerIntact(service.database.urls.auditor);
    expect(await checkInFull(service)).toMatchObject({ result: 'OK', breaks: [] });
  });
});

describe('a copy that is brought back', () => {
  test('is of its archive, continues the copy before it, and is what the tree holds', async () => {
    const { data } = await service.call(
      `mutation { restoreArchives(input: { firstIndex: "0", lastIndex: "1", reason: "a reason of its own" }) { archives { number } } }`,
    );
    expect(data?.restoreArchives.archives).toHaveLength(1);
    await application.run('CREATE TEMP TABLE copies AS SELECT * FROM public.restored_entries');
    const copyBack = (columns: string, where: string) =>
      `INSERT INTO public.restored_entries (archive, chain_index, body, previous_hash) SELECT ${columns} FROM copies
       WHERE ${where} ORDER BY chain_index`;
    const whole = 'archive, chain_index, body, previous_hash';
    const empty = 'DELETE FROM public.restored_entries';
    const cases: [string, string][] = [
      [`archive, chain_index, body, sha256('x')`, 'chain_index = 0'],
      [whole, 'chain_index = 5'],
      [
        `archive, chain_index, body, CASE chain_index WHEN 1 THEN sha256('x') ELSE previous_hash END`,
        'chain_index < 2',
      ],
      ['archive, chain_index + 1, body, previous_hash', 'chain_index = 0'],
      [`archive, chain_index, replace(body, 'order 1', 'order 2'), previous_hash`, 'chain_index < 20'],
    ];
    for (const [columns, where] of cases) {
      expect([columns, await refusal(application, [empty, copyBack(columns, where)])]).toEqual([columns, 'DB005']);
    }
    expect(await refusal(application, [empty, copyBack('archive + 1, chain_index, body, previous_hash', 'true')])).toBe(
      'DB005',
    );
    await application.run(`BEGIN; ${empty}; ${copyBack(whole, 'true')}; COMMIT`);
  });
});

describe('what the application’s login writes about removals', () => {
  test('is found where nothing of it happened', async () => {
    const removal = (await application.value(`SELECT 'purge/' || number FROM public.ledger_purges`)) as string;
    await application.run(told('EntriesPurged', removal));
    await application.run(told('EntriesPurged', 'purge/1000'));
    await application.run(told('IntegrityBaselineKept', 'integrity-baseline/x'));
    await application.run(told('LegalHoldKept', `legal-hold/${hold}`));
    await application.run(told('ArchiveCreated', 'archive/768-1023'));
    await application.run(told('LegalHoldReleased', 'legal-hold/none'));
    await application.run(told('RetentionPolicyChanged', 'retention/audit'));
    const { breaks } = await checkInFull(service);
    const found = breaks.map(({ code, message }) => `${code}: ${message.split(':')[0]!.split(',')[0]!}`);
    expect(found).toEqual(
      expect.arrayContaining([
        `PURGE_UNEXPLAINED: the removal ${removal.slice(6)} of the entries from 0 to before 768 is not what its entry tells`,
        'PURGE_UNEXPLAINED: the entry tells of purge/1000',
        'PURGE_UNEXPLAINED: IntegrityBaselineKept is told by removals alone',
        'PURGE_UNEXPLAINED: LegalHoldKept is told by removals alone',
        'RECORD_MISSING: an archive',
        'RECORD_MISSING: a legal hold that was released',
        'RECORD_UNEXPLAINED: the retention',
      ]),
    );
  });
});
