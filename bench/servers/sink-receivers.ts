import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { answerParent } from './answer-parent.js';
import { listen } from './listen.js';

const owned = new AsyncDisposableStack();
const lineBreak = 0x0a;

/** Receivers that do no more than they must: what they cost is not what a bench of sinks is to measure. */
export interface SinkReceivers {
  /** Takes webhooks at `/hook`, bulks of `create` at every other path. */
  readonly httpUrl: string;
  /** Reads syslog over TCP to its end, then ends its own side. */
  readonly syslogPort: number;
}

async function start(): Promise<SinkReceivers> {
  const http = createHttpServer((request, response) => void answer(request, response));
  const tcp = createTcpServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.resume().on('end', () => socket.end());
  });
  tcp.listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  owned.defer(() => void tcp.close());
  return { httpUrl: await listen(http, owned), syslogPort: (tcp.address() as AddressInfo).port };
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let breaks = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    if (request.url === '/hook') continue;
    for (let at = chunk.indexOf(lineBreak); at >= 0; at = chunk.indexOf(lineBreak, at + 1)) breaks += 1;
  }
  if (request.url === '/hook') return void response.writeHead(204).end();
  // Two lines an item: what to do, and the document.
  const items = Array<string>(breaks / 2).fill('{"create":{"status":201}}');
  response.writeHead(200, { 'content-type': 'application/json' }).end(`{"errors":false,"items":[${items.join(',')}]}`);
}

answerParent({ start }, owned);
