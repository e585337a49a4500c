import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { decodeHex } from '../../src/core/bytes.js';
import { parseCheckpoint } from '../../src/core/checkpoint.js';
import { verifyConsistency } from '../../src/core/consistency-proof.js';
import { verifyInclusion } from '../../src/core/inclusion-proof.js';
import { hashLeafBytes } from '../../src/core/merkle-tree.js';
import { parseNote, verifyNote } from '../../src/core/signed-note.js';
import { parseVerifierKey } from '../../src/core/verifier-key.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertEntriesSql, insertSignalsSql, openSession } from '../support/sql-session.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { createTestDatabase } from '../support/test-database.js';
import { waitUntil } from '../support/wait-until.js';

const fast = { DAYBOOK_CHECKPOINT_SECONDS: '0.05', DAYBOOK_PUBLISH_SECONDS: '0.05', DAYBOOK_JOBS: 'off' };

const checkpointQuery = '{ checkpoint(log: SIGNALS) { treeSize rootHash note signedAt } verifierKeys }';

async function waitForSize(service: TestService, log: 'SIGNALS' | 'AUDIT', size: number): Promise<any> {
  let found: any;
  await waitUntil(`a checkpoint of ${size} entries`, async () => {
    found = (await service.call(`{ checkpoint(log: ${log}) { treeSize rootHash note } }`)).data?.checkpoint;
    return Number(found.treeSize) >= size;
  });
  return found;
}

