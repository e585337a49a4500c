import { appendFile, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from '@jest/globals';
import { encodeJsonlLine } from '../../src/sinks/encode-jsonl-line.js';
import { FileTarget } from '../../src/sinks/file-target.js';
import { lineKey, openLine } from '../../src/sinks/sealed-line.js';
import type { FileSinkConfig } from '../../src/sinks/sink-config.js';
import type { AuditRow } from '../../src/ledger/rows.js';
import { runScript } from '../support/run-script.js';
import { auditRow } from '../support/audit-row.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const never = new AbortController().signal;

/** Rows `from` … `to` − 1, a hundred a day from 2026-11-20 on. */
function rows(from: number, to: number): AuditRow[] {
  return Array.from({ length: to - from }, (_, place) => {
    const index = from + place;
    const day = String(20 + Math.floor(index / 100)).padStart(2, '0');
    return auditRow({
      chainIndex: String(index),
      recordedAt: `2026-11-${day}T10:00:00.${String(index).padStart(6, '0')}Z`,
    });
  });
}

/** Indexes in the files of a folder, by file; compressed ones are read through. */
async function readIndexes(folder: string): Promise<Record<string, number[]>> {
  const names = (await readdir(folder)).filter((name) => name.startsWith('audit-')).sort();
  const found: Record<string, number[]> = {};
  for (const name of names) {
    const bytes = await readFile(join(folder, name));
    const text = (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
    // The last piece is what a running service is about to write.
    found[name] = text
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { index: number }).index);
  }
  return found;
}

const count = (from: number, to: number) => Array.from({ length: to - from }, (_, place) => from + place);

