import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseVerifierKey } from '../../src/core/verifier-key.js';
import { verifyTlogProof } from '../../src/core/verify-tlog-proof.js';
import { compactAuditLog } from '../../src/open-retention.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import {
  archiveOld,
  checkInFull,
  fillLog,
  purgeOld,
  retentionOrigin,
  shortRetention,
} from '../support/retained-log.js';
import { openSession } from '../support/sql-session.js';
import { signalInput, startTestService, type TestService } from '../support/test-service.js';

const reason = 'asked for by the regulator';

let service: TestService;
let auditor: string;

beforeAll(async () => {
  service = await startTestService({ environment: shortRetention });
  auditor = await service.makeKey('AUDITOR');
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

const fill = (count: number) => fillLog(service, count);
const archive = () => archiveOld(service);
const purge = () => purgeOld(service);
const fullCheck = () => checkInFull(service);

const proofOf = async (index: number) => {
  const { data, errors } = await service.call(
    `query ($index: BigInt!) { inclusionProof(log: AUDIT, index: $index) { tlogProof leafHash } verifierKeys }`,
    { index: String(index) },
  );
  expect(errors).toBeUndefined();
  return {
    keys: (data?.verifierKeys as string[]).map(parseVerifierKey),
    ...(data?.inclusionProof as { tlogProof: string; leafHash: string }),
  };
};

describe('entries that are old enough', () => {
  test('are archived, read back and verified, and stay online until they are removed', async () => {
    await service.call('mutation ($input: CreateSignalInput!) { createSignal(input: $input) { signal { id } } }', {
      input: signalInput(),
    });
    await fill(1_000);
    const made = await archive();
    expect(made).toMatchObject([{ firstIndex: 0 }]);
    expect((made[0]?.lastIndex ?? 0) % 256).toBe(255);
    const { data } = await service.call(
      '{ auditArchives { nodes { state firstIndex lastIndex holdsSignals objectHash } } }',
      {},
      auditor,
    );
    expect(data?.auditArchives.nodes).toMatchObject([{ state: 'ONLINE', firstIndex: '0', holdsSignals: true }]);
    expect(await archive()).toEqual([]);
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('are removed as a prefix with a receipt; what is left, and what was proven, verifies', async () => {
    const before = await proofOf(3);
    const entry = (await service.call('{ auditEntry(chainIndex: "3") { body } }')).data?.auditEntry.body as string;
    const purged = await purge();
    expect(purged.entries).toBe(768);
    expect(purged.firstKept).toBe(768);
    await expectLedgerIntact(service.database.urls.auditor);
    expect(await fullCheck()).toMatchObject({ result: 'OK', breaks: [] });
    const proven = { proof: before.tlogProof, body: entry, keys: before.keys };
    expect(verifyTlogProof(proven)).toMatchObject({ valid: true, index: 3 });
    const after = await proofOf(3);
    expect(after.leafHash).toBe(before.leafHash);
    const { data } = await service.call(
      '{ auditEntries(filter: { event: { eq: "EntriesPurged" } }) { nodes { details } } }',
    );
    expect(JSON.parse(JSON.stringify(data?.auditEntries.nodes[0].details))).toMatchObject({ firstKeptIndex: '768' });
  });

  test('are said to be archived by lists that would cover them, and by nothing else', async () => {
    const list = async (filter: string) =>
      (
        await service.call(`{ auditEntries(first: 1, filter: ${filter}) { nodes { chainIndex }
          archived { firstIndex lastIndex archives restored hint } } }`)
      ).data?.auditEntries as { nodes: { chainIndex: string }[]; archived: object | null };
    const covering = await list('{ chainIndex: { gte: "5" } }');
    expect(covering.nodes[0]?.chainIndex).toBe('768');
    expect(covering.archived).toMatchObject({ firstIndex: '0', lastIndex: '767', archives: 1, restored: 0 });
    expect((await list('{ chainIndex: { gte: "800" } }')).archived).toBeNull();
  });

  test('come back as copies that are exactly what was recorded, for those who give a reason', async () => {
    const restore = (input: object, key = auditor) =>
      service.call(
        'mutation ($input: RestoreArchivesInput!) { restoreArchives(input: $input) { archives { state } } }',
        { input },
        key,
      );
    const refused = await restore({ firstIndex: '0', lastIndex: '10', reason: 'short' });
    expect(refused.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    const { data, errors } = await restore({ firstIndex: '0', lastIndex: '10', reason });
    expect(errors).toBeUndefined();
    expect(data?.restoreArchives.archives).toEqual([{ state: 'RESTORED' }]);
    const listed = await service.call(
      '{ restoredAuditEntries(first: 1000) { totalCount nodes { chainIndex event verificationHash inclusionProof { leafHash } } } }',
    );
    expect(listed.errors).toBeUndefined();
    const { nodes, totalCount } = listed.data?.restoredAuditEntries as {
      totalCount: number;
      nodes: { chainIndex: string; verificationHash: string; inclusionProof: { leafHash: string } }[];
    };
    expect(totalCount).toBe(768);
    expect(nodes[3]?.inclusionProof.leafHash).toBe(nodes[3]?.verificationHash);
    await expectLedgerIntact(service.database.urls.auditor);
    await using application = await openSession(service.database.urls.application);
    const code = async (sql: string) => (await application.failure(sql)).code;
    expect(await code(`UPDATE public.restored_entries SET actor = 'nobody'`)).toBe('DB001');
    expect(
      await code(`INSERT INTO public.restored_entries (archive, chain_index, body, previous_hash)
        SELECT 1, 900, body, previous_hash FROM public.restored_entries WHERE chain_index = 1`),
    ).toBe('DB005');
  });

  test('give their disk space back', async () => {
    const { bytesBefore, bytesAfter } = await compactAuditLog({
      urls: service.database.urls,
      append: service.context.append,
      origin: retentionOrigin(),
    });
    expect(bytesAfter).toBeLessThan(bytesBefore * 0.8);
    expect(await fullCheck()).toMatchObject({ result: 'OK', breaks: [] });
  });
});

describe('what may not be removed', () => {
  test('is refused whoever asks: beyond archives, by plain DELETE, and as another role', async () => {
    await using application = await openSession(service.database.urls.application);
    expect((await application.failure(`SELECT daybook.purge_entries(1024, 'me')`)).code).toBe('DB008');
    expect((await application.failure('DELETE FROM public.audit_entries WHERE chain_index < 1000')).code).toBe('DB001');
    expect((await application.failure(`SELECT daybook.set_retention('1 second', '1 second')`)).code).toBe('42501');
    expect((await application.failure(`INSERT INTO public.ledger_purges (log) VALUES ('audit')`)).code).toBe('42501');
    await using reader = await openSession(service.database.urls.auditor);
    expect((await reader.failure(`SELECT daybook.purge_entries(1024, 'me')`)).code).toBe('42501');
  });

  test('is what a hold keeps, until two people release it', async () => {
    const mutate = async (text: string, input: object, key: string) => {
      const { data, errors } = await service.call(text, { input }, key);
      return (
        errors?.[0]?.extensions.code ?? (Object.values(data ?? {})[0] as { hold: { id: string; state: string } }).hold
      );
    };
    const place = 'mutation ($input: PlaceLegalHoldInput!) { placeLegalHold(input: $input) { hold { id state } } }';
    const release =
      'mutation ($input: ReleaseLegalHoldInput!) { releaseLegalHold(input: $input) { hold { id state } } }';
    const hold = (await mutate(place, { reason, resourcePrefix: 'order 800' }, auditor)) as { id: string };
    await fill(600);
    expect(await archive()).toHaveLength(1);
    expect((await purge()).entries).toBe(0);
    expect(await mutate(release, { id: hold.id, reason }, auditor)).toMatchObject({ state: 'RELEASE_REQUESTED' });
    expect(await mutate(release, { id: hold.id, reason }, auditor)).toBe('FORBIDDEN');
    expect((await purge()).entries).toBe(0);
    const other = await service.makeKey('AUDITOR');
    expect(await mutate(release, { id: hold.id, reason }, other)).toMatchObject({ state: 'RELEASED' });
    expect((await purge()).entries).toBeGreaterThan(0);
    expect(await fullCheck()).toMatchObject({ result: 'OK' });
    await using application = await openSession(service.database.urls.application);
    expect((await application.failure('UPDATE public.legal_holds SET released_by = NULL')).code).toBe('DB001');
    expect((await application.failure('DELETE FROM public.legal_holds')).code).toBe('DB001');
    await expectLedgerIntact(service.database.urls.auditor);
  });
});

describe('an archive that was altered', () => {
  test('is not brought back', async () => {
    const { data } = await service.call('{ auditArchives { nodes { number state firstIndex lastIndex objectKey } } }');
    const [newest] = data?.auditArchives.nodes as { firstIndex: string; lastIndex: string; objectKey: string }[];
    if (newest === undefined) throw new Error('there is no archive');
    const path = join(service.context.config.store.folder, newest.objectKey);
    const bytes = await readFile(path);
    await writeFile(
      path,
      Buffer.concat([bytes.subarray(0, 100), Buffer.from([(bytes[100] ?? 0) ^ 1]), bytes.subarray(101)]),
    );
    const { firstIndex, lastIndex } = newest;
    const { errors } = await service.call(
      'mutation ($input: RestoreArchivesInput!) { restoreArchives(input: $input) { archives { state } } }',
      { input: { firstIndex, lastIndex, reason } },
    );
    expect(errors?.[0]?.extensions.code).toBe('OBJECT_CHANGED');
    await writeFile(path, bytes);
    await expectLedgerIntact(service.database.urls.auditor);
  });
});
