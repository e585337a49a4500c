import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseVerifierKey } from '../../src/core/verifier-key.js';
import { serviceOrigin } from '../../src/integrity/integrity-entry.js';
import { pino } from 'pino';
import { LogTail } from '../../src/ledger/tail-log.js';
import { openFeed } from '../../src/ledger/feed.js';
import { createPack } from '../../src/packs/create-packs.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { archiveOld, fillLog, purgeOld, retentionOrigin, shortRetention } from '../support/retained-log.js';
import { runScript } from '../support/run-script.js';
import { openSession } from '../support/sql-session.js';
import { adminKey, signalInput, startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const reason = 'asked for by the regulator';
let service: TestService;
let folder: string;
let signalId: string;
let environment: Record<string, string>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daybook-archives-'));
  environment = { ...shortRetention, DAYBOOK_LOG_FILES: 'on' };
  service = await startTestService({ environment });
  const create = 'mutation ($input: CreateSignalInput!) { createSignal(input: $input) { signal { id } } }';
  signalId = (await service.call(create, { input: signalInput() })).data?.createSignal.signal.id as string;
  const order = { symbol: 'AAPL', side: 'BUY', quantity: '10', orderId: 'o-1', signalId };
  const events = [
    { orderAccepted: { ...order, price: '100', orderType: 'LIMIT' } },
    { filled: { ...order, price: '100', fee: '0' } },
  ];
  const recorded = await service.call(
    'mutation ($input: RecordEventsInput!) { recordEvents(input: $input) { entries { id } } }',
    { input: { events } },
  );
  expect(recorded.errors).toBeUndefined();
  await fillLog(service, 800);
  expect(await archiveOld(service)).toHaveLength(1);
  expect((await purgeOld(service)).firstKept).toBe(768);
});

