/**
 * A monitor that misses nothing: it follows the audit log from the beginning, or from where it stopped, and prints each
 * refused attempt to change the ledger and each failed login, as one JSON line.
 *
 *     npx swc docs src/client --out-dir dist
 *     DAYBOOK_KEY=<a MONITOR key> node dist/docs/examples/audit-monitor.js
 *
 * Environment: DAYBOOK_KEY; DAYBOOK_URL (ws://127.0.0.1:4000/graphql); MONITOR_POSITION, the file that holds the position
 * (audit-monitor.position). It ends with exit code 2 when entries may be missing and 1 when the server refuses it.
 */
import { WebSocket } from 'ws';
import { FeedGapError, FeedRefusedError, filePositionStore, followFeed } from '../../src/client/index.js';

interface Entry {
  readonly chainIndex: string;
  readonly recordedAt: string;
  readonly event: string;
  readonly outcome: string;
  readonly actor: string | null;
  readonly ipAddress: string | null;
  readonly resource: string | null;
}

const { DAYBOOK_KEY, DAYBOOK_URL = 'ws://127.0.0.1:4000/graphql' } = process.env;
const { MONITOR_POSITION = 'audit-monitor.position' } = process.env;

/** The finding an entry stands for, or null. */
function findingOf({ event, outcome }: Entry): string | null {
  if (event === 'ModificationRefused') return 'somebody tried to change the ledger';
  if (event === 'Login' && outcome !== 'OK') return 'a login failed';
  if (event === 'ApiCall' && outcome === 'UNAUTHENTICATED') return 'a call came without a valid key';
  return null;
}

const stop = new AbortController();
process.once('SIGINT', () => stop.abort());
process.once('SIGTERM', () => stop.abort());

try {
  await followFeed<Entry>({
    url: DAYBOOK_URL,
    apiKey: DAYBOOK_KEY ?? '',
    feed: 'auditFeed',
    fields: 'chainIndex recordedAt event outcome actor ipAddress resource',
    filter: { event: { in: ['ModificationRefused', 'Login', 'ApiCall'] } },
    batch: 1_000,
    after: '0',
    positionStore: filePositionStore(MONITOR_POSITION),
    // Lets the client pause the socket while a handler is busy.
    webSocketImpl: WebSocket,
    signal: stop.signal,
    onFrame: ({ rows }) => {
      for (const entry of rows) {
        const finding = findingOf(entry);
        if (finding !== null) console.log(JSON.stringify({ finding, ...entry }));
      }
    },
    onReconnect: ({ waitMs, cause }) => console.error(`${cause.message}: trying again in ${waitMs} ms`),
  });
} catch (error) {
  if (!(error instanceof FeedGapError) && !(error instanceof FeedRefusedError)) throw error;
  console.error(error.message);
  process.exitCode = error instanceof FeedGapError ? 2 : 1;
}