describe('checkpoints', () => {
  test('an empty log has a signed checkpoint of size 0, and each new entry is covered soon', async () => {
    await using service = await startTestService({ environment: fast });
    const empty = await waitForSize(service, 'SIGNALS', 0);
    expect(empty.treeSize).toBe('0');
    await using session = await openSession(service.database.urls.application);
    await session.run(insertSignalsSql(3));
    const signed = await waitForSize(service, 'SIGNALS', 3);
    const { data } = await service.call(checkpointQuery);
    const keys = (data?.verifierKeys as string[]).map(parseVerifierKey);
    expect(keys.map(({ name }) => name).sort()).toEqual(['daybook.local/audit', 'daybook.local/signals']);
    const note = parseNote(signed.note);
    expect(verifyNote(note, keys).status).toBe('verified');
    expect(parseCheckpoint(note.text)).toMatchObject({ origin: 'daybook.local/signals', size: 3 });
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('proofs of entries in full tiles and at the edge lead to the signed root', async () => {
    await using service = await startTestService({ environment: fast });
    await using session = await openSession(service.database.urls.application);
    await session.run(insertSignalsSql(700));
    const signed = await waitForSize(service, 'SIGNALS', 700);
    for (const index of [0, 255, 256, 511, 512, 699]) {
      const { data, errors } = await service.call(
        `{ inclusionProof(log: SIGNALS, index: "${index}") { leafHash hashes treeSize }
           signals(filter: { chainIndex: { eq: "${index}" } }) { nodes { body inclusionProof { hashes tlogProof } } } }`,
      );
      expect(errors).toBeUndefined();
      const { leafHash, hashes, treeSize } = data?.inclusionProof as {
        leafHash: string;
        hashes: string[];
        treeSize: string;
      };
      const [node] = data?.signals.nodes as { body: string; inclusionProof: { hashes: string[]; tlogProof: string } }[];
      expect(node?.inclusionProof.hashes).toEqual(hashes);
      expect(node?.inclusionProof.tlogProof).toContain(`\nindex ${index}\n`);
      const proof = {
        leafHash: hashLeafBytes(Buffer.from(node?.body ?? '')),
        index,
        size: Number(treeSize),
        proof: hashes.map(decodeHex),
        root: decodeHex(signed.rootHash),
      };
      expect(Buffer.from(proof.leafHash).toString('hex')).toBe(leafHash);
      expect(verifyInclusion(proof)).toBe(true);
      expect(verifyInclusion({ ...proof, index: index ^ 1 })).toBe(false);
    }
    const tiles = await session.run('SELECT level, tile FROM ledger_tiles WHERE log = $1 ORDER BY 1, 2', ['signals']);
    expect(tiles).toEqual([
      { level: 0, tile: '0' },
      { level: 0, tile: '1' },
    ]);
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('a signal is proven in the very answer that records it', async () => {
    await using service = await startTestService({ environment: { ...fast, DAYBOOK_CHECKPOINT_SECONDS: '10' } });
    const { data, errors } = await service.call(
      `mutation { createSignal(input: { symbol: "AAPL", action: BUY, entryPrice: "1", confidence: "1" }) {
         signal { body inclusionProof { treeSize leafHash hashes checkpoint } } } }`,
    );
    expect(errors).toBeUndefined();
    expect(data?.createSignal.signal.inclusionProof).toMatchObject({ treeSize: '1', hashes: [] });
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('any two sizes are proven consistent', async () => {
    await using service = await startTestService({ environment: fast });
    await using session = await openSession(service.database.urls.application);
    await session.run(insertSignalsSql(300));
    const first = await waitForSize(service, 'SIGNALS', 300);
    await session.run(insertSignalsSql(41));
    const second = await waitForSize(service, 'SIGNALS', 341);
    const { data } = await service.call(
      '{ consistencyProof(log: SIGNALS, fromSize: "300") { fromSize toSize hashes } }',
    );
    const proof = (data?.consistencyProof.hashes as string[]).map(decodeHex);
    const input = {
      fromSize: 300,
      fromRoot: decodeHex(first.rootHash),
      toSize: 341,
      toRoot: decodeHex(second.rootHash),
      proof,
    };
    expect(verifyConsistency(input)).toBe(true);
    expect(verifyConsistency({ ...input, fromSize: 299 })).toBe(false);
    const refused = await service.call('{ consistencyProof(log: SIGNALS, fromSize: "400", toSize: "341") { hashes } }');
    expect(refused.errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    const ahead = await service.call('{ inclusionProof(log: SIGNALS, index: "900") { hashes } }');
    expect(ahead.errors?.[0]?.extensions.code).toBe('NOT_FOUND');
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('whoever asks for the keys makes the node open none', async () => {
    await using service = await startTestService({ environment: fast });
    const { keys } = service.context.services.proofs;
    await using session = await openSession(service.database.urls.application);
    // A seal that this node cannot open: it signs on with what it opened when it started.
    await session.run("UPDATE public.signing_keys SET sealed_private_key = '\\x00'");
    const { data } = await service.call('{ verifierKeys signingKeys { log validUntil } }');
    expect(data?.verifierKeys).toHaveLength(2);
    expect(data?.signingKeys).toHaveLength(2);
    expect([keys.canSign('signals'), keys.canSign('audit')]).toEqual([true, true]);
    await session.run(insertSignalsSql(1));
    await waitForSize(service, 'SIGNALS', 1);
    await expectLedgerIntact(service.database.urls.auditor);
  });

  test('two nodes sign one log: no size has two checkpoints, and both use one key', async () => {
    await using database = await createTestDatabase();
    const environment = { ...fast, DAYBOOK_MASTER_KEY: '11'.repeat(32) };
    await using left = await startTestService({ database, environment });
    await using right = await startTestService({ database, environment });
    await using session = await openSession(database.urls.application);
    for (let round = 0; round < 20; round += 1) await session.run(insertEntriesSql(7));
    await waitForSize(left, 'AUDIT', 140);
    await waitForSize(right, 'AUDIT', 140);
    expect((await left.call('{ verifierKeys }')).data).toEqual((await right.call('{ verifierKeys }')).data);
    expect(await session.value('SELECT count(*) FROM signing_keys')).toBe('2');
    await expectLedgerIntact(database.urls.auditor);
  });

  test('a node with another master key serves and does not sign', async () => {
    await using database = await createTestDatabase();
    await using signing = await startTestService({
      database,
      environment: { ...fast, DAYBOOK_MASTER_KEY: '11'.repeat(32) },
    });
    await using locked = await startTestService({
      database,
      environment: { ...fast, DAYBOOK_MASTER_KEY: '22'.repeat(32) },
    });
    await using session = await openSession(database.urls.application);
    await session.run(insertSignalsSql(5));
    await waitForSize(signing, 'SIGNALS', 5);
    const report = (await (await fetch(`${locked.url}/health/detailed`)).json()) as any;
    expect(report.checks.signer).toMatchObject({ status: 'failed', logs: { signals: { canSign: false } } });
    await expectLedgerIntact(database.urls.auditor);
  });
});

describe('the signer', () => {
  test('refuses a database that was set back, says so, and opens an incident', async () => {
    await using database = await createTestDatabase();
    const dataDir = await mkdtemp(join(tmpdir(), 'daybook-kept-'));
    const environment = { ...fast, DAYBOOK_DATA_DIR: dataDir };
    try {
      {
        await using service = await startTestService({ database, environment });
        await using session = await openSession(database.urls.application);
        await session.run(insertSignalsSql(10));
        await waitForSize(service, 'SIGNALS', 10);
      }
      await using owner = await openSession(database.urls.superuser);
      await owner.run(`ALTER EVENT TRIGGER daybook_refuse_ddl DISABLE; ALTER TABLE signals DISABLE TRIGGER USER;
        ALTER TABLE checkpoints DISABLE TRIGGER USER;
        DELETE FROM signals WHERE chain_index >= 6; DELETE FROM checkpoints WHERE log = 'signals' AND tree_size > 6;
        ALTER TABLE checkpoints ENABLE ALWAYS TRIGGER prevent_modification_trigger;
        ALTER TABLE signals ENABLE ALWAYS TRIGGER append_signal_trigger;
        ALTER TABLE signals ENABLE ALWAYS TRIGGER begin_append_trigger;
        ALTER TABLE signals ENABLE ALWAYS TRIGGER end_append_trigger;
        ALTER TABLE signals ENABLE ALWAYS TRIGGER log_signal_creation_trigger;
        ALTER EVENT TRIGGER daybook_refuse_ddl ENABLE ALWAYS`);
      await using service = await startTestService({ database, environment });
      await waitUntil(
        'the signer refuses',
        () => service.context.services.proofs.signer.state('signals').refusal !== null,
      );
      await owner.run(insertSignalsSql(20));
      const refused = await service.call('{ inclusionProof(log: SIGNALS, index: "20") { hashes } }');
      expect(refused.errors?.[0]?.extensions.code).toBe('LOG_INCONSISTENT');
      expect(await owner.value("SELECT max(tree_size) FROM checkpoints WHERE log = 'signals'")).toBe('0');
      await waitUntil('the incident is open', async () => {
        const { data } = await service.call('{ incidents(open: true) { nodes { kind title } } }');
        return (data?.incidents.nodes as { kind: string }[]).some(({ kind }) => kind === 'SIGNER');
      });
      const metrics = await (await fetch(`${service.url}/metrics`)).text();
      expect(metrics).toContain('daybook_signer_refuses{log="signals"} 1');
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  });

  test.each([
    [
      'a checkpoint of another key',
      (note: string) => note.replace(/— .*\n$/, `— daybook.local/signals ${'A'.repeat(92)}\n`),
    ],
    ['half a file', (note: string) => note.slice(0, 40)],
  ])('does not go on from %s in its own file', async (_name, damage) => {
    await using database = await createTestDatabase();
    const dataDir = await mkdtemp(join(tmpdir(), 'daybook-kept-'));
    const environment = { ...fast, DAYBOOK_DATA_DIR: dataDir };
    try {
      await using service = await startTestService({ database, environment });
      await waitForSize(service, 'SIGNALS', 0);
      const path = join(dataDir, 'checkpoints', 'signals.checkpoint');
      await writeFile(path, damage(await readFile(path, 'utf8')));
      await waitUntil('it refuses', () => service.context.services.proofs.signer.state('signals').refusal !== null);
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  });
});

test('a page of 1,000 proofs is read together, and each of them verifies', async () => {
  await using service = await startTestService({ environment: fast });
  await using session = await openSession(service.database.urls.application);
  await session.run(insertSignalsSql(1_000));
  const signed = await waitForSize(service, 'SIGNALS', 1_000);
  const { data, errors } = await service.call(
    '{ signals(first: 1000) { nodes { chainIndex verificationHash inclusionProof { treeSize hashes } } } }',
  );
  expect(errors).toBeUndefined();
  const nodes = data?.signals.nodes as {
    chainIndex: string;
    verificationHash: string;
    inclusionProof: { treeSize: string; hashes: string[] };
  }[];
  expect(nodes).toHaveLength(1_000);
  for (const { chainIndex, verificationHash, inclusionProof } of nodes) {
    expect(
      verifyInclusion({
        leafHash: decodeHex(verificationHash),
        index: Number(chainIndex),
        size: Number(inclusionProof.treeSize),
        proof: inclusionProof.hashes.map(decodeHex),
        root: decodeHex(signed.rootHash),
      }),
    ).toBe(true);
  }
  await expectLedgerIntact(service.database.urls.auditor);
});

test('a false hash in a stored tile is not signed into a smaller tree', async () => {
  await using service = await startTestService({ environment: { ...fast, DAYBOOK_CHECKPOINT_SECONDS: '10' } });
  await using owner = await openSession(service.database.urls.superuser, 'SET event_triggers = off');
  await owner.run(`BEGIN; ${insertSignalsSql(256)};
    ALTER TABLE ledger_tiles DISABLE TRIGGER guard_new_tile_trigger;
    INSERT INTO ledger_tiles (log, level, tile, root, hashes) SELECT 'signals', 0, 0, sha256('x'),
      sha256('false') || substring(string_agg(verification_hash, ''::bytea ORDER BY chain_index) FROM 33) FROM signals;
    ALTER TABLE ledger_tiles ENABLE ALWAYS TRIGGER guard_new_tile_trigger; COMMIT`);
  const { signer } = service.context.services.proofs;
  await signer.coveringCheckpoint('signals', 256);
  await expect(signer.checkpointOfSize('signals', 100)).rejects.toMatchObject({ code: 'LOG_INCONSISTENT' });
});

test('a refused removal of a signing key does not put the sealed key on the record', async () => {
  await using service = await startTestService({ environment: fast });
  await using session = await openSession(service.database.urls.application);
  expect((await session.failure('DELETE FROM signing_keys')).code).toBe('DB001');
  await using owner = await openSession(service.database.urls.superuser);
  await waitUntil(
    'the attempt is recorded',
    async () => (await owner.value('SELECT count(*) FROM modification_attempts')) !== '0',
  );
  expect(
    await owner.value("SELECT count(*) FROM modification_attempts WHERE old_data::text LIKE '%sealed_private_key%'"),
  ).toBe('0');
  await expectLedgerIntact(service.database.urls.auditor);
});
