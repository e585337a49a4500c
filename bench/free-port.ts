import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

const attemptsMax = 100;

/**
 * A TCP port on 127.0.0.1 that nothing listened on a moment ago, below the range from which the system takes the local
 * ends of outgoing connections.
 */
export async function findFreePort(): Promise<number> {
  for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
    const port = randomInt(15_000, 32_000);
    const server = createServer();
    const listening = once(server, 'listening').then(
      () => true,
      () => false,
    );
    server.listen(port, '127.0.0.1');
    if (!(await listening)) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
  throw new Error(`none of ${attemptsMax} ports tried is free`);
}