describe('the files of a sink', () => {
  let folder: string;
  let target: FileTarget;

  const open = async (position: bigint, changes: Partial<FileSinkConfig> = {}, key: Buffer | null = null) => {
    const common = { name: 'jsonl', kind: 'jsonl', startAt: 'beginning', folder, gzip: true, encrypt: 'line' } as const;
    const config = { ...common, ...changes } as FileSinkConfig;
    target = new FileTarget(config, key === null ? null : lineKey(key));
    return target.open(position);
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'daybook-sink-'));
  });
  afterEach(async () => {
    await target.close();
    await rm(folder, { recursive: true });
  });

  test('hold each day by itself, and finished days are compressed', async () => {
    expect(await open(0n)).toBe(0n);
    expect(await target.deliver(rows(0, 250), never)).toBe(250);
    expect(await readIndexes(folder)).toEqual({
      'audit-20261120.jsonl.gz': count(0, 100),
      'audit-20261121.jsonl.gz': count(100, 200),
      'audit-20261122.jsonl': count(200, 250),
    });
  });

  test('stay plain where compression is off, and are compressed when it is switched on', async () => {
    await open(0n, { gzip: false });
    await target.deliver(rows(0, 250), never);
    await target.close();
    expect(Object.keys(await readIndexes(folder))).toEqual([20, 21, 22].map((day) => `audit-202611${day}.jsonl`));
    await open(250n);
    expect(Object.keys(await readIndexes(folder))).toEqual([
      'audit-20261120.jsonl.gz',
      'audit-20261121.jsonl.gz',
      'audit-20261122.jsonl',
    ]);
  });

  test.each([0, 1, 99, 100, 101, 150, 200, 249, 250])(
    'are cut back to position %i and go on from there',
    async (position) => {
      await open(0n);
      await target.deliver(rows(0, 250), never);
      await target.close();
      expect(await open(BigInt(position))).toBe(BigInt(position));
      expect(Object.values(await readIndexes(folder)).flat()).toEqual(count(0, position));
      await target.deliver(rows(position, 260), never);
      expect(Object.values(await readIndexes(folder)).flat()).toEqual(count(0, 260));
    },
  );

  test.each(['{"ts":1,"ind', '{"index":17', 'garbage', '\0\0\0\0'])('lose a torn tail: %j', async (tail) => {
    await open(0n);
    await target.deliver(rows(0, 50), never);
    await target.close();
    await appendFile(join(folder, 'audit-20261120.jsonl'), tail);
    expect(await open(50n)).toBe(50n);
    expect(await readIndexes(folder)).toEqual({ 'audit-20261120.jsonl': count(0, 50) });
  });

  test('tell where they really end when lines are missing', async () => {
    await open(0n);
    await target.deliver(rows(0, 50), never);
    await target.close();
    const path = join(folder, 'audit-20261120.jsonl');
    const text = await readFile(path, 'utf8');
    await truncate(path, text.split('\n').slice(0, 40).join('\n').length + 5);
    expect(await open(50n)).toBe(40n);
  });

  test('what was moved elsewhere is not written again', async () => {
    await open(0n);
    await target.deliver(rows(0, 150), never);
    await target.close();
    for (const name of Object.keys(await readIndexes(folder))) await rm(join(folder, name));
    expect(await open(150n)).toBe(150n);
  });

  test.each(['both', 'staged'] as const)(
    'a crash while a day was compressed leaves each line once: %s',
    async (state) => {
      await open(0n);
      await target.deliver(rows(0, 150), never);
      await target.close();
      const compressed = await readFile(join(folder, 'audit-20261120.jsonl.gz'));
      await writeFile(join(folder, 'audit-20261120.jsonl'), gunzipSync(compressed));
      if (state === 'staged') {
        await rm(join(folder, 'audit-20261120.jsonl.gz'));
        await writeFile(join(folder, 'audit-20261120.jsonl.gz.staged'), compressed.subarray(0, 100));
      }
      expect(await open(150n)).toBe(150n);
      expect(await readIndexes(folder)).toEqual({
        'audit-20261120.jsonl.gz': count(0, 100),
        'audit-20261121.jsonl': count(100, 150),
      });
      expect((await readdir(folder)).filter((name) => name.endsWith('.staged'))).toEqual([]);
    },
  );

  test('a damaged compressed day is an error that names it, not a gap', async () => {
    await open(0n);
    await target.deliver(rows(0, 150), never);
    await target.close();
    await writeFile(join(folder, 'audit-20261120.jsonl.gz'), 'not compressed');
    await rm(join(folder, 'audit-20261121.jsonl'));
    await expect(open(150n)).rejects.toMatchObject({ code: 'SINK_UNAVAILABLE' });
  });

  test('of ECS are cut by their own index, encrypted ones without their key', async () => {
    await open(0n, { kind: 'ecs' });
    await target.deliver(rows(0, 40), never);
    await target.close();
    const key = randomBytes(32);
    expect(await open(30n, { kind: 'ecs' }, key)).toBe(30n);
    await target.deliver(rows(30, 60), never);
    await target.close();
    expect(await open(45n, { kind: 'ecs' })).toBe(45n);
    const lines = (await readFile(join(folder, 'audit-20261120.jsonl'), 'utf8')).trimEnd().split('\n');
    expect(lines).toHaveLength(45);
    expect(lines.slice(30).map((line) => JSON.parse(openLine(line, [lineKey(key)])!).event.sequence)).toEqual(
      count(30, 45),
    );
  });

  test('of which the details alone are encrypted are cut and continued as others are', async () => {
    const key = randomBytes(32);
    await open(0n, { encrypt: 'details' }, key);
    await target.deliver(rows(0, 40), never);
    await target.close();
    expect(await open(30n, { encrypt: 'details' }, key)).toBe(30n);
    await target.deliver(rows(30, 45), never);
    await target.close();
    const text = await readFile(join(folder, 'audit-20261120.jsonl'), 'utf8');
    const lines = text.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line).index)).toEqual(count(0, 45));
    const plain = rows(0, 45).map((row) => JSON.parse(encodeJsonlLine(row)));
    expect(lines.map((line) => JSON.parse(openLine(line, [lineKey(key)])!))).toEqual(plain);
  });

  test('the command line decrypts them, and refuses altered lines and other keys', async () => {
    const [key, other] = [randomBytes(32), randomBytes(32)];
    await open(0n, {}, key);
    await target.deliver(rows(0, 150), never);
    await target.close();
    const [keyFile, otherFile] = [join(folder, 'key'), join(folder, 'other')];
    await writeFile(keyFile, `${key.toString('hex')}\n`);
    await writeFile(otherFile, other.toString('base64'));
    const files = ['audit-20261120.jsonl.gz', 'audit-20261121.jsonl'].map((name) => join(folder, name));
    const sealed = await readFile(files[1]!, 'utf8');
    expect(sealed).not.toContain('OrderAccepted');
    const decrypt = (...keys: string[]) =>
      runScript('src/main.ts', ['sink', 'decrypt', ...files, '--key-file', ...keys], {});
    const done = await decrypt(otherFile, keyFile);
    expect(done).toMatchObject({ exitCode: 0, stderr: '' });
    expect(
      done.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).index),
    ).toEqual(count(0, 150));
    expect(await decrypt(otherFile)).toMatchObject({
      exitCode: 1,
      stdout: '',
      stderr: expect.stringMatching(/^BAD_USER_INPUT/),
    });
    await writeFile(files[1]!, sealed.replace('"index":120', '"index":121'));
    expect(await decrypt(keyFile)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/^BAD_USER_INPUT: line 21 /),
    });
  });
});

