import { once } from 'node:events';
import { WebSocket, type RawData } from 'ws';
import { answerParent } from './answer-parent.js';

export interface SubscribersOptions {
  readonly url: string;
  readonly count: number;
  /** Sub-protocol of the WebSocket, or null for none. */
  readonly protocol: string | null;
  /** Messages to send on opening; a message follows only when the server answered the one before. */
  readonly greetings: readonly string[];
}

/** Connections that open at the same time. */
const openingMax = 50;
const cursorMark = Buffer.from('"cursor":"');

const owned = new AsyncDisposableStack();
const clients = new Set<WebSocket>();
/** Position behind the last entry that each client has. */
let cursors: number[] = [];
let bytes = 0;
let messages = 0;
let awaited: { readonly cursor: number; missing: number; readonly resolve: () => void } | null = null;

/** Opens the connections; resolves when each has been greeted in full. */
async function connect(options: SubscribersOptions): Promise<void> {
  cursors = Array.from({ length: options.count }, () => 0);
  let next = 0;
  const openNext = async () => {
    while (next < options.count) await open(options, next++);
  };
  await Promise.all(Array.from({ length: openingMax }, openNext));
}

async function open({ url, protocol, greetings }: SubscribersOptions, place: number): Promise<void> {
  const client = new WebSocket(url, protocol === null ? [] : [protocol], {
    perMessageDeflate: false,
    skipUTF8Validation: true,
  });
  clients.add(client);
  client.on('message', (data) => count(place, data));
  await once(client, 'open');
  for (const greeting of greetings) {
    client.send(greeting);
    await once(client, 'message');
  }
}

/** Finds the cursor near the start of a message instead of parsing it: the load must not become what is measured. */
function count(place: number, data: RawData): void {
  const message = data as Buffer;
  bytes += message.length;
  messages += 1;
  const start = message.indexOf(cursorMark);
  if (start < 0 || start > 200) return;
  const digits = start + cursorMark.length;
  const cursor = Number(message.toString('latin1', digits, message.indexOf(0x22, digits)));
  const before = cursors[place] ?? 0;
  cursors[place] = cursor;
  if (awaited === null || before >= awaited.cursor || cursor < awaited.cursor) return;
  awaited.missing -= 1;
  if (awaited.missing === 0) awaited.resolve();
}

/** Resolves when every client has all entries below `cursor`. */
async function reach(cursor: number): Promise<void> {
  const missing = cursors.filter((reached) => reached < cursor).length;
  if (missing === 0) return;
  await new Promise<void>((resolve) => (awaited = { cursor, missing, resolve }));
  awaited = null;
}

owned.defer(() => {
  for (const client of clients) client.terminate();
});
answerParent({ connect, reach, counts: () => Promise.resolve({ bytes, messages }) }, owned);
