import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { findFreePort } from './test-server.js';

/** `cut`: connections are refused and broken; `stalled`: they are taken, and nothing comes through any more. */
type RelayState = 'open' | 'cut' | 'stalled';

/** A TCP relay before a server, which makes the server vanish and come back. Each direction ends by itself, as in a network. */
export interface TcpRelay extends AsyncDisposable {
  /** The endpoint it was made for, leading through the relay. */
  readonly endpoint: string;
  /** From now on, for connections that are there already too. */
  set(state: RelayState): void;
}

export async function startTcpRelay(endpoint: string): Promise<TcpRelay> {
  const target = new URL(endpoint);
  let state: RelayState = 'open';
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (state === 'cut') return void client.destroy();
    const upstream = connect({ port: Number(target.port), host: target.hostname, allowHalfOpen: true });
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('error', () => undefined);
      from.on('close', (hadError: boolean) => {
        sockets.delete(from);
        // What it sent before it closed in order still goes through.
        if (hadError || state !== 'open') to.destroy();
        else to.destroySoon();
      });
      from.on('end', () => {
        if (state === 'open') to.end();
      });
      // What arrives while it is stalled is lost, as behind a firewall that drops packets.
      from.on('data', (chunk) => {
        if (state === 'open') to.write(chunk);
      });
    }
  });
  const port = await findFreePort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const through = new URL(endpoint);
  through.port = String(port);
  return {
    endpoint: through.origin,
    set: (next) => {
      // What lost bytes on its way is of no more use.
      if (state === 'stalled' || next === 'cut') for (const socket of sockets) socket.destroy();
      state = next;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
