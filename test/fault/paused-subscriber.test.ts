import { readFile } from 'node:fs/promises';
import { expect, test } from '@jest/globals';
import { WebSocket } from 'ws';
import { createDataFolder } from '../support/data-folder.js';
import { startServiceProcess } from '../support/service-process.js';
import { findFreePort } from '../support/test-server.js';
import { adminKey, callGraphql } from '../support/test-service.js';
import { waitUntil } from '../support/wait-until.js';

const ENTRIES = 20_000;
const GROWTH_MAX_BYTES = 64 * 1024 * 1024;

const record = `mutation ($input: RecordEventsInput!) { recordEvents(input: $input) { entries { chainIndex } } }`;

/** Resident bytes of a process, as the kernel counts them. */
async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}

test('a client paused over 20,000 entries costs no memory and misses nothing when it goes on', async () => {
  await using folder = await createDataFolder();
  const port = await findFreePort();
  await using service = await startServiceProcess({
    DAYBOOK_PORT: String(port),
    DAYBOOK_POSTGRES_PORT: String(await findFreePort()),
    DAYBOOK_DATA_DIR: folder.path,
    DAYBOOK_ADMIN_KEY: adminKey,
    DAYBOOK_LOG_LEVEL: 'error',
  });
  const url = `http://127.0.0.1:${port}`;
  const events = Array.from({ length: 500 }, (_, place) => ({
    alertSent: { alertType: 'LOAD', severity: 'INFO', message: `alert ${place} ${'x'.repeat(400)}` },
  }));
  const fill = async (entries: number) => {
    for (let sent = 0; sent < entries; sent += events.length) {
      expect((await callGraphql(url, record, { input: { events } })).errors).toBeUndefined();
    }
  };
  // The heap comes to its working size over the first tens of thousands of entries, with or without a subscriber. Only
  // then is what grows the paused client's.
  await fill(4 * ENTRIES);

  const indexes: number[] = [];
  let frames = 0;
  const socket = new WebSocket(`ws://127.0.0.1:${port}/graphql`, 'graphql-transport-ws');
  socket.on('open', () =>
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${adminKey}` } })),
  );
  socket.on('message', (data) => {
    const message = JSON.parse((data as Buffer).toString()) as { type: string; payload: any };
    if (message.type === 'connection_ack') {
      const payload = { query: 'subscription { auditFeed { cursor entries { chainIndex body details } } }' };
      socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload }));
    }
    if (message.type !== 'next') return;
    frames += 1;
    indexes.push(...message.payload.data.auditFeed.entries.map((entry: any) => Number(entry.chainIndex)));
  });
  await waitUntil('the feed is open', () => frames > 0);
  await fill(events.length);
  await waitUntil('the feed runs', () => indexes.length >= events.length);
  socket.pause();
  const before = await residentBytes(service.child.pid ?? 0);
  await fill(ENTRIES);
  const growth = (await residentBytes(service.child.pid ?? 0)) - before;
  expect(growth).toBeLessThan(GROWTH_MAX_BYTES);

  socket.resume();
  await waitUntil('the client has caught up', () => indexes.length >= ENTRIES + events.length);
  expect(indexes).toEqual(indexes.map((_, place) => (indexes[0] ?? 0) + place));
  socket.terminate();
  expect(await service.end('SIGTERM')).toBe(0);
}, 120_000);
