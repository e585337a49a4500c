import { localRootKey } from '../../src/access/root-key.js';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import type { DaybookError } from '../../src/errors.js';
import { CheckpointSigner } from '../../src/proofs/checkpoint-signer.js';
import { CheckpointFiles } from '../../src/proofs/known-checkpoints.js';
import { signCheckpointStep } from '../../src/proofs/sign-checkpoint.js';
import { SigningKeys } from '../../src/proofs/signing-keys.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertSignalsSql, openSession } from '../support/sql-session.js';
import { tamper } from '../support/tamper.js';
import { startTcpRelay } from '../support/tcp-relay.js';
import { createTestDatabase } from '../support/test-database.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const fast = { DAYBOOK_CHECKPOINT_SECONDS: '0.05', DAYBOOK_PUBLISH_SECONDS: '0.05', DAYBOOK_JOBS: 'off' };
const masterKey = '11'.repeat(32);
const log = pino({ level: 'silent' });

async function readMetrics(service: TestService): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(`${service.url}/metrics`);
  return { status: response.status, text: await response.text() };
}

function valueOf(text: string, name: string): number | null {
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return line === undefined ? null : Number(line.split(' ')[1]);
}

async function readHealth(service: TestService): Promise<any> {
  return (await fetch(`${service.url}/health/detailed`)).json();
}

async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'daybook-signer-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

describe('a refusal', () => {
  test('whose report fails is reported again until it is on record, and then no more', async () => {
    await using service = await startTestService({ environment: fast });
    await using folder = await temporaryFolder();
    const files = new CheckpointFiles(folder.path);
    await writeFile(files.pathOf('signals'), 'no checkpoint\n');
    const reports: (DaybookError | null)[] = [];
    await using signer = new CheckpointSigner({
      url: service.database.urls.application,
      database: service.context.services.database,
      intervalMs: 20,
      clock: service.context.services.clock,
      log,
      keys: service.context.services.proofs.keys,
      files,
      published: () => null,
      onRefusal: (_log, error) => {
        reports.push(error);
        return reports.length < 3 ? Promise.reject(new Error('the record is out of order')) : Promise.resolve();
      },
    });
    await waitUntil('the third report is taken', () => reports.length === 3);
    await rm(files.pathOf('signals'));
    await waitUntil('it signs again', () => signer.state('signals').refusal === null && reports.length === 4);
    expect(reports.map((error) => error?.code ?? null)).toEqual([
      'LOG_INCONSISTENT',
      'LOG_INCONSISTENT',
      'LOG_INCONSISTENT',
      null,
    ]);
  });

  test('tells callers nothing of the folders of the node', async () => {
    await using folder = await temporaryFolder();
    await using service = await startTestService({ environment: { ...fast, DAYBOOK_DATA_DIR: folder.path } });
    const { signer } = service.context.services.proofs;
    const path = join(folder.path, 'checkpoints', 'signals.checkpoint');
    await waitUntil('the log is signed', () => signer.state('signals').newestSignedAtMs !== null);
    await writeFile(path, 'no checkpoint\n');
    await waitUntil('it refuses', () => signer.state('signals').refusal !== null);
    await using session = await openSession(service.database.urls.application);
    await session.run(insertSignalsSql(1));
    const { errors } = await service.call('{ inclusionProof(log: SIGNALS, index: "0") { hashes } }');
    expect(errors?.[0]?.extensions.code).toBe('LOG_INCONSISTENT');
    expect(JSON.stringify(errors)).not.toContain(folder.path);
  });
});

