import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** Names the file that the global set-up hands the server's facts on in. */
export const SERVER_VARIABLE = 'DAYBOOK_TEST_SERVER';

/** The one embedded server of a test run. */
export interface TestServer {
  readonly dataDir: string;
  readonly port: number;
  /** Of the administrator, to the database `postgres`. */
  readonly adminUrl: string;
}

export function getTestServer(): TestServer {
  return JSON.parse(readFileSync(process.env[SERVER_VARIABLE]!, 'utf8')) as TestServer;
}

/**
 * A TCP port on 127.0.0.1 that nothing listened on a moment ago. Below the range that the system takes the local ends of
 * outgoing connections from (32768 and up on Linux), so that no other test's connection takes it in between.
 */
export async function findFreePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    const server = createServer();
    try {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      server.close();
      await once(server, 'close');
      return port;
    } catch {
      // Taken: draw another.
    }
  }
}