describe('a service with its log files', () => {
  let service: TestService;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'daybook-sink-'));
    service = await startTestService({ environment: { DAYBOOK_LOG_DIR: join(folder, 'logs') } });
  });
  afterAll(async () => {
    await service[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  const sinks = async () => {
    const answer = await service.call(
      '{ sinks { name kind target configured position head lagEntries lagSeconds delivered replays failures lastError } }',
    );
    return answer.data?.sinks as Record<string, unknown>[];
  };
  /** Asked of the database: each call of the API is an entry itself. */
  const caughtUp = async () => {
    const { services } = service.context;
    const head = services.tails.audit.head;
    await waitUntil('the sink has caught up', async () => {
      const found = await services.database.query('SELECT position FROM public.audit_sinks');
      return BigInt(found.rows[0]?.position) >= head;
    });
  };
  const record = (count_: number) =>
    service.call('mutation ($input: RecordEventsInput!) { recordEvents(input: $input) { entries { chainIndex } } }', {
      input: {
        events: Array.from({ length: count_ }, (_, place) => ({
          filled: {
            orderId: `order-${place}`,
            symbol: 'AAPL',
            side: 'BUY',
            quantity: '1.50',
            price: '2',
            dealId: 'd-1',
          },
        })),
      },
    });

  test('has every entry in them soon after it is recorded, in the form that is documented', async () => {
    const { data } = await record(300);
    const last = Number(data?.recordEvents.entries.at(-1).chainIndex);
    await waitUntil('the files hold it', async () =>
      Object.values(await readIndexes(join(folder, 'logs')))
        .flat()
        .includes(last),
    );
    const indexes = Object.values(await readIndexes(join(folder, 'logs'))).flat();
    expect(indexes).toEqual(count(0, indexes.length));
    const [name] = Object.keys(await readIndexes(join(folder, 'logs')));
    const line = (await readFile(join(folder, 'logs', name!), 'utf8')).split('\n')[last]!;
    expect(JSON.parse(line)).toMatchObject({
      event: 'Filled',
      category: 'fill',
      symbol: 'AAPL',
      side: 'BUY',
      quantity: '1.5',
      price: '2',
      order_id: 'order-299',
      deal_id: 'd-1',
      user: 'admin',
      source_ip: '127.0.0.1',
      outcome: 'OK',
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  const command = (...args: string[]) =>
    runScript('src/main.ts', ['sink', ...args, '--json'], {
      DATABASE_URL: service.database.urls.superuser,
      DAYBOOK_DATA_DIR: join(folder, 'command'),
    });

  test('is moved back by the command line too, beside the running service', async () => {
    await caughtUp();
    const { exitCode, stdout } = await command('replay', 'jsonl', '--from', '3', '--reason', 'lost');
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ sinks: [{ name: 'jsonl', replays: 1, position: '3' }] });
    await caughtUp();
    const indexes = Object.values(await readIndexes(join(folder, 'logs'))).flat();
    expect(indexes).toEqual(count(0, indexes.length));
    const refused = await command('replay', 'none', '--from', '3');
    expect(refused.exitCode).toBe(1);
    expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'NOT_FOUND' } });
  });

  test('tells position and lag by query, metrics and command line alike', async () => {
    await caughtUp();
    const [sink] = await sinks();
    expect(sink).toMatchObject({ name: 'jsonl', kind: 'JSONL', configured: true, failures: 0, lastError: null });
    const metrics = await (await fetch(`${service.url}/metrics`)).text();
    expect(metrics).toMatch(/^daybook_sink_lag_entries\{sink="jsonl",kind="jsonl"\} \d/m);
    expect(metrics).toMatch(/^daybook_sink_lag_seconds\{sink="jsonl",kind="jsonl"\} \d/m);
    expect(metrics).toMatch(/^daybook_sink_failures\{sink="jsonl",kind="jsonl"\} 0$/m);
    const listed = await command('list');
    expect(JSON.parse(listed.stdout)).toMatchObject({ sinks: [{ name: 'jsonl', target: sink?.target, failures: 0 }] });
  });

  test('a replay writes its files anew from an index on, on the record', async () => {
    const replay =
      'mutation ($input: ReplaySinkInput!) { replaySink(input: $input) { sinks { name position replays } } }';
    const answer = await service.call(replay, { input: { name: 'jsonl', from: '7', reason: 'a disk was lost' } });
    expect(answer.data?.replaySink.sinks).toEqual([{ name: 'jsonl', position: '7', replays: 2 }]);
    await caughtUp();
    const indexes = Object.values(await readIndexes(join(folder, 'logs'))).flat();
    expect(indexes).toEqual(count(0, indexes.length));
    const found = await service.call(
      '{ auditEntries(filter: { event: { eq: "SinkReplayed" } }, last: 1) { nodes { actor resource details } } }',
    );
    expect(found.data?.auditEntries.nodes).toEqual([
      {
        actor: 'admin',
        resource: 'sink/jsonl',
        details: expect.objectContaining({ from: '7', reason: 'a disk was lost' }),
      },
    ]);
  });

  test.each([
    ['an unknown sink', { name: 'none', from: '0' }, 'NOT_FOUND'],
    ['an index beyond its position', { name: 'jsonl', from: '999999' }, 'CURSOR_AHEAD'],
    ['a negative index', { name: 'jsonl', from: '-1' }, 'BAD_USER_INPUT'],
  ])('a replay is refused for %s', async (_, input, code) => {
    const answer = await service.call(
      'mutation ($input: ReplaySinkInput!) { replaySink(input: $input) { sinks { name } } }',
      { input },
    );
    expect(answer.errors?.[0]?.extensions.code).toBe(code);
  });

  test('only administrators replay, only readers of the audit log see sinks', async () => {
    const producer = await service.makeKey('PRODUCER');
    const auditor = await service.makeKey('AUDITOR');
    const replay = 'mutation { replaySink(input: { name: "jsonl", from: "0" }) { sinks { name } } }';
    for (const [query, key, code] of [
      ['{ sinks { name } }', producer, 'FORBIDDEN'],
      [replay, auditor, 'FORBIDDEN'],
      ['{ sinks { name } }', null, 'UNAUTHENTICATED'],
    ] as const) {
      expect((await service.call(query, undefined, key)).errors?.[0]?.extensions.code).toBe(code);
    }
    expect((await service.call('{ sinks { name } }', undefined, auditor)).data?.sinks).toEqual([{ name: 'jsonl' }]);
  });

  test('leaves the ledger intact', () => expectLedgerIntact(service.database.urls.auditor));
});
