import { createServer } from 'node:http';
import { setImmediate as yieldToSockets } from 'node:timers/promises';
import { WebSocketServer } from 'ws';
import { sampleEntry } from '../sample-rows.js';
import { answerParent } from './answer-parent.js';
import { listen } from './listen.js';

const owned = new AsyncDisposableStack();
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
let cursor = 0;

/** The plainest fan-out: no positions to resume from, no keys, no filters, no back-pressure. The answer is its URL. */
async function start(): Promise<string> {
  const server = createServer();
  server.on('upgrade', (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (webSocket) => sockets.emit('connection', webSocket, request));
  });
  owned.defer(() => {
    for (const client of sockets.clients) client.terminate();
  });
  return (await listen(server, owned)).replace('http:', 'ws:');
}

/** Sends `count` entries to every client, one message each, made once for all. Returns the last one's position + 1. */
async function broadcast(count: number): Promise<number> {
  for (let sent = 0; sent < count; sent += 1) {
    const { category, event, actor, resource, outcome, requestId } = sampleEntry(cursor);
    const entry = {
      ...{ chainIndex: String(cursor), id: requestId, category, event, actor, resource, outcome },
      ...{ recordedAt: new Date().toISOString(), requestId, chainHash: '5e'.repeat(32) },
    };
    cursor += 1;
    const message = Buffer.from(JSON.stringify({ cursor: String(cursor), entry }));
    for (const client of sockets.clients) client.send(message, { binary: false });
    await yieldToSockets();
  }
  return cursor;
}

answerParent({ start, broadcast }, owned);