afterAll(async () => {
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const rest = (path: string) =>
  fetch(`${service.url}${path}`, { headers: { authorization: `Bearer ${adminKey}` } }).then(async (response) => ({
    status: response.status,
    archived: response.headers.get('daybook-archived'),
    body: (await response.text()) || 'null',
  }));
const daybook = async (...args: string[]) => {
  const outcome = await runScript('src/main.ts', ['archive', ...args], {
    ...environment,
    DAYBOOK_DATA_DIR: service.context.config.dataDir,
    DATABASE_URL: service.database.urls.superuser,
  });
  return { ...outcome, json: args.includes('--json') ? (JSON.parse(outcome.stdout) as Record<string, any>) : {} };
};

describe('where entries were archived and removed', () => {
  test('REST answers name them in a header and in JSON, and an index of them is ARCHIVED', async () => {
    const list = await rest('/audit/logs?limit=1');
    expect(list).toMatchObject({ status: 200, archived: '0-767' });
    expect(JSON.parse(list.body)).toMatchObject({ archived: '0-767' });
    expect(await rest('/audit/export?format=csv&event=OrderAccepted')).toMatchObject({ archived: '0-767' });
    const stats = await rest('/audit/stats');
    expect(stats.archived).toBe('0-767');
    expect(JSON.parse(stats.body)).toMatchObject({ archived: '0-767' });
    expect(await rest('/audit/logs?startDate=2999-01-01')).toMatchObject({ status: 200, archived: null });
    const single = await rest('/audit/logs/5');
    expect(single.status).toBe(410);
    expect(JSON.parse(single.body)).toMatchObject({ error: { code: 'ARCHIVED' } });
    expect((await rest('/audit/logs/999999')).status).toBe(404);
  });

  test('the trace of a signal says that it does not know, until they are brought back', async () => {
    const trace = async () =>
      (
        await service.call(
          `query ($id: ID!) { signalTrace(signalId: $id) { status reason filledQuantity complete
             archived { firstIndex lastIndex } events { joinedBy } } }`,
          { id: signalId },
        )
      ).data?.signalTrace as object;
    const gap = { firstIndex: '0', lastIndex: '767' };
    expect(await trace()).toMatchObject({ status: 'ARCHIVED', complete: false, archived: gap, events: [] });
    const today = new Date().toISOString().slice(0, 10);
    const rates = () =>
      service
        .call(`{ executionRates(from: "${today}", to: "${today}") { signals executed } }`)
        .then((answer) => answer);
    expect((await rates()).errors?.[0]?.extensions.code).toBe('ARCHIVED');
    const restored = await service.call(
      `mutation { restoreArchives(input: { firstIndex: "0", lastIndex: "767", reason: "${reason}" }) { archives { state } } }`,
    );
    expect(restored.errors).toBeUndefined();
    expect(await trace()).toMatchObject({ status: 'EXECUTED', filledQuantity: '10', complete: true, archived: null });
    expect((await rates()).data?.executionRates).toMatchObject([{ signals: 1, executed: 1 }]);
    await using application = await openSession(service.database.urls.application);
    await application.run('DELETE FROM public.restored_entries');
  });

  test('a pack of their day is refused as ARCHIVED', async () => {
    const { packs } = service.context.services;
    const request = {
      date: new Date().toISOString().slice(0, 10),
      kind: 'PARTIAL' as const,
      origin: serviceOrigin('test', 'test'),
      signal: new AbortController().signal,
    };
    await expect(createPack(packs, request)).rejects.toMatchObject({ code: 'ARCHIVED' });
  });

  test('a feed from before them ends in CURSOR_EXPIRED, one from the first that is left goes on', async () => {
    // A tail of its own: that of the node may still have them in memory.
    await using tail = new LogTail({
      url: service.database.urls.application,
      logger: pino({ level: 'silent' }),
      onBroken: () => undefined,
      log: 'audit',
    });
    await tail.start();
    const read = async (after: bigint) => {
      for await (const frame of await openFeed({ tail, batch: 10, after })) return frame;
      return null;
    };
    await expect(read(3n)).rejects.toMatchObject({ code: 'CURSOR_EXPIRED' });
    expect(await read(768n)).not.toBeNull();
  });

  test('samples and recent entries are checked without false breaks', async () => {
    const { integrity } = service.context.services;
    for (const kind of ['SAMPLE', 'RECENT'] as const) {
      const check = await integrity.run({ kind, origin: retentionOrigin(), append: service.context.append });
      expect(check).toMatchObject({ kind, result: 'OK' });
      expect(Number(check.entriesChecked)).toBeGreaterThan(0);
    }
  });

  test('the stand-alone verifier finds the published log intact', async () => {
    const { data } = await service.call('{ verifierKeys }');
    const key = (data?.verifierKeys as string[]).find((one) => parseVerifierKey(one).name.endsWith('/audit'))!;
    const layout = join(service.context.config.store.folder, 'audit');
    const head = async () => Number((await readFile(join(layout, 'checkpoint'), 'utf8')).split('\n')[1]);
    await waitUntil('more than was removed is published', async () => (await head()) > 800);
    const { exitCode, stdout } = await runScript('src/verifier/main.ts', ['log', layout, '--key', key], {});
    expect([exitCode, stdout.trim().split('\n').at(-1)]).toEqual([0, expect.stringMatching(/^intact/)]);
  });
});

describe('daybook archive', () => {
  test('lists, verifies and writes entries into a file, with its reading on the record; a wrong question ends in exit code 1', async () => {
    const [listed, verified, none, unknown] = await Promise.all([
      daybook('list', '--json'),
      daybook('verify', '--json'),
      daybook('restore', '--json'),
      daybook('verify', '--number', '99', '--json'),
    ]);
    expect(none).toMatchObject({ exitCode: 1, json: { error: { code: 'BAD_USER_INPUT' } } });
    expect(unknown).toMatchObject({ exitCode: 1, json: { error: { code: 'NOT_FOUND' } } });
    expect(listed.json.archives).toMatchObject([{ state: 'ARCHIVED', firstIndex: '0', lastIndex: '767' }]);
    expect(verified.json).toEqual({ verified: 1 });
    const file = join(folder, 'entries.jsonl');
    const written = await daybook('restore', '--from', '10', '--out', file, '--reason', reason, '--json');
    expect(written).toMatchObject({ exitCode: 0, json: { archives: [{ state: 'ARCHIVED' }] } });
    expect((await readFile(file, 'utf8')).split('\n')).toHaveLength(769);
    const again = await daybook('restore', '--number', '1', '--out', file, '--reason', reason, '--json');
    expect(again).toMatchObject({ exitCode: 1, json: { error: {} } });
    await using session = await openSession(service.database.urls.auditor);
    const told = `SELECT count(*) FROM public.audit_entries WHERE event = 'ArchiveRestored'
      AND details ->> 'reason' = $1 AND actor = 'command line'`;
    expect(Number(await session.value(told, [reason]))).toBe(2);
  });

  test('creates, removes, brings back and compacts', async () => {
    await fillLog(service, 300);
    expect((await daybook('create', '--json')).json.made).toMatchObject([{ firstIndex: 768, lastIndex: 1023 }]);
    await waitUntil('it is delivered', async () => {
      await using session = await openSession(service.database.urls.auditor);
      return (await session.value('SELECT daybook.first_kept_index()')) === '1024';
    });
    expect((await daybook('purge', '--json')).json).toEqual({ purged: { entries: 256, firstKept: 1_024 } });
    const { json: restored } = await daybook('restore', '--number', '2', '--json');
    expect(restored.archives).toMatchObject([{ state: 'RESTORED', firstIndex: '768' }]);
    const { json: compacted } = await daybook('compact', '--json');
    expect(compacted.compacted.bytesAfter).toBeLessThan(compacted.compacted.bytesBefore as number);
  });
});
