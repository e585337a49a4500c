import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { findFreePort } from './test-server.js';

/** A connection to the receiver: over TLS what is inside of it, and the socket below. */
export interface SyslogConnection {
  readonly stream: Socket;
  readonly raw: Socket;
  /** Counts connections that were accepted, from 0. */
  readonly place: number;
  /** Reads to the end and keeps what came; then ends its own side, as a receiver should. */
  readonly keep: () => void;
}

/** A receiver of octet-counted syslog on loopback that does with each connection what the test says. */
export interface SyslogReceiver extends AsyncDisposable {
  readonly port: number;
  /** Indexes of the messages on connections that it kept, in the order of arrival. */
  readonly indexes: number[];
  connections(): number;
  /** Does this from now on with connections; otherwise they are kept. */
  handle(behaviour: (connection: SyslogConnection) => void): void;
  /** Takes no connections any more, until `listen`. */
  shut(): void;
  /** Takes them again; nothing changes where it does so already. */
  listen(): Promise<void>;
}

/** `certificates`: the folder of `makeCertificates` for TLS, null for plain TCP. */
export async function startSyslogReceiver(certificates: string | null): Promise<SyslogReceiver> {
  const port = await findFreePort();
  const indexes: number[] = [];
  const sockets = new Set<Socket>();
  let behaviour = ({ keep }: SyslogConnection) => keep();
  let accepted = 0;
  let server: Server | null = null;
  const settings =
    certificates === null
      ? null
      : {
          allowHalfOpen: true,
          cert: await readFile(join(certificates, 'server.pem')),
          key: await readFile(join(certificates, 'server.key')),
        };
  const accept = (stream: Socket) => {
    // The socket that arrived on the same port; without TLS the stream itself.
    const raw = [...sockets].find((socket) => socket.remotePort === stream.remotePort) ?? stream;
    stream.on('error', () => undefined);
    behaviour({ stream, raw, place: accepted++, keep: () => keepMessages(stream, indexes) });
  };
  const listen = async () => {
    if (server?.listening === true) return;
    server = settings === null ? createTcpServer({ allowHalfOpen: true }) : createTlsServer(settings);
    server.on('connection', (raw: Socket) => {
      sockets.add(raw);
      raw.on('error', () => undefined);
      raw.on('close', () => sockets.delete(raw));
    });
    server.on(settings === null ? 'connection' : 'secureConnection', accept);
    server.on('tlsClientError', () => undefined);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  await listen();
  return {
    port,
    indexes,
    connections: () => accepted,
    handle: (next) => {
      behaviour = next;
    },
    shut: () => void server?.close(),
    listen,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      if (server?.listening !== true) return;
      server.close();
      await once(server, 'close');
    },
  };
}

function keepMessages(stream: Socket, indexes: number[]): void {
  const parts: Buffer[] = [];
  stream.on('data', (part: Buffer) => parts.push(part));
  stream.on('end', () => {
    indexes.push(...indexesOf(Buffer.concat(parts)));
    stream.end();
  });
}

/** The indexes in whole frames of RFC 6587 §3.4.1. A network that ends a connection may do so within one: that is dropped. */
function indexesOf(bytes: Buffer): number[] {
  const found: number[] = [];
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(' ', at);
    const end = space + 1 + Number(bytes.toString('latin1', at, space));
    if (space < 0 || end > bytes.length) break;
    found.push(Number(/ \[daybook@\d+ index="(\d+)"/.exec(bytes.toString('utf8', space + 1, end))?.[1]));
    at = end;
  }
  return found;
}
