import { createHmac } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { withConnection } from '../../src/db/admin-connection.js';
import { replaySink } from '../../src/sinks/replay-sink.js';
import { ensureSink } from '../../src/sinks/sink-rows.js';
import { startElasticsearch } from '../support/elasticsearch-server.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { startHttpReceiver, type ReceivedRequest } from '../support/http-receiver.js';
import { count, makeSinkBed, sinkSecret, type SinkBed } from '../support/sink-bed.js';
import { waitUntil } from '../support/wait-until.js';

let bed: SinkBed;
let stack: AsyncDisposableStack;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  bed = stack.use(await makeSinkBed());
});
afterEach(() => stack.disposeAsync());

async function replay(from: string) {
  const origin = { actor: 'tester', role: null, ipAddress: null, userAgent: null, sessionId: 's', requestId: 'r' };
  const append = (request: Parameters<typeof bed.writer.append>[0]) => bed.writer.append(request);
  await replaySink({ database: bed.pool, append }, { name: 'sink', from, number: null, reason: 'mended' }, origin);
}

describe('a webhook', () => {
  const hook = { kind: 'webhook', secretFile: 'secret', timeoutSeconds: 0.5, batchEntries: 50 };
  const entriesOf = (requests: readonly ReceivedRequest[]) =>
    requests.flatMap(({ body }) => (JSON.parse(body).data.entries as { index: number }[]).map(({ index }) => index));

  test('gets every entry in order, each batch signed', async () => {
    const receiver = stack.use(await startHttpReceiver());
    await bed.append(200);
    await bed.deliver({ ...hook, url: `${receiver.url}/in?token=hidden` });
    await bed.reached(200);
    expect(entriesOf(receiver.requests)).toEqual(count(200));
    for (const { path, headers, body } of receiver.requests) {
      const [id, timestamp] = [headers['webhook-id'], headers['webhook-timestamp']];
      expect(path).toBe('/in?token=hidden');
      expect(Math.abs(Number(timestamp) - Date.now() / 1_000)).toBeLessThan(60);
      const expected = createHmac('sha256', sinkSecret)
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
      (response) => void response.writeHead(200, { 'content-length': 100 }).write('half', () => response.destroy()),
      (response) => pour(response.writeHead(200)),
      (response) => response.writeHead(302, { location: '/elsewhere' }).end(),
    ];
    const taken: ReceivedRequest[] = [];
    receiver.respond((request, response, place) => {
      const fault = place % 2 === 0 ? faults[place / 2] : undefined;
      if (fault !== undefined) return fault(response);
      taken.push(request);
      response.writeHead(200).end();
    });
    await bed.append(200);
    await bed.deliver({ ...hook, url: receiver.url, batchEntries: 25 });
    await bed.reached(200);
    expect(entriesOf(taken)).toEqual(count(200));
    expect(receiver.requests.length).toBe(taken.length + faults.length);
  });

  test('that is down is tried after growing pauses, which a restart obeys and a replay ends', async () => {
    const receiver = stack.use(await startHttpReceiver());
    receiver.respond((_, response) => response.writeHead(500).end(`the answer quotes ${sinkSecret}`));
    await bed.append(10);
    await using first = new AsyncDisposableStack();
    await bed.deliver({ ...hook, url: receiver.url }, { running: first, firstPauseMs: 1_000 });
    await waitUntil('it failed twice', async () => (await bed.row()).failures === 2);
    const { lastError, nextAttemptAt, updatedAt, position } = await bed.row();
    expect(lastError).toBe(`SINK_UNAVAILABLE: ${receiver.url}: answers 500`);
    expect(Date.parse(nextAttemptAt!) - Date.parse(updatedAt)).toBe(2_000);
    expect(position).toBe('0');
    await first.disposeAsync();
    const tries = receiver.requests.length;
    receiver.respond((_, response) => response.writeHead(200).end());
    await bed.pool.query(`UPDATE public.audit_sinks SET next_attempt_at = clock_timestamp() + interval '1 hour'`);
    await bed.deliver({ ...hook, url: receiver.url });
    await bed.append(1);
    await waitUntil('the next runner has looked at its row', async () => {
      const found = await bed.pool.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'daybook sink sink'
           AND query LIKE '%next_attempt_at - clock_timestamp%' AND state = 'idle'`,
      );
      return found.rows.length > 0;
    });
    expect(receiver.requests.length).toBe(tries);
    await replay('0');
    await bed.reached(12);
    expect(await bed.row()).toMatchObject({ failures: 0, lastError: null, nextAttemptAt: null });
    await expectLedgerIntact(bed.database.urls.auditor);
  });

  test('that takes only small bodies gets smaller batches', async () => {
    const receiver = stack.use(await startHttpReceiver());
    const taken: ReceivedRequest[] = [];
    receiver.respond((request, response) => {
      if (request.body.length > 3_000) return void response.writeHead(413).end();
      taken.push(request);
      response.writeHead(200).end();
    });
    await bed.append(40);
    await bed.deliver({ ...hook, url: receiver.url });
    await bed.reached(40);
    expect(entriesOf(taken)).toEqual(count(40));
    expect((await bed.row()).failures).toBe(0);
  });
});

/** A body without an end, as fast as it is taken. */
function pour(response: ServerResponse): void {
  const piece = Buffer.alloc(1024 * 1024);
  const more = () => {
    while (!response.destroyed && response.write(piece));
  };
  response.on('error', () => undefined);
  response.on('drain', more);
  more();
}

describe('Elasticsearch', () => {
  const created = { create: { status: 201 } };
  const failed = () => ({ create: { status: 503, error: { type: 'unavailable_shards_exception' } } });
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
    await bed.append(200);
    await bed.deliver({ ...index, url: `${server.url}/`, apiKeyFile: 'secret' });
    await bed.reached(200);
    expect([...server.documents.values()].map((document) => document.event.sequence)).toEqual(count(200));
    expect(server.conflicts()).toBe(50);
    expect(server.requests[0]).toMatchObject({
      path: '/daybook-audit/_bulk',
      headers: expect.objectContaining({
        authorization: `ApiKey ${sinkSecret}`,
        'content-type': 'application/x-ndjson',
      }),
    });
    for (const [id, document] of server.documents) expect(document.event.id).toBe(id);
  });

  test('has nothing twice after a replay', async () => {
    const server = stack.use(await startElasticsearch());
    await bed.append(120);
    await bed.deliver({ ...index, url: server.url });
    await bed.reached(120);
    await replay('37');
    await bed.reached(121);
    expect([...server.documents.values()].map(({ event }) => event.sequence)).toEqual(count(121));
    expect(server.conflicts()).toBe(120 - 37);
    expect(await bed.row()).toMatchObject({ replays: 1, delivered: String(121 + 120 - 37) });
    await expectLedgerIntact(bed.database.urls.auditor);
  });

  test('that is out of breath for single items gets them again', async () => {
    const server = stack.use(await startElasticsearch());
    let isBusy = true;
    server.refuse((document) => {
      const { sequence } = document.event as { sequence: number };
      return isBusy && sequence % 7 === 3 ? { status: 429, type: 'es_rejected_execution_exception' } : null;
    });
    await bed.append(20);
    await bed.deliver({ ...index, url: server.url });
    await waitUntil(
      'a failure is noted',
      async () => (await bed.row()).lastError?.includes(' 429 es_rejected_') === true,
    );
    expect((await bed.row()).position).toBe('0');
    isBusy = false;
    await bed.reached(20);
    expect(new Set([...server.documents.values()].map(({ event }) => event.sequence))).toEqual(new Set(count(20)));
  });

  test('that says all is well is not believed unless it says so of every entry', async () => {
    const server = stack.use(await startElasticsearch());
    const lies: ((items: readonly object[]) => unknown)[] = [
      (items) => ({ errors: false, items: items.slice(1) }),
      (items) => ({ errors: false, items: items.map(() => ({ create: {} })) }),
      (items) => ({ errors: false, items: items.map(() => ({ index: { status: 201 } })) }),
      (items) => ({ errors: false, items: items.map(failed) }),
      (items) => ({ errors: false, items: [...items, created] }),
      () => ({ errors: false, took: 1 }),
      () => null,
      () => 'no object',
    ];
    server.respond((request, response, place) => {
      const lie = lies[place];
      if (lie === undefined) return server.answerBulk(request, response);
      const items = request.body.split('\n').flatMap((line) => (line.startsWith('{"create"') ? [created] : []));
      response.writeHead(200).end(JSON.stringify(lie(items)));
    });
    await bed.append(20);
    await bed.deliver({ ...index, url: server.url });
    await bed.reached(20);
    expect([...server.documents.values()].map(({ event }) => event.sequence)).toEqual(count(20));
    expect(server.requests.length).toBe(lies.length + 1);
  });

  test('whose mapping refuses a free-form member gets the entry without those, its body as text', async () => {
    const server = stack.use(await startElasticsearch());
    const fault = { status: 400, type: 'document_parsing_exception' };
    server.refuse((document) => ((document.daybook as any)?.details.order === 5 ? fault : null));
    await bed.append(3, { order: 'text' });
    await bed.append(1, { order: 5 });
    await bed.append(3, { order: 'text' });
    await bed.deliver({ ...index, url: server.url });
    await bed.reached(7);
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
    await bed.append(5);
    await bed.deliver({ ...index, url: server.url });
    await waitUntil('the failure is noted', async () => (await bed.row()).lastError !== null);
    expect(await bed.row()).toMatchObject({
      position: '0',
      lastError: `SINK_REFUSED: ${server.url}: entry 2 is refused with 400 illegal_argument_exception`,
    });
    server.refuse(() => null);
    await bed.reached(5);
  });
});

test('of several nodes one delivers at a time, and another takes over when it ends', async () => {
  const receiver = stack.use(await startHttpReceiver());
  const hook = { kind: 'webhook', secretFile: 'secret', url: receiver.url };
  await using first = new AsyncDisposableStack();
  await bed.deliver(hook, { running: first });
  await bed.append(50);
  await bed.reached(50);
  await bed.deliver(hook);
  await bed.append(50);
  await bed.reached(100);
  await first.disposeAsync();
  await bed.append(50);
  await bed.reached(150);
  const indexes = receiver.requests.flatMap(({ body }) =>
    (JSON.parse(body).data.entries as { index: number }[]).map((entry) => entry.index),
  );
  expect(indexes).toEqual(count(150));
});

test('a session that the database ends is made anew, and nothing is left out', async () => {
  const receiver = stack.use(await startHttpReceiver());
  await bed.append(50);
  await bed.deliver({ kind: 'webhook', secretFile: 'secret', url: receiver.url, batchEntries: 10 });
  for (const place of count(4)) {
    await bed.reached(50 * (place + 1));
    await withConnection(bed.database.urls.superuser, async (superuser) => {
      const ended = await superuser.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'daybook %'`,
      );
      expect(ended.rows.length).toBeGreaterThan(1);
    });
    await waitUntil('the next entries are recorded', () =>
      bed.append(50).then(
        () => true,
        () => false,
      ),
    );
  }
  const head = Number((await bed.row()).head);
  await bed.reached(head);
  const indexes = receiver.requests.flatMap(({ body }) =>
    (JSON.parse(body).data.entries as { index: number }[]).map((entry) => entry.index),
  );
  expect(new Set(indexes)).toEqual(new Set(count(head)));
  await expectLedgerIntact(bed.database.urls.auditor);
});

test('the cursor refuses to jump, to go back without a record, and to be removed', async () => {
  await bed.append(10);
  await ensureSink(bed.pool, { name: 'sink', kind: 'webhook', startAt: 'beginning', place: '', target: 'target' });
  const refusal = (sql: string) =>
    bed.pool.query(sql).then(
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
  await expectLedgerIntact(bed.database.urls.auditor);
});

test('a sink that is to begin at the head leaves out what was recorded before', async () => {
  const receiver = stack.use(await startHttpReceiver());
  await bed.append(10);
  await bed.deliver({ kind: 'webhook', secretFile: 'secret', url: receiver.url, startAt: 'head' });
  await bed.append(5);
  await bed.reached(15);
  expect(JSON.parse(receiver.requests[0]!.body).data.first).toBe(10);
});
