import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import express from 'express';
import { parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { auditReaders } from '../../src/access/audited.js';
import { recordedDownload } from '../../src/http/audit-route-download.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { insertEntriesSql, insertSignalsSql, openSession, type SqlSession } from '../support/sql-session.js';
import { adminKey, startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const authorization = `Bearer ${adminKey}`;
/** More than sockets and pipes hold between the two ends, so that a reader who pauses stops the export. */
const entryCount = 40_000;

let service: TestService;
let session: SqlSession;

beforeAll(async () => {
  service = await startTestService({ environment: { DAYBOOK_JOBS: 'off' } });
  session = await openSession(service.database.urls.superuser);
  await session.run(insertEntriesSql(entryCount, 'n'.repeat(200)));
});

afterAll(async () => {
  await session[Symbol.asyncDispose]();
  await expectLedgerIntact(service.database.urls.auditor);
  await service[Symbol.asyncDispose]();
});

/** The answer's head, its body not yet read: whoever reads nothing holds the export up. */
async function open(path: string, base = service.url): Promise<IncomingMessage> {
  const request = get(`${base}${path}`, { headers: { authorization }, agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response;
}

async function readAll(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function callsOf(resource: string): Promise<any[]> {
  return session.run(
    `SELECT chain_index::int AS index, outcome, details::jsonb AS details FROM audit_entries
     WHERE event = 'ApiCall' AND resource = $1 ORDER BY chain_index`,
    [resource],
  );
}

async function lastCall(): Promise<any> {
  return (await callsOf('/audit/export')).at(-1);
}

async function openSnapshots(): Promise<number> {
  return Number(
    await session.value(
      `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'daybook export' AND datname = current_database()`,
    ),
  );
}

describe('an export', () => {
  test('holds the same entries in each format, all of them, oldest first', async () => {
    const expected = await session.run(
      `SELECT id::text, chain_index::text AS index, details::text FROM audit_entries
       WHERE event = 'OrderAccepted' ORDER BY chain_index`,
    );
    const wanted = expected.map(({ id, index }) => `${String(id)} ${String(index)}`);
    const exported = async (format: string) =>
      readAll(await open(`/audit/export?event=OrderAccepted&format=${format}`));
    const asText = (rows: any[]) => rows.map(({ id, chainIndex }) => `${id} ${chainIndex}`);

    const envelope = JSON.parse((await exported('json')).toString());
    expect(envelope).toMatchObject({ count: entryCount, filter: { event: 'OrderAccepted' } });
    expect([envelope.firstIndex, envelope.lastIndex]).toEqual([expected[0]?.index, expected.at(-1)?.index]);
    expect(asText(envelope.logs)).toEqual(wanted);
    const lines = (await exported('jsonl')).toString().trimEnd().split('\n');
    expect(asText(lines.map((line) => JSON.parse(line)))).toEqual(wanted);
    const details = JSON.stringify(JSON.parse(String(expected[0]?.details)));
    expect(lines[0]).toContain(`"details":${details}`);
    const [header, ...records] = (await exported('csv')).toString().trimEnd().split('\r\n');
    const place = header?.split(',').indexOf('chainIndex') ?? -1;
    // What stands before the index in these entries holds no comma but in requestData, which is quoted.
    const cells = (record: string) => record.replace(/"(?:[^"]|"")*"/g, '').split(',');
    expect(records.map((record) => `${cells(record)[0]} ${cells(record)[place]}`)).toEqual(wanted);
    const file = new Uint8Array(await exported('parquet')).buffer;
    const metadata = await parquetMetadataAsync(file);
    expect(asText(await parquetReadObjects({ file, columns: ['id', 'chainIndex'] }))).toEqual(wanted);
    const facts = Object.fromEntries((metadata.key_value_metadata ?? []).map(({ key, value }) => [key, value]));
    expect(facts).toMatchObject({
      'daybook.count': String(entryCount),
      'daybook.firstIndex': expected[0]?.index,
      'daybook.lastIndex': expected.at(-1)?.index,
    });
  }, 120_000);

  test('says in headers what it holds, and in trailers that it was all', async () => {
    const response = await open('/audit/export?event=OrderAccepted&resource=order%201&text=%C3%BC');
    const none = await readAll(response);
    expect(none.toString().split('\r\n')).toHaveLength(2);
    expect(response.headers).toMatchObject({
      'content-type': 'text/csv; charset=utf-8; header=present',
      'daybook-count': '0',
      'daybook-filter': '{"resource":"order 1","event":"OrderAccepted","text":"\\u00fc"}',
    });
    expect(response.headers).not.toHaveProperty('daybook-first-index');
    const full = await open('/audit/export?event=OrderAccepted');
    const body = await readAll(full);
    expect(full.headers['daybook-count']).toBe(String(entryCount));
    expect(full.trailers).toEqual({
      'daybook-rows': String(entryCount),
      'content-digest': `sha-256=:${createHash('sha256').update(body).digest('base64')}:`,
    });
  });

  test('leaves its entry, with filter, count and range, before its first byte', async () => {
    await session.run('BEGIN; SELECT daybook.lock_ledger()');
    const before = (await callsOf('/audit/export')).length;
    let answered = false;
    const pending = open('/audit/export?event=OrderAccepted').then((response) => {
      answered = true;
      return response;
    });
    await waitUntil('the entry waits for the lock', async () =>
      Boolean(await session.value("SELECT true FROM pg_locks WHERE locktype = 'advisory' AND NOT granted LIMIT 1")),
    );
    expect(answered).toBe(false);
    await session.run('COMMIT');
    const response = await pending;
    // Nothing of the body was read: the entry is there all the same.
    const entry = await lastCall();
    expect((await callsOf('/audit/export')).length).toBe(before + 1);
    expect(entry).toMatchObject({
      outcome: 'OK',
      details: { arguments: { event: 'OrderAccepted' }, entries: entryCount, format: 'csv', statusCode: 200 },
    });
    expect(entry.details.firstIndex).toBe(response.headers['daybook-first-index']);
    expect(entry.details.asOf).toBe(response.headers['daybook-as-of']);
    await readAll(response);
    expect((await callsOf('/audit/export')).length).toBe(before + 1);
  });

  test('is of one moment: what is recorded while it runs is not in it', async () => {
    const response = await open('/audit/export?format=jsonl');
    await session.run(insertSignalsSql(500));
    const lines = (await readAll(response)).toString().trimEnd().split('\n');
    expect(lines).toHaveLength(Number(response.headers['daybook-count']));
    expect(lines.at(-1)).toContain(`"chainIndex":"${String(response.headers['daybook-as-of'])}"`);
    expect(lines.map((line) => JSON.parse(line).chainIndex)).toEqual(lines.map((_, index) => String(index)));
  });

  test('that fails in its middle breaks off without a clean end, and says so on the record', async () => {
    for (const format of ['csv', 'json', 'jsonl', 'parquet']) {
      const response = await open(`/audit/export?event=OrderAccepted&format=${format}`);
      await session.run(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'daybook export' AND datname = current_database()`,
      );
      await expect(readAll(response)).rejects.toMatchObject({ code: 'ECONNRESET' });
      expect(response.complete).toBe(false);
      const entry = await waitUntil('its end is recorded', async () => {
        const last = await lastCall();
        return last.outcome === 'OK' ? null : last;
      });
      expect(entry).toMatchObject({ outcome: 'DATABASE_UNAVAILABLE', details: { entries: entryCount, format } });
      expect(entry.details.sentRows).toBeLessThan(entryCount);
    }
  });

  test('whose reader goes away ends, gives its snapshot back, and says so on the record', async () => {
    const response = await open('/audit/export?event=OrderAccepted');
    expect(await openSnapshots()).toBe(1);
    response.destroy();
    await waitUntil('its end is recorded', async () => (await lastCall()).outcome === 'DOWNLOAD_INCOMPLETE');
    await waitUntil('its snapshot is given back', async () => (await openSnapshots()) === 0);
  });

  test('whose reader takes nothing any more is broken off after a time', async () => {
    const rest = {
      append: service.context.append,
      redactor: service.context.services.redactor,
      clock: service.context.services.clock,
      apiKeys: service.context.services.apiKeys,
      trustedProxies: 0,
      log: service.context.log,
    };
    let isDisposed = false;
    let sent = 0;
    const endless = async function* () {
      for (;;) {
        sent += 1;
        yield 'x'.repeat(65_536);
      }
    };
    const app = express();
    app.get(
      '/stalled',
      recordedDownload(rest, {
        roles: auditReaders,
        stallMs: 200,
        open: async () => ({
          headers: {},
          entry: {},
          chunks: endless(),
          rows: () => sent,
          [Symbol.asyncDispose]: async () => void (isDisposed = true),
        }),
      }),
    );
    const server = createServer(app);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const response = await open('/stalled', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
      await waitUntil('it was broken off', () => isDisposed);
      expect((await callsOf('/stalled')).map(({ outcome }) => outcome)).toEqual(['OK', 'DOWNLOAD_INCOMPLETE']);
      await expect(readAll(response)).rejects.toMatchObject({ code: 'ECONNRESET' });
    } finally {
      server.close();
      await once(server, 'close');
    }
  });

  test('waits behind four others: the fifth is refused, until one has ended', async () => {
    const running = [];
    for (let number = 0; number < 4; number += 1) running.push(await open('/audit/export'));
    const fifth = await open('/audit/export');
    expect(JSON.parse((await readAll(fifth)).toString()).error).toMatchObject({
      code: 'EXPORTS_BUSY',
      retryable: true,
    });
    expect((await lastCall()).outcome).toBe('EXPORTS_BUSY');
    running[0]?.destroy();
    await waitUntil('one has ended', async () => (await openSnapshots()) === 3);
    const next = await open('/audit/export?userId=nobody');
    expect(next.statusCode).toBe(200);
    for (const response of [next, ...running]) response.destroy();
    await waitUntil('all have ended', async () => (await openSnapshots()) === 0);
  });

  test('is refused over HTTP/1.0, in which a part of it would look whole, and sends no body for HEAD', async () => {
    const raw = async (head: string) => {
      const { hostname, port } = new URL(service.url);
      const socket = connect(Number(port), hostname);
      socket.write(`${head}\r\nHost: x\r\nAuthorization: ${authorization}\r\nConnection: close\r\n\r\n`);
      const chunks: Buffer[] = [];
      for await (const chunk of socket) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString();
    };
    expect(await raw('GET /audit/export HTTP/1.0')).toMatch(/^HTTP\/1\.1 400[^]*"code":"BAD_REQUEST"/);
    const head = await raw('HEAD /audit/export?event=OrderAccepted HTTP/1.1');
    expect(head).toMatch(new RegExp(`^HTTP/1.1 200[^]*Daybook-Count: ${entryCount}\r\n`));
    expect(head).toMatch(/\r\n\r\n$/);
    await waitUntil('nothing stays open', async () => (await openSnapshots()) === 0);
  });

  test('repeats no secret that was searched for, in any format, header or entry', async () => {
    const secret = 'AKIAIOSFODNN7EXAMPLE';
    for (const format of ['csv', 'json', 'jsonl', 'parquet']) {
      const response = await open(`/audit/export?text=${secret}&userId=Bearer%20${secret}&format=${format}`);
      const whole = `${JSON.stringify(response.headers)}${(await readAll(response)).toString('latin1')}`;
      expect(whole).not.toContain(secret);
      expect(whole).toContain('[redacted ');
    }
    expect(await session.run(`SELECT FROM audit_entries WHERE body LIKE '%${secret}%'`)).toEqual([]);
  });
});
