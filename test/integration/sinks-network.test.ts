import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import { pino } from 'pino';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { ledgerConnection, openPool } from '../../src/db/pool.js';
import { LogTail } from '../../src/ledger/tail-log.js';
import { ElasticsearchTarget } from '../../src/sinks/elasticsearch-target.js';
import { replaySink } from '../../src/sinks/replay-sink.js';
import { readSinksFile, type SinkConfig } from '../../src/sinks/sink-config.js';
import { ensureSink, readSinks } from '../../src/sinks/sink-rows.js';
import { SinkRunner } from '../../src/sinks/sink-runner.js';
import type { SinkTarget } from '../../src/sinks/sink-target.js';
import { SyslogTarget } from '../../src/sinks/syslog-target.js';
import { WebhookTarget } from '../../src/sinks/webhook-target.js';
import { startElasticsearch } from '../support/elasticsearch-server.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { startHttpReceiver, type ReceivedRequest } from '../support/http-receiver.js';
import { hasRsyslog, startRsyslog } from '../support/rsyslog-server.js';
import { sampleEntry } from '../support/sample-entries.js';
import { createTestDatabase, type TestDatabase } from '../support/test-database.js';
import { startTcpRelay } from '../support/tcp-relay.js';
import { waitUntil } from '../support/wait-until.js';

const secret = 'a secret that only tests know';
const log = pino({ level: 'silent' });
const count = (to: number) => Array.from({ length: to }, (_, place) => place);

let stack: AsyncDisposableStack;
let database: TestDatabase;
let writer: LedgerWriter;
let pool: pg.Pool;
let folder: string;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  database = stack.use(await createTestDatabase());
  folder = await mkdtemp(join(tmpdir(), 'daybook-sink-'));
  stack.defer(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'secret'), secret);
  writer = stack.use(new LedgerWriter({ url: database.urls.application, queueRowsMax: 50_000, log }));
  pool = openPool(ledgerConnection(database.urls.application, 'test'), () => undefined);
  stack.defer(() => pool.end());
});

afterEach(async () => {
  await stack.disposeAsync();
});

async function append(entries: number, details: object = {}) {
  const made = count(entries).map((place) => sampleEntry(`order ${place}`, { details: JSON.stringify(details) }));
  await writer.append({ callEntries: made });
}

/** A node's runner for a sink of the file that a user would write. */
async function deliver(sink: Record<string, unknown>, running = stack): Promise<SinkRunner> {
  const file = join(folder, 'sinks.json');
  await writeFile(file, JSON.stringify({ sinks: [{ name: 'sink', ...sink }] }));
  const [config] = await readSinksFile(file);
  const tail = new LogTail({ url: database.urls.application, log: 'audit', logger: log, onBroken: () => undefined });
  running.use(tail);
  await tail.start();
  const { number } = await ensureSink(pool, { ...config!, place: '', target: 'target' });
  const runner = new SinkRunner({
    name: 'sink',
    number,
    target: targetOf(config!),
    tail,
    url: database.urls.application,
    rewind: () => Promise.reject(new Error('a network target never ends before its position')),
    log,
  });
  running.use(runner).start();
  return runner;
}

function targetOf(config: SinkConfig): SinkTarget {
  const product = { name: 'daybook', version: '1' };
  switch (config.kind) {
    case 'syslog':
      return new SyslogTarget(config, { product, hostname: 'host' });
    case 'elasticsearch':
      return new ElasticsearchTarget(config);
    case 'webhook':
      return new WebhookTarget(config, { nowMs: () => Date.now() });
    case 'jsonl':
    case 'ecs':
      throw new Error('not over a network');
  }
}

const sinkRow = async () => (await readSinks(pool))[0]!;
const reached = (position: number) =>
  waitUntil(`entry ${position} is acknowledged`, async () => Number((await sinkRow()).position) >= position);