test('a checkpoint that is there is read while every connection of the signer waits', async () => {
  await using service = await startTestService({ environment: fast });
  await using owner = await openSession(service.database.urls.superuser);
  const { signer } = service.context.services.proofs;
  await signer.coveringCheckpoint('signals', 0);
  await owner.run('BEGIN; LOCK TABLE public.ledger_tiles IN ACCESS EXCLUSIVE MODE');
  await using watcher = await openSession(service.database.urls.superuser);
  await waitUntil(
    'both logs’ signers wait',
    async () =>
      (await watcher.value(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'daybook signer' AND wait_event_type = 'Lock'`)) === '2',
  );
  const startedMs = performance.now();
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => service.call('{ checkpoint(log: SIGNALS) { treeSize } }')),
  );
  for (const { data } of answers) expect(data?.checkpoint.treeSize).toBe('0');
  expect(performance.now() - startedMs).toBeLessThan(5_000);
  await owner.run('ROLLBACK');
  await expectLedgerIntact(service.database.urls.auditor);
});

test('tiles of changed entries are not stored where a known checkpoint covers them, however many steps they take', async () => {
  await using database = await createTestDatabase();
  await using folder = await temporaryFolder();
  const environment = { ...fast, DAYBOOK_MASTER_KEY: masterKey, DAYBOOK_DATA_DIR: folder.path };
  {
    await using service = await startTestService({ database, environment });
    await using session = await openSession(database.urls.application);
    await session.run(insertSignalsSql(1_100));
    await service.context.services.proofs.signer.coveringCheckpoint('signals', 1_100);
  }
  await using superuser = await openSession(database.urls.superuser);
  const stored = "SELECT count(*) FROM public.ledger_tiles WHERE log = 'signals'";
  expect(await superuser.value(stored)).toBe('4');
  const [entry] = await superuser.run('SELECT verification_hash AS hash FROM public.signals WHERE chain_index = 10');
  await tamper(
    superuser,
    `DELETE FROM public.ledger_tiles WHERE log = 'signals'; DELETE FROM public.checkpoints WHERE log = 'signals';
     UPDATE public.signals SET verification_hash = sha256('false') WHERE chain_index = 10`,
  );

  const pool = openPool({ ...ledgerConnection(database.urls.application, 'test'), max: 2 }, () => undefined);
  try {
    const append = () => Promise.reject(new Error('no key has to be made'));
    const keys = await SigningKeys.open({
      database: pool,
      append,
      root: localRootKey(Buffer.from(masterKey, 'hex')),
      origin: 'daybook.local',
      log,
    });
    const files = new CheckpointFiles(join(folder.path, 'checkpoints'));
    const client = await pool.connect();
    const step = () =>
      signCheckpointStep(client, 'signals', { keys, files, published: () => null }, { wait: true, tilesPerStep: 1 });
    await expect(step()).rejects.toMatchObject({ code: 'LOG_INCONSISTENT' });
    expect(await superuser.value(stored)).toBe('0');
    await tamper(
      superuser,
      `UPDATE public.signals SET verification_hash = '\\x${(entry?.hash as Buffer).toString('hex')}' WHERE chain_index = 10`,
    );
    expect(await step()).toMatchObject({ state: 'signed', checkpoint: { treeSize: '1100' } });
    expect(await superuser.value(stored)).toBe('4');
    client.release();
  } finally {
    await pool.end();
  }
});

test('entries that stay unsigned without any error fail health, open an incident and show in a gauge', async () => {
  await using service = await startTestService({ environment: fast });
  await service.context.services.proofs.signer.coveringCheckpoint('signals', 0);
  await using stranger = await openSession(service.database.urls.auditor);
  // The number of the signals' signer; any role that may connect can take it.
  await stranger.run('SELECT pg_advisory_lock(7219460237150045)');
  await using session = await openSession(service.database.urls.application);
  await session.run(insertSignalsSql(3));
  expect((await readHealth(service)).checks.unsignedEntries).toMatchObject({ status: 'ok', overdue: [] });
  const { overdue } = await waitUntil('health fails', async () => {
    const check = (await readHealth(service)).checks.unsignedEntries;
    return check.status === 'failed' ? check : null;
  });
  expect(overdue).toMatchObject([{ log: 'signals', entries: 3, checkpointSize: 0 }]);
  const { text } = await readMetrics(service);
  expect(valueOf(text, 'daybook_unsigned_age_seconds{log="signals"}')).toBeGreaterThan(10);
  expect(valueOf(text, 'daybook_unsigned_age_seconds{log="audit"}')).toBeLessThan(10);
  const incidents = await waitUntil('an incident is open', async () => {
    const { data } = await service.call('{ incidents(open: true) { nodes { kind title details } } }');
    return data?.incidents.nodes.length > 0 ? data?.incidents.nodes : null;
  });
  expect(incidents).toMatchObject([{ kind: 'SIGNER', title: 'Entries of the signals log stay unsigned' }]);

  await stranger.run('SELECT pg_advisory_unlock(7219460237150045)');
  await waitUntil('health is well', async () => (await readHealth(service)).checks.unsignedEntries.status === 'ok');
  expect(valueOf((await readMetrics(service)).text, 'daybook_unsigned_age_seconds{log="signals"}')).toBe(0);
  await expectLedgerIntact(service.database.urls.auditor);
});

test('without the database the metrics are scraped all the same, without the gauges that need it', async () => {
  await using database = await createTestDatabase();
  const direct = new URL(database.urls.superuser);
  await using relay = await startTcpRelay(`http://${direct.host}`);
  direct.port = new URL(relay.endpoint).port;
  const behindRelay = { ...database, urls: { ...database.urls, superuser: direct.href } };
  await using service = await startTestService({ database: behindRelay, environment: fast });
  const before = await readMetrics(service);
  expect(valueOf(before.text, 'daybook_checkpoint_tree_size{log="signals"}')).toBe(0);
  expect(valueOf(before.text, 'daybook_open_incidents')).toBe(0);
  for (const state of ['cut', 'stalled'] as const) {
    relay.set(state);
    const gone = await waitUntil(`the gauges are gone while the relay is ${state}`, async () => {
      const metrics = await readMetrics(service);
      return valueOf(metrics.text, 'daybook_open_incidents') === null ? metrics : null;
    });
    expect({ status: gone.status, error: gone.status === 200 ? '' : gone.text }).toEqual({ status: 200, error: '' });
    expect(valueOf(gone.text, 'health_check_status')).toBe(0);
    expect(valueOf(gone.text, 'daybook_append_queue_rows')).not.toBeNull();
    expect(gone.text).not.toContain('daybook_checkpoint_tree_size{');
    relay.set('open');
    await waitUntil(
      'the gauges are back',
      async () => valueOf((await readMetrics(service)).text, 'daybook_open_incidents') === 0,
    );
  }
});
