import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { startElasticsearch } from './elasticsearch-server.js';
import { startHttpReceiver } from './http-receiver.js';
import { findFreePort } from './test-server.js';

/** A receiver of every kind of sink, with the file that names them. */
export interface SinkReceivers extends AsyncDisposable {
  /** For `DAYBOOK_SINKS_FILE`. */
  readonly file: string;
  /** Name of one of the sinks: no secret, and shown wherever sinks are. */
  readonly shownName: string;
  /** What arrived so far, by the kind of sink. */
  received(): Readonly<Record<string, string>>;
}

/** Takes whatever is written to it, and closes its side when the other one does. */
async function startTcpCollector(): Promise<AsyncDisposable & { readonly port: number; text(): string }> {
  const parts: Buffer[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  });
  const port = await findFreePort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    port,
    text: () => Buffer.concat(parts).toString('utf8'),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** `folder`: where the file, its secret, and the folder of the ECS files are put. */
export async function startSinkReceivers(folder: string): Promise<SinkReceivers> {
  await using opening = new AsyncDisposableStack();
  const webhook = opening.use(await startHttpReceiver());
  const elasticsearch = opening.use(await startElasticsearch());
  const [cef, ocsf] = [opening.use(await startTcpCollector()), opening.use(await startTcpCollector())];
  const shownName = `shown-${cef.port}`;
  await mkdir(join(folder, 'ecs'), { recursive: true });
  const secretFile = join(folder, 'webhook-secret');
  await writeFile(secretFile, 'k'.repeat(32));
  const syslog = { kind: 'syslog', host: '127.0.0.1', tls: false, confirmSeconds: 0.2, messageBytesMax: 131_072 };
  const sinks = [
    { kind: 'ecs', name: shownName, folder: join(folder, 'ecs'), gzip: false },
    { kind: 'webhook', name: 'hook', url: `${webhook.url}/taken`, secretFile },
    { kind: 'elasticsearch', name: 'search', url: elasticsearch.url, index: 'audit' },
    { ...syslog, name: 'cef', port: cef.port, format: 'cef' },
    { ...syslog, name: 'ocsf', port: ocsf.port, format: 'ocsf' },
  ];
  const file = join(folder, 'sinks.json');
  await writeFile(file, JSON.stringify({ sinks }));
  const stack = opening.move();
  return {
    file,
    shownName,
    received: () => ({
      webhook: webhook.requests.map((request) => JSON.stringify(request)).join('\n'),
      elasticsearch: elasticsearch.requests.map(({ body }) => body).join('\n'),
      cef: cef.text(),
      ocsf: ocsf.text(),
    }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
