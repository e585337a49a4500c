import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/**
 * What becomes of the next COMMIT: `lost` never reaches the server, `unanswered` does and the answer is lost. Either way
 * the connection breaks.
 */
type CommitFault = 'lost' | 'unanswered';

/** A TCP relay to PostgreSQL that breaks connections at a chosen point. */
export interface BreakingProxy extends AsyncDisposable {
  /** The URL it was made for, leading through the relay. */
  readonly url: string;
  /** Applies to one COMMIT; `unreachable`: from then on no connection is let through. */
  breakNextCommit(fault: CommitFault, then?: 'reachable' | 'unreachable'): void;
}

/** The simple-query message of a lone COMMIT. */
const commitMessage = Buffer.from([0x51, 0, 0, 0, 11, ...Buffer.from('COMMIT\0')]);

export async function startBreakingProxy(url: string): Promise<BreakingProxy> {
  const target = new URL(url);
  let armed: { fault: CommitFault; then: string } | null = null;
  let reachable = true;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => [client, upstream].forEach((side) => side.destroy()));
    }
    if (!reachable) client.destroy();
    upstream.on('data', (chunk) => client.write(chunk));
    client.on('data', (chunk: Buffer) => {
      if (armed === null || !chunk.includes(commitMessage)) {
        upstream.write(chunk);
        return;
      }
      const { fault, then } = armed;
      armed = null;
      reachable = then === 'reachable';
      if (fault === 'lost') {
        client.destroy();
        return;
      }
      // Whatever the server answers shows that it has committed: only then is the answer thrown away.
      upstream.removeAllListeners('data');
      upstream.once('data', () => client.destroy());
      upstream.write(chunk);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const through = new URL(url);
  through.port = String((server.address() as AddressInfo).port);
  return {
    url: through.href,
    breakNextCommit: (fault, then = 'reachable') => {
      armed = { fault, then };
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
