import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { WebSocket } from 'ws';
import {
  FeedGapError,
  filePositionStore,
  followFeed,
  type FeedFrame,
  type FollowFeedOptions,
  type PositionStore,
} from '../../src/client/index.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { sampleEntry } from '../support/sample-entries.js';
import { adminKey, signalInput, startTestService, type TestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const example = 'docs/examples/audit-monitor.ts';

interface Entry {
  readonly chainIndex: string;
  readonly event: string;
  readonly resource: string | null;
}

describe('the feed client', () => {
  let service: TestService;
  let folder: string;
  let stop: AbortController;

  beforeAll(async () => {
    service = await startTestService();
    folder = await mkdtemp(join(tmpdir(), 'daybook-client-'));
  });

  afterAll(async () => {
    await expectLedgerIntact(service.database.urls.auditor);
    await service[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  beforeEach(() => {
    stop = new AbortController();
  });

  afterEach(() => stop.abort());

  function follow(changes: Partial<FollowFeedOptions<Entry>> & Pick<FollowFeedOptions<Entry>, 'onFrame'>) {
    return followFeed<Entry>({
      url: service.socketUrl,
      apiKey: adminKey,
      feed: 'auditFeed',
      fields: 'chainIndex event resource',
      webSocketImpl: WebSocket,
      signal: stop.signal,
      ...changes,
    });
  }

  function memoryStore(): PositionStore & { position: string | null } {
    const store = {
      position: null as string | null,
      load: async () => store.position,
      store: async (cursor: string) => void (store.position = cursor),
    };
    return store;
  }

  async function append(count: number) {
    await service.context.append({
      callEntries: Array.from({ length: count }, (_, place) => sampleEntry(`order ${place}`)),
    });
  }

  test('delivers the log from its beginning and goes on with what is recorded meanwhile', async () => {
    const indexes: string[] = [];
    const following = follow({
      after: '0',
      onFrame: ({ rows }) => void indexes.push(...rows.map((row) => row.chainIndex)),
    });
    await append(250);
    await waitUntil('the entries', () => indexes.length >= 250);
    stop.abort();
    await following;
    expect(indexes).toEqual(indexes.map((_, place) => String(place)));
  });

  test('delivers only what the filter lets through', async () => {
    const resources: (string | null)[] = [];
    let frames = 0;
    const following = follow({
      filter: { resource: { eq: 'order wanted' } },
      onFrame: ({ rows }) => {
        resources.push(...rows.map((row) => row.resource));
        frames += 1;
      },
    });
    await waitUntil('the first frame', () => frames > 0);
    await append(20);
    await service.context.append({ entries: [sampleEntry('order wanted')] });
    await waitUntil('the entry', () => resources.length > 0);
    stop.abort();
    await following;
    expect(new Set(resources)).toEqual(new Set(['order wanted']));
  });

  test('follows signals', async () => {
    const symbols: string[] = [];
    const following = followFeed<{ symbol: string }>({
      url: service.socketUrl,
      apiKey: adminKey,
      feed: 'signalFeed',
      fields: 'symbol',
      after: '0',
      webSocketImpl: WebSocket,
      signal: stop.signal,
      onFrame: ({ rows }) => void symbols.push(...rows.map((row) => row.symbol)),
    });
    await service.call('mutation ($input: CreateSignalInput!) { createSignal(input: $input) { signal { id } } }', {
      input: signalInput({ symbol: 'MSFT' }),
    });
    await waitUntil('the signal', () => symbols.includes('MSFT'));
    stop.abort();
    await following;
  });

  test('loses and repeats nothing while its sockets and the LISTEN connections are killed', async () => {
    const sockets: WebSocket[] = [];
    class RememberedSocket extends WebSocket {
      constructor(...args: ConstructorParameters<typeof WebSocket>) {
        super(...args);
        sockets.push(this);
      }
    }
    const admin = new pg.Client(service.database.urls.superuser);
    await admin.connect();
    const indexes: bigint[] = [];
    let reconnects = 0;
    const following = follow({
      after: '0',
      batch: 50,
      webSocketImpl: RememberedSocket,
      onReconnect: () => void (reconnects += 1),
      onFrame: async ({ rows }) => {
        indexes.push(...rows.map((row) => BigInt(row.chainIndex)));
        if (indexes.length % 3 === 0) await new Promise(setImmediate);
      },
    });
    for (let round = 0; round < 10; round += 1) {
      const before = indexes.length;
      await append(100);
      await waitUntil('progress', () => indexes.length > before);
      sockets.at(-1)?.terminate();
      await admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'daybook audit %'`,
      );
      await waitUntil('the reconnect', () => sockets.length > round + 1);
    }
    await append(1);
    await waitUntil('everything', () => BigInt(indexes.length) >= service.context.services.tails.audit.head);
    stop.abort();
    await following;
    await admin.end();
    expect(indexes).toEqual(indexes.map((_, place) => BigInt(place)));
    expect(reconnects).toBeGreaterThanOrEqual(10);
  });

  test('stores its position after the handler, and resumes behind it', async () => {
    const store = filePositionStore(join(folder, 'position'));
    const first: FeedFrame<Entry>[] = [];
    const failing = follow({
      after: '0',
      batch: 10,
      positionStore: store,
      onFrame: (frame) => {
        first.push(frame);
        if (first.length === 3) throw new Error('the handler failed');
      },
    });
    await expect(failing).rejects.toThrow('the handler failed');
    expect(await readFile(join(folder, 'position'), 'utf8')).toBe(`${first[2]?.from}\n`);
    const resumed: FeedFrame<Entry>[] = [];
    const following = follow({ after: '0', positionStore: store, onFrame: (frame) => void resumed.push(frame) });
    await waitUntil('a frame', () => resumed.length > 0);
    stop.abort();
    await following;
    expect(resumed[0]?.from).toBe(first[2]?.from);
  });

  test('refuses a position file that holds no cursor', async () => {
    const path = join(folder, 'damaged');
    await writeFile(path, '12x');
    await expect(follow({ positionStore: filePositionStore(path), onFrame: () => undefined })).rejects.toThrow(
      'does not hold a cursor',
    );
  });

  test.each([
    ['with the ws package', WebSocket],
    ["with Node's own WebSocket", globalThis.WebSocket],
  ])('a slow handler holds frames back and still gets each once (%s)', async (_name, webSocketImpl) => {
    await append(1_500);
    const indexes: bigint[] = [];
    let handling = 0;
    const following = follow({
      after: '0',
      batch: 20,
      webSocketImpl,
      onFrame: async ({ rows }) => {
        handling += 1;
        expect(handling).toBe(1);
        await new Promise(setImmediate);
        indexes.push(...rows.map((row) => BigInt(row.chainIndex)));
        handling -= 1;
      },
    });
    await waitUntil('everything', () => BigInt(indexes.length) >= service.context.services.tails.audit.head);
    stop.abort();
    await following;
    expect(indexes).toEqual(indexes.map((_, place) => BigInt(place)));
  });

  test.each([
    ['a cursor ahead of the log', { after: '999999999' }, 'CURSOR_AHEAD'],
    ['an unknown key', { apiKey: 'daybook_unknown' }, 'UNAUTHENTICATED'],
    ['a field that does not exist', { fields: 'nothing' }, 'GRAPHQL_VALIDATION_FAILED'],
    ['a batch out of range', { batch: 5_000 }, 'BAD_USER_INPUT'],
  ])('stops for good at %s', async (_name, changes, code) => {
    await expect(follow({ ...changes, onFrame: () => undefined })).rejects.toMatchObject({
      name: 'FeedRefusedError',
      code,
    });
  });

  test('stops for good when its role may not follow the log, and when its key is revoked', async () => {
    const analyst = await service.makeKey('ANALYST');
    await expect(follow({ apiKey: analyst, onFrame: () => undefined })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    const monitor = await service.makeKey('MONITOR');
    let frames = 0;
    const following = follow({ apiKey: monitor, onFrame: () => void (frames += 1) });
    const refused = expect(following).rejects.toMatchObject({ name: 'FeedRefusedError', code: 'FORBIDDEN' });
    await waitUntil('a frame', () => frames > 0);
    const admin = new pg.Client(service.database.urls.superuser);
    await admin.connect();
    await admin.query("UPDATE public.api_keys SET revoked_at = clock_timestamp() WHERE name LIKE 'monitor-%'");
    await admin.end();
    await refused;
  });

  test('takes a frame that does not continue the last one for a gap', async () => {
    await append(30);
    const store = memoryStore();
    const refused = follow({
      after: '0',
      batch: 10,
      webSocketImpl: class extends WebSocket {
        override emit(name: string | symbol, ...args: unknown[]): boolean {
          if (name !== 'message') return super.emit(name, ...args);
          return super.emit(name, Buffer.from(String(args[0]).replace('"from":"10"', '"from":"11"')), false);
        }
      },
      positionStore: store,
      onFrame: () => undefined,
    });
    await expect(refused).rejects.toBeInstanceOf(FeedGapError);
    expect(store.position).toBe('10');
  });

  test('the example monitor reports refused modifications and failed logins, and goes on where it stopped', async () => {
    const position = join(folder, 'monitor.position');
    const runMonitor = async (isEnough: (output: string) => Promise<boolean> | boolean) => {
      const monitor = spawn(
        process.execPath,
        ['--disable-warning=ExperimentalWarning', '--import', './test/support/typescript-hooks.js', example],
        {
          env: {
            PATH: process.env.PATH,
            DAYBOOK_KEY: adminKey,
            DAYBOOK_URL: service.socketUrl,
            MONITOR_POSITION: position,
          },
        },
      );
      let output = '';
      monitor.stdout.on('data', (chunk) => (output += String(chunk)));
      monitor.stderr.on('data', (chunk) => (output += String(chunk)));
      await waitUntil('the findings', () => isEnough(output));
      monitor.kill('SIGTERM');
      const [code] = (await once(monitor, 'exit')) as [number | null];
      expect(code).toBe(0);
      return output;
    };
    const tamper = async () => {
      const application = new pg.Client(service.database.urls.application);
      await application.connect();
      await expect(application.query('DELETE FROM public.audit_entries')).rejects.toMatchObject({ code: 'DB001' });
      await application.end();
    };
    await service.call('{ viewer { name } }', undefined, 'daybook_wrong_key');
    await tamper();
    const first = await runMonitor((output) => output.includes('ledger') && output.includes('valid key'));
    expect(first).toContain('"event":"ModificationRefused"');
    await tamper();
    const second = await runMonitor((output) => output.includes('ModificationRefused'));
    expect(second).not.toContain('valid key');
  });
});