describe('a webhook', () => {
  const hook = { kind: 'webhook', secretFile: 'secret', timeoutSeconds: 0.5, batchEntries: 50 };
  const entriesOf = (requests: readonly ReceivedRequest[]) =>
    requests.flatMap(({ body }) => (JSON.parse(body).data.entries as { index: number }[]).map(({ index }) => index));

  test('gets every entry in order, each batch signed', async () => {
    const receiver = stack.use(await startHttpReceiver());
    await append(200);
    await deliver({ ...hook, url: `${receiver.url}/in?token=hidden` });
    await reached(200);
    expect(entriesOf(receiver.requests)).toEqual(count(200));
    for (const { path, headers, body } of receiver.requests) {
      const [id, timestamp] = [headers['webhook-id'], headers['webhook-timestamp']];
      expect(path).toBe('/in?token=hidden');
      expect(Math.abs(Number(timestamp) - Date.now() / 1_000)).toBeLessThan(60);
      const expected = createHmac('sha256', secret)
        .update(`${String(id)}.${String(timestamp)}.${body}`)
        .digest('base64');
      expect(headers['webhook-signature']).toBe(`v1,${expected}`);
      const { type, data } = JSON.parse(body);
      expect(type).toBe('audit.entries');
      expect(id).toBe(`audit_${data.first}_${data.last}`);
    }
  });

  test('that refuses, hangs, and drops connections gets every entry at last, in order after repeats are dropped', async () => {
    const receiver = stack.use(await startHttpReceiver());
    const faults: ((response: ServerResponse) => void)[] = [
      (response) => response.writeHead(503).end(),
      (response) => response.destroy(),
      () => undefined,
      (response) => response.writeHead(200, { 'content-length': 100 }).write('half'),
    ];
    const taken: ReceivedRequest[] = [];
    receiver.respond((request, response, place) => {
      const fault = place % 2 === 0 ? faults[place / 2] : undefined;
      if (fault !== undefined) return fault(response);
      taken.push(request);
      response.writeHead(200).end();
    });
    await append(200);
    await deliver({ ...hook, url: receiver.url });
    await reached(200);
    expect(entriesOf(taken)).toEqual(count(200));
    expect(receiver.requests.length).toBe(taken.length + faults.length);
  });

  test('that is down is tried after growing pauses, which a restart obeys and a replay ends', async () => {
    const receiver = stack.use(await startHttpReceiver());
    receiver.respond((_, response) => response.writeHead(500).end(`the answer quotes ${secret}`));
    await append(10);
    await using first = new AsyncDisposableStack();
    await deliver({ ...hook, url: receiver.url }, first);
    await waitUntil('it failed twice', async () => (await sinkRow()).failures === 2);
    const { lastError, nextAttemptAt, updatedAt, position } = await sinkRow();
    expect(lastError).toBe(`SINK_UNAVAILABLE: ${receiver.url}: answers 500`);
    expect(Date.parse(nextAttemptAt!) - Date.parse(updatedAt)).toBe(2_000);
    expect(position).toBe('0');
    await first.disposeAsync();
    const tries = receiver.requests.length;
    receiver.respond((_, response) => response.writeHead(200).end());
    await pool.query(`UPDATE public.audit_sinks SET next_attempt_at = clock_timestamp() + interval '1 hour'`);
    await deliver({ ...hook, url: receiver.url });
    await append(1);
    await waitUntil('the next runner has looked at its row', async () => {
      const found = await pool.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'daybook sink sink'
           AND query LIKE '%next_attempt_at - clock_timestamp%' AND state = 'idle'`,
      );
      return found.rows.length > 0;
    });
    expect(receiver.requests.length).toBe(tries);
    const origin = { actor: 'tester', role: null, ipAddress: null, userAgent: null, sessionId: 's', requestId: 'r' };
    const store = { database: pool, append: (request: Parameters<typeof writer.append>[0]) => writer.append(request) };
    await replaySink(store, { name: 'sink', from: '0', number: null, reason: 'mended' }, origin);
    await reached(12);
    expect(await sinkRow()).toMatchObject({ failures: 0, lastError: null, nextAttemptAt: null });
    await expectLedgerIntact(database.urls.auditor);
  });

  test('that takes only small bodies gets smaller batches', async () => {
    const receiver = stack.use(await startHttpReceiver());
    const taken: ReceivedRequest[] = [];
    receiver.respond((request, response) => {
      if (request.body.length > 3_000) return void response.writeHead(413).end();
      taken.push(request);
      response.writeHead(200).end();
    });
    await append(40);
    await deliver({ ...hook, url: receiver.url });
    await reached(40);
    expect(entriesOf(taken)).toEqual(count(40));
    expect((await sinkRow()).failures).toBe(0);
  });
});

describe('Elasticsearch', () => {
  const index = { kind: 'elasticsearch', index: 'daybook-audit', timeoutSeconds: 0.5, batchEntries: 50 };

  test('gets each entry once by its id, also where an answer was lost', async () => {
    const server = stack.use(await startElasticsearch());
    server.respond((request, response, place) => {
      if (place === 1) {
        // Done, and not answered.
        server.answerBulk(request, { writeHead: () => ({ end: () => undefined }) } as unknown as ServerResponse);
        return void response.destroy();
      }
      server.answerBulk(request, response);
    });
    await append(200);
    await deliver({ ...index, url: `${server.url}/`, apiKeyFile: 'secret' });
    await reached(200);
    expect([...server.documents.values()].map((document) => document.event.sequence)).toEqual(count(200));
    expect(server.conflicts()).toBe(50);
    expect(server.requests[0]).toMatchObject({
      path: '/daybook-audit/_bulk',
      headers: expect.objectContaining({ authorization: `ApiKey ${secret}`, 'content-type': 'application/x-ndjson' }),
    });
    for (const [id, document] of server.documents) expect(document.event.id).toBe(id);
  });

  test('that is out of breath for single items gets them again', async () => {
    const server = stack.use(await startElasticsearch());
    let refusals = 3;
    server.refuse((document) => {
      const isBusy = (document.event as { sequence: number }).sequence % 7 === 3 && (refusals -= 1) >= 0;
      return isBusy ? { status: 429, type: 'es_rejected_execution_exception' } : null;
    });
    await append(20);
    await deliver({ ...index, url: server.url });
    await waitUntil(
      'a failure is noted',
      async () => (await sinkRow()).lastError?.includes(' 429 es_rejected_') === true,
    );
    await reached(20);
    expect(new Set([...server.documents.values()].map(({ event }) => event.sequence))).toEqual(new Set(count(20)));
  });

  test('whose mapping refuses a free-form member gets the entry without those, its body as text', async () => {
    const server = stack.use(await startElasticsearch());
    const fault = { status: 400, type: 'document_parsing_exception' };
    server.refuse((document) => ((document.daybook as any)?.details.order === 5 ? fault : null));
    await append(3, { order: 'text' });
    await append(1, { order: 5 });
    await append(3, { order: 'text' });
    await deliver({ ...index, url: server.url });
    await reached(7);
    expect([...server.documents.values()].filter(({ daybook }) => daybook === undefined)).toEqual([
      expect.objectContaining({
        tags: ['daybook_details_refused'],
        event: expect.objectContaining({ sequence: 3, original: expect.stringContaining('"order":5') }),
      }),
    ]);
    expect(server.documents.size).toBe(7);
  });

  test('that refuses an entry in every form stops the sink in the open', async () => {
    const server = stack.use(await startElasticsearch());
    server.refuse((document) => {
      const { sequence } = document.event as { sequence: number };
      return sequence === 2 ? { status: 400, type: 'illegal_argument_exception' } : null;
    });
    await append(5);
    await deliver({ ...index, url: server.url });
    await waitUntil('the failure is noted', async () => (await sinkRow()).lastError !== null);
    expect(await sinkRow()).toMatchObject({
      position: '0',
      lastError: `SINK_REFUSED: ${server.url}: entry 2 is refused with 400 illegal_argument_exception`,
    });
    server.refuse(() => null);
    await reached(5);
  });
});

(hasRsyslog ? describe : describe.skip)('rsyslog over TLS', () => {
  test('gets every entry although it is restarted, and its network fails, again and again', async () => {
    const rsyslog = stack.use(await startRsyslog());
    const relay = stack.use(await startTcpRelay(`http://127.0.0.1:${rsyslog.port}`));
    await append(6_000);
    await deliver({
      kind: 'syslog',
      host: '127.0.0.1',
      port: Number(new URL(relay.endpoint).port),
      tls: { caFile: rsyslog.caFile, certFile: rsyslog.clientCertFile, keyFile: rsyslog.clientKeyFile },
      format: 'ocsf',
      confirmEntries: 500,
      confirmSeconds: 0.5,
    });
    for (const position of [1_000, 2_500]) {
      await reached(position);
      await rsyslog.stop();
      await rsyslog.start();
    }
    await reached(4_000);
    relay.set('cut');
    await waitUntil('the failure is noted', async () => (await sinkRow()).failures > 0);
    relay.set('open');
    await reached(6_000);
    await rsyslog.stop();
    const received = await rsyslog.read();
    expect(new Set(received.map(({ index }) => index))).toEqual(new Set(count(6_000)));
    expect(JSON.parse(received[0]!.text)).toMatchObject({ class_uid: 6003, metadata: { sequence: 0 } });
  }, 120_000);

  test.each(['a server of another authority', 'no client certificate'])('gets nothing with %s', async (fault) => {
    const rsyslog = stack.use(await startRsyslog());
    const other = stack.use(await startRsyslog());
    await append(3);
    await deliver({
      kind: 'syslog',
      host: '127.0.0.1',
      port: rsyslog.port,
      tls: {
        caFile: fault === 'no client certificate' ? rsyslog.caFile : other.caFile,
        ...(fault === 'no client certificate'
          ? {}
          : { certFile: rsyslog.clientCertFile, keyFile: rsyslog.clientKeyFile }),
      },
      confirmSeconds: 0.2,
    });
    await waitUntil('the failure is noted', async () => (await sinkRow()).failures > 0);
    expect((await sinkRow()).position).toBe('0');
    expect(await rsyslog.read()).toEqual([]);
  });
});

test('of several nodes one delivers at a time, and another takes over when it ends', async () => {
  const receiver = stack.use(await startHttpReceiver());
  const hook = { kind: 'webhook', secretFile: 'secret', url: receiver.url };
  await using first = new AsyncDisposableStack();
  await deliver(hook, first);
  await append(50);
  await reached(50);
  await deliver(hook);
  await append(50);
  await reached(100);
  await first.disposeAsync();
  await append(50);
  await reached(150);
  const indexes = receiver.requests.flatMap(({ body }) =>
    (JSON.parse(body).data.entries as { index: number }[]).map((entry) => entry.index),
  );
  expect(indexes).toEqual(count(150));
});

test('the cursor refuses to jump, to go back without a record, and to be removed', async () => {
  await append(10);
  await ensureSink(pool, { name: 'sink', kind: 'webhook', startAt: 'beginning', place: '', target: 'target' });
  const refusal = (sql: string) =>
    pool.query(sql).then(
      () => 'done',
      (error: { code: string }) => error.code,
    );
  expect(await refusal('UPDATE public.audit_sinks SET position = 11, delivered = 11')).toBe('DB001');
  expect(await refusal('UPDATE public.audit_sinks SET position = 4')).toBe('DB001');
  expect(await refusal('UPDATE public.audit_sinks SET position = 4, delivered = 4')).toBe('done');
  expect(await refusal('UPDATE public.audit_sinks SET position = 3')).toBe('DB001');
  expect(await refusal('UPDATE public.audit_sinks SET position = 3, replays = 1')).toBe('DB001');
  expect(await refusal(`UPDATE public.audit_sinks SET kind = 'syslog'`)).toBe('DB001');
  expect(await refusal('DELETE FROM public.audit_sinks')).toBe('DB001');
  expect(await refusal('TRUNCATE public.audit_sinks')).toBe('DB001');
  await expectLedgerIntact(database.urls.auditor);
});

test('a sink that is to begin at the head leaves out what was recorded before', async () => {
  const receiver = stack.use(await startHttpReceiver());
  await append(10);
  await deliver({ kind: 'webhook', secretFile: 'secret', url: receiver.url, startAt: 'head' });
  await append(5);
  await reached(15);
  expect(JSON.parse(receiver.requests[0]!.body).data.first).toBe(10);
});
