import { describe, expect, test } from '@jest/globals';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { createTestDatabase } from '../support/test-database.js';
import { startTestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

/** SQLSTATE of a row that a guard does not let in. */
const refusedRow = 'DB007';

describe('the service', () => {
  const environment = { DAYBOOK_CHECKPOINT_SECONDS: '0.05', DAYBOOK_JOBS: 'off', DAYBOOK_MASTER_KEY: '11'.repeat(32) };
  /** As somebody with every right: past the guard of a table. */
  const past = (
    table: string,
    guard: string,
    sql: string,
  ) => `BEGIN; ALTER TABLE ${table} DISABLE TRIGGER ${guard}; ${sql};
    ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${guard}; COMMIT`;
  const strangerKey = (until: string) => `INSERT INTO public.signing_keys
    (origin, key_id, log, public_key, sealed_private_key, master_key_id, valid_until)
    VALUES ('other.example/signals', '00000000', 'signals', sha256('x'), '\\x00', 'test', ${until})`;

  test('signs and starts on, whatever its login inserted', async () => {
    await using own = await createTestDatabase();
    {
      await using service = await startTestService({ database: own, environment });
      await using session = await openSession(own.urls.application);
      await session.run(insertSignalsSql(5));
      const { signer } = service.context.services.proofs;
      // One of the attempts below copies its note; without it that one would insert nothing, and nothing would refuse it.
      expect((await signer.coveringCheckpoint('signals', 5)).treeSize).toBe('5');
      const attempts = [
        `INSERT INTO public.checkpoints (log, tree_size, root_hash, note) VALUES ('signals', 1000, sha256('x'), 'x')`,
        `INSERT INTO public.checkpoints (log, tree_size, root_hash, note)
           SELECT log, 3, root_hash, note FROM public.checkpoints WHERE log = 'signals' AND tree_size = 5`,
        strangerKey("'2001-01-01'"),
        `INSERT INTO public.merkle_roots (log, date, tree_size, entries_of_day, consistency_proof, sealed_by)
           VALUES ('signals', '2999-01-01', 0, 0, '', 'x')`,
        `INSERT INTO public.ledger_tiles (log, level, tile, root, hashes)
           VALUES ('signals', 0, 5, sha256('x'), decode(repeat('00', 8192), 'hex'))`,
      ];
      for (const attempt of attempts) expect((await session.failure(attempt)).code).toBe(refusedRow);
      await session.run(insertSignalsSql(1));
      expect((await signer.coveringCheckpoint('signals', 6)).treeSize).toBe('6');
    }
    await using again = await startTestService({ database: own, environment });
    await using session = await openSession(own.urls.application);
    await session.run(insertSignalsSql(1));
    expect((await again.context.services.proofs.signer.coveringCheckpoint('signals', 7)).treeSize).toBe('7');
    await expectLedgerIntact(own.urls.auditor);
  });

  test('starts beside a key of another origin that has ended, and does not trust it', async () => {
    await using own = await createTestDatabase();
    const guard = 'guard_new_signing_key_trigger';
    await using owner = await openSession(own.urls.superuser, 'SET event_triggers = off');
    {
      await using service = await startTestService({ database: own, environment });
      expect(service.context.services.proofs.keys.published).toHaveLength(2);
    }
    await owner.run(past('public.signing_keys', guard, strangerKey("'2001-01-01'")));
    await using service = await startTestService({ database: own, environment });
    const { keys } = service.context.services.proofs;
    expect(keys.verifiersOf('signals').map(({ name }) => name)).toEqual(['daybook.local/signals']);
    expect(keys.canSign('signals')).toBe(true);
  });

  test('does not start under another origin than the one that signs', async () => {
    await using own = await createTestDatabase();
    {
      await using service = await startTestService({ database: own, environment });
      expect(service.url).toMatch(/^http/);
    }
    await expect(
      startTestService({ database: own, environment: { ...environment, DAYBOOK_ORIGIN: 'other.example' } }),
    ).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('serves no checkpoint that the log’s key did not sign', async () => {
    await using own = await createTestDatabase();
    await using service = await startTestService({ database: own, environment });
    const read = async () => {
      const response = await fetch(`${service.url}/logs/signals/checkpoint`);
      return { status: response.status, text: await response.text() };
    };
    await waitUntil('a checkpoint is there', async () => (await read()).status === 200);
    await using owner = await openSession(own.urls.superuser, 'SET event_triggers = off');
    const bogus = `daybook.local/signals\n9\n${'A'.repeat(43)}=\n\n— daybook.local/signals ${'A'.repeat(92)}\n`;
    await owner.run(
      past(
        'public.checkpoints',
        'guard_new_checkpoint_trigger',
        `INSERT INTO public.checkpoints (log, tree_size, root_hash, note)
           VALUES ('signals', 9, decode(repeat('00', 32), 'hex'), '${bogus}')`,
      ),
    );
    for (let time = 0; time < 2; time += 1) {
      const { status, text } = await read();
      expect(status).toBe(500);
      expect(text).toContain('LOG_INCONSISTENT');
      expect(text).not.toContain('AAAA');
      const answer = await service.call('{ checkpoint(log: SIGNALS) { note } }');
      expect(answer.errors?.[0]?.extensions.code).toBe('LOG_INCONSISTENT');
      expect(JSON.stringify(answer)).not.toContain('AAAA');
    }
  });
});
