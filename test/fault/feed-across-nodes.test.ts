import { expect, test } from '@jest/globals';
import { WebSocket } from 'ws';
import { FeedRefusedError, followFeed, type FeedFrame } from '../../src/client/index.js';
import { withConnection } from '../../src/db/admin-connection.js';
import { expectLedgerIntact } from '../support/expect-ledger-intact.js';
import { sampleEntry } from '../support/sample-entries.js';
import { createTestDatabase } from '../support/test-database.js';
import { adminKey, startTestService } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const CLIENTS = 20;
const HOPS = 200;
const LISTEN_KILLS = 20;

interface Row {
  readonly chainIndex: string;
}

test('twenty clients that hop 200 times between two nodes miss nothing and see nothing twice, LISTEN killed or not', async () => {
  await using database = await createTestDatabase();
  await using first = await startTestService({ database });
  await using second = await startTestService({ database });
  const nodes = [first, second];
  let hops = 0;
  let stopping = false;

  const writer = (async () => {
    for (let turn = 0; !stopping; turn += 1) {
      const entries = Array.from({ length: 5 }, (_, place) => sampleEntry(`${turn}-${place}`));
      await nodes[turn % 2]?.context.append({ entries });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();

  /** Follows for a few frames, then continues on the other node, until all have hopped enough. */
  const client = async (place: number) => {
    const seen: string[] = [];
    let cursor = '0';
    for (let turn = place; hops < HOPS; turn += 1) {
      const leave = new AbortController();
      let frames = 0;
      await followFeed<Row>({
        url: nodes[turn % 2]?.socketUrl ?? '',
        apiKey: adminKey,
        feed: 'auditFeed',
        fields: 'chainIndex',
        after: cursor,
        webSocketImpl: WebSocket,
        signal: leave.signal,
        onFrame: (frame: FeedFrame<Row>) => {
          expect(frame.from).toBe(cursor);
          seen.push(...frame.rows.map((row) => row.chainIndex));
          cursor = frame.cursor;
          frames += 1;
          if (frames === 4) leave.abort();
        },
      });
      hops += 1;
    }
    expect(seen).toEqual(Array.from({ length: Number(cursor) }, (_, index) => String(index)));
    return Number(cursor);
  };

  const clients = Array.from({ length: CLIENTS }, (_, place) => client(place));
  await withConnection(database.urls.superuser, async (admin) => {
    for (let kill = 0; kill < LISTEN_KILLS && hops < HOPS; kill += 1) {
      const before = hops;
      await admin.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'daybook % tail'",
      );
      await waitUntil('clients go on', () => hops >= Math.min(HOPS, before + HOPS / LISTEN_KILLS / 2));
    }
  });
  const reached = await Promise.all(clients);
  stopping = true;
  await writer;
  expect(hops).toBeGreaterThanOrEqual(HOPS);
  expect(Math.min(...reached)).toBeGreaterThan(100);
  await expectLedgerIntact(database.urls.auditor);
}, 120_000);

test('a cursor beyond the head and one before the retained range are errors, never silence', async () => {
  await using service = await startTestService();
  /** Ends with the first frame. */
  const follow = (after: string) => {
    const stop = new AbortController();
    return followFeed<Row>({
      url: service.socketUrl,
      apiKey: adminKey,
      feed: 'auditFeed',
      fields: 'chainIndex',
      after,
      webSocketImpl: WebSocket,
      signal: stop.signal,
      onFrame: () => stop.abort(),
    });
  };
  await expect(follow('1000000')).rejects.toMatchObject({ code: 'CURSOR_AHEAD' });
  await expect(follow('1000000')).rejects.toBeInstanceOf(FeedRefusedError);

  await service.context.append({ callEntries: Array.from({ length: 5 }, (_, place) => sampleEntry(String(place))) });
  await service.context.services.tails.audit.refresh();
  // What retention will do by its own procedure, a superuser does here by force: the oldest entries go.
  await withConnection(service.database.urls.superuser, async (admin) => {
    await admin.query('SET session_authorization = daybook_migrator');
    const guards = ['prevent_audit_modification_trigger', 'prevent_audit_modification_without_rows_trigger'];
    for (const guard of guards) await admin.query(`ALTER TABLE public.audit_entries DISABLE TRIGGER ${guard}`);
    await admin.query('DELETE FROM public.audit_entries WHERE chain_index < 3');
    for (const guard of guards) await admin.query(`ALTER TABLE public.audit_entries ENABLE ALWAYS TRIGGER ${guard}`);
  });
  await waitUntil('the node has noticed', async () => {
    const code = await follow('1').then(
      () => 'followed',
      (error: FeedRefusedError) => error.code,
    );
    return code === 'CURSOR_EXPIRED';
  });
}, 60_000);

test('a key that expires closes its connection with 4403, and an expired one is not let in again', async () => {
  await using service = await startTestService();
  const key = await service.makeKey('MONITOR', new Date(Date.now() + 1_500).toISOString());
  const closed = (url: string) =>
    new Promise<number>((resolve) => {
      const socket = new WebSocket(url, 'graphql-transport-ws');
      socket.on('open', () =>
        socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${key}` } })),
      );
      socket.on('message', (data) => {
        if ((data as Buffer).toString().includes('connection_ack')) {
          const payload = { query: 'subscription { auditFeed { cursor } }' };
          socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload }));
        }
      });
      socket.on('close', resolve);
    });
  expect(await closed(service.socketUrl)).toBe(4403);
  expect(await closed(service.socketUrl)).toBe(4403);
  await expectLedgerIntact(service.database.urls.auditor);
}, 30_000);
