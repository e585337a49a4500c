import { describe, expect, test } from '@jest/globals';
import { decodeHex } from '../../src/core/bytes.js';
import { verifyConsistency } from '../../src/core/consistency-proof.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { createTestDatabase } from '../support/test-database.js';
import { startTestService } from '../support/test-service.js';

const environment = {
  DAYBOOK_CHECKPOINT_SECONDS: '0.05',
  DAYBOOK_PUBLISH_SECONDS: '0.05',
  DAYBOOK_MASTER_KEY: '11'.repeat(32),
};
const rootFields =
  'log date treeSize entriesOfDay rootHash checkpoint sealedBy consistencyProof anchors { kind status reference }';

/** Moves the recording times of all entries into the past, as a superuser who has switched every guard off. */
async function ageEntries(superuserUrl: string, byDays: number): Promise<void> {
  await using owner = await openSession(superuserUrl);
  await owner.run(`ALTER EVENT TRIGGER daybook_refuse_ddl DISABLE;
    ALTER TABLE signals DISABLE TRIGGER USER; ALTER TABLE audit_entries DISABLE TRIGGER USER;
    UPDATE signals SET server_timestamp = server_timestamp - interval '${byDays} days';
    UPDATE audit_entries SET recorded_at = recorded_at - interval '${byDays} days';
    DO $$ DECLARE one record; BEGIN FOR one IN SELECT tgrelid::regclass AS relation, tgname FROM pg_trigger
      WHERE tgrelid IN ('signals'::regclass, 'audit_entries'::regclass) AND NOT tgisinternal
      LOOP EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', one.relation, one.tgname); END LOOP; END $$;
    ALTER EVENT TRIGGER daybook_refuse_ddl ENABLE ALWAYS`);
}

describe('sealing', () => {
  test('a day that has not ended is not sealed', async () => {
    await using service = await startTestService({ environment });
    const today = new Date().toISOString().slice(0, 10);
    const refused = await service.call(
      `mutation { sealLog(input: { log: SIGNALS, date: "${today}" }) { sealed { date } } }`,
    );
    expect(refused.errors?.[0]?.extensions.code).toBe('DAY_NOT_OVER');
    const nothing = await service.call(
      'mutation { sealLog(input: { log: SIGNALS }) { sealed { date } merkleRoot { date } } }',
    );
    expect(nothing.data?.sealLog).toEqual({ sealed: [], merkleRoot: null });
    const forbidden = await service.call(
      'mutation { sealLog(input: { log: SIGNALS }) { sealed { date } } }',
      {},
      await service.makeKey('AUDITOR'),
    );
    expect(forbidden.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('missed days are sealed on start-up, each proven from the one before, empty ones too', async () => {
    await using database = await createTestDatabase();
    {
      await using before = await startTestService({ database, environment: { ...environment, DAYBOOK_JOBS: 'off' } });
      await using session = await openSession(database.urls.application);
      await session.run(insertSignalsSql(300));
      await before.call('{ checkpoint(log: SIGNALS) { treeSize } }');
    }
    await ageEntries(database.urls.superuser, 4);
    await using service = await startTestService({ database, environment });
    await using session = await openSession(database.urls.application);
    await session.run(insertSignalsSql(5));
    const roots = await waitForRoots(service, 8);
    for (const log of ['SIGNALS', 'AUDIT']) {
      const ofLog = roots.filter((root) => root.log === log).reverse();
      expect(ofLog).toHaveLength(4);
      expect(ofLog.map(({ entriesOfDay }) => entriesOfDay).slice(1)).toEqual(['0', '0', '0']);
      for (const [place, root] of ofLog.entries()) {
        const previous = ofLog[place - 1];
        expect(root.anchors).toEqual([{ kind: 'object-store', status: 'ANCHORED', reference: expect.any(String) }]);
        if (previous === undefined) continue;
        const input = {
          fromSize: Number(previous.treeSize),
          fromRoot: decodeHex(previous.rootHash),
          toSize: Number(root.treeSize),
          toRoot: decodeHex(root.rootHash),
          proof: root.consistencyProof.map(decodeHex),
        };
        expect(verifyConsistency(input)).toBe(true);
      }
    }
    expect(roots.find((root) => root.log === 'SIGNALS')).toMatchObject({ treeSize: '300', sealedBy: 'schedule' });
    const entries = await service.call(
      '{ auditEntries(filter: { event: { in: ["MerkleRootSealed", "MerkleRootAnchored"] } }) { totalCount } }',
    );
    expect(entries.data?.auditEntries.totalCount).toBe(16);
  });

  test('a day sealed by two nodes at once has one root', async () => {
    await using database = await createTestDatabase();
    const quiet = { ...environment, DAYBOOK_JOBS: 'off' };
    {
      await using before = await startTestService({ database, environment: quiet });
      await using session = await openSession(database.urls.application);
      await session.run(insertSignalsSql(10));
      await before.call('{ checkpoint(log: SIGNALS) { treeSize } }');
    }
    await ageEntries(database.urls.superuser, 2);
    await using left = await startTestService({ database, environment: quiet });
    await using right = await startTestService({ database, environment: quiet });
    const seal = 'mutation { sealLog(input: { log: SIGNALS }) { sealed { date } } }';
    const answers = await Promise.all([left.call(seal), right.call(seal), left.call(seal), right.call(seal)]);
    expect(answers.flatMap(({ errors }) => errors ?? [])).toEqual([]);
    expect(answers.flatMap(({ data }) => data?.sealLog.sealed as object[])).toHaveLength(2);
    const { data } = await left.call(
      '{ merkleRoots(log: SIGNALS, first: 1) { totalCount nodes { date } pageInfo { hasNextPage } } }',
    );
    expect(data?.merkleRoots).toMatchObject({ totalCount: 2, pageInfo: { hasNextPage: true } });
  });
});

interface RootAnswer {
  readonly log: string;
  readonly treeSize: string;
  readonly entriesOfDay: string;
  readonly rootHash: string;
  readonly consistencyProof: string[];
  readonly anchors: { readonly status: string }[];
}

async function waitForRoots(service: { call: (query: string) => Promise<any> }, count: number): Promise<RootAnswer[]> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const { data } = await service.call(`{ merkleRoots { nodes { ${rootFields} } } }`);
    const roots = data.merkleRoots.nodes as RootAnswer[];
    const anchored = roots.every(({ anchors }) => anchors.every(({ status }) => status === 'ANCHORED'));
    if (roots.length >= count && anchored) return roots;
    if (Date.now() > deadline) throw new Error(`${roots.length} roots: ${JSON.stringify(roots)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
