import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Anchor, AnchorProof, SealedRoot } from '../../src/anchors/anchor.js';
import { anchorRoots } from '../../src/anchors/anchor-roots.js';
import { encodeUtf8 } from '../../src/core/bytes.js';
import { DaybookError } from '../../src/errors.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { hasFakedClock } from '../support/faked-postgres.js';
import { readEntries, sealAll, startLedgerDays, type LedgerDays } from '../support/ledger-days.js';
import { insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const environment = { DAYBOOK_CHECKPOINT_SECONDS: '0.05', DAYBOOK_PUBLISH_SECONDS: '0.05', DAYBOOK_JOBS: 'off' };

let days: LedgerDays;

beforeAll(async () => {
  if (hasFakedClock) days = await startLedgerDays();
});

afterAll(async () => {
  await days?.[Symbol.asyncDispose]();
});

/** The place where the service planned to keep its roots, answering as the test wants. */
function placeOf(service: TestService, answer: (root: SealedRoot) => Promise<AnchorProof>): Anchor {
  return {
    kind: 'object-store',
    target: `folder ${service.context.config.store.folder}`,
    mode: 'best-effort',
    anchor: answer,
    verify: () => Promise.resolve(null),
  };
}

function run(service: TestService, anchor: Anchor) {
  const { services, append, log } = service.context;
  const database = services.database as pg.Pool;
  return anchorRoots({ database, append, anchors: [anchor], log }, new AbortController().signal);
}

const proofOf = (root: SealedRoot) => ({ reference: 'unversioned', evidence: encodeUtf8(root.note) });

/** What the other process stores when its attempt succeeds. */
async function anchorElsewhere(session: SqlSession): Promise<void> {
  await session.run(`UPDATE public.anchors SET status = 'ANCHORED', reference = 'unversioned', anchored_at = clock_timestamp(),
      attempts = attempts + 1, evidence = (SELECT convert_to(note, 'UTF8') FROM public.merkle_roots AS root
        JOIN public.checkpoints USING (log, tree_size) WHERE (root.log, root.date) = (anchors.log, anchors.date))
    WHERE status = 'PENDING'`);
}

(hasFakedClock ? describe : describe.skip)('two processes that anchor', () => {
  async function seal(): Promise<TestService> {
    await days.goTo(0);
    const service = await startTestService({ database: await days.createDatabase(), environment });
    await using session = await openSession(service.database.urls.application);
    await session.run(insertSignalsSql(5));
    await days.goTo(1, '00:05:00');
    await sealAll(service);
    return service;
  }

  test('take turns: nobody is asked twice', async () => {
    await using service = await seal();
    const release = Promise.withResolvers<void>();
    let asked = 0;
    const place = placeOf(service, async (root) => {
      asked += 1;
      await release.promise;
      return proofOf(root);
    });
    const runs = [run(service, place), run(service, place)];
    await using session = await openSession(service.database.urls.superuser);
    await waitUntil(
      'both look for the lock',
      async () =>
        (await session.value(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
          AND application_name = 'daybook anchors' AND query LIKE '%pg_try_advisory_lock%'`)) === '2',
    );
    await waitUntil('one of them asks', () => asked === 1);
    release.resolve();
    const results = await Promise.all(runs);
    expect(results.map(({ anchored }) => anchored).sort()).toEqual([0, 2]);
    expect(results.map(({ failed }) => failed)).toEqual([0, 0]);
    expect(asked).toBe(2);
    expect(await readEntries(service, 'MerkleRootAnchored')).toHaveLength(2);
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test.each([0, 1])(
    'beside each other after all: a failure after the other’s success is none, with %i attempts before',
    async (attempts) => {
      await using service = await seal();
      await using session = await openSession(service.database.urls.application);
      await session.run(`UPDATE public.anchors SET attempts = ${attempts}`);
      const place = placeOf(service, async () => {
        await anchorElsewhere(session);
        throw new DaybookError('ANCHOR_UNAVAILABLE', 'the place did not answer');
      });
      expect(await run(service, place)).toMatchObject({ anchored: 0, failed: 0 });
      expect(await readEntries(service, 'AnchorFailed')).toEqual([]);
      expect(await session.value('SELECT max(last_error) FROM public.anchors')).toBeNull();
      await expectLedgerIntact(service.database.urls.auditor);
    },
  );

  test('beside each other after all: a second success leaves no second entry, and is no failure', async () => {
    await using service = await seal();
    await using session = await openSession(service.database.urls.application);
    const place = placeOf(service, async (root) => {
      await anchorElsewhere(session);
      return proofOf(root);
    });
    expect(await run(service, place)).toMatchObject({ anchored: 0, failed: 0 });
    expect(await readEntries(service, 'AnchorFailed')).toEqual([]);
    expect(await readEntries(service, 'MerkleRootAnchored')).toEqual([]);
    await expectLedgerIntact(service.database.urls.auditor);
  });
});
