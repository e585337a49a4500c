import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { findFreePort } from './test-server.js';
import type { TimestampIssuer } from './timestamp-issuer.js';

/** What the server does instead of its work. */
export type TimestampLie =
  | 'other-digest'
  | 'other-nonce'
  | 'flipped-bit'
  | 'rejection'
  | 'no-answer'
  | 'half-an-answer'
  | 'status-500'
  | 'status-404'
  | 'busy'
  | 'huge-answer'
  | 'endless-answer'
  | 'wrong-content-type'
  | 'redirect'
  | 'garbage';

/** A timestamp authority on loopback that answers with the tokens of an issuer. */
export interface TimestampServer extends AsyncDisposable {
  readonly url: string;
  /** Content types and bodies of the requests so far. */
  readonly requests: { contentType: string | undefined; body: Uint8Array }[];
  /** From now on; null: the truth. */
  lie(lie: TimestampLie | null): void;
}

const replyType = 'application/timestamp-reply';

export async function startTimestampServer(issuer: TimestampIssuer): Promise<TimestampServer> {
  const port = await findFreePort();
  const url = `http://127.0.0.1:${port}/timestamp`;
  const requests: { contentType: string | undefined; body: Uint8Array }[] = [];
  let lie: TimestampLie | null = null;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = new Uint8Array(Buffer.concat(chunks));
      requests.push({ contentType: request.headers['content-type'], body });
      answer(issuer, body, lie, response).catch((error: unknown) => response.destroy(error as Error));
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url,
    requests,
    lie: (next) => {
      lie = next;
    },
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

async function answer(
  issuer: TimestampIssuer,
  query: Uint8Array,
  lie: TimestampLie | null,
  response: ServerResponse,
): Promise<void> {
  const send = (body: Uint8Array | string, type = replyType, status = 200) =>
    response.writeHead(status, { 'content-type': type }).end(body);
  switch (lie) {
    case null:
      return void send(await issuer.reply(query));
    case 'other-digest':
      return void send(await issuer.reply(changeAfter(query, [0x04, 0x20])));
    case 'other-nonce':
      return void send(await issuer.reply(changeAfter(query, [0x02, 0x08])));
    case 'flipped-bit': {
      // The last byte belongs to the signature.
      const changed = await issuer.reply(query);
      changed[changed.length - 1]! ^= 1;
      return void send(changed);
    }
    case 'rejection':
      return void send(await issuer.reject(query));
    case 'no-answer':
      return;
    case 'half-an-answer':
      return void response.writeHead(200, { 'content-type': replyType, 'content-length': 1000 }).write('half');
    case 'status-500':
      return void send('broken', 'text/plain', 500);
    case 'status-404':
      return void send('nothing here', 'text/plain', 404);
    case 'busy':
      return void send('later', 'text/plain', 429);
    case 'huge-answer':
      return void send(new Uint8Array(100 * 1024));
    case 'endless-answer': {
      response.writeHead(200, { 'content-type': replyType });
      const pour = () => {
        while (!response.destroyed && response.write(new Uint8Array(16 * 1024)));
      };
      response.on('drain', pour);
      return pour();
    }
    case 'wrong-content-type':
      return void send(await issuer.reply(query), 'text/html; charset=utf-8');
    case 'redirect':
      return void response.writeHead(307, { location: 'http://127.0.0.1:9/elsewhere' }).end();
    case 'garbage':
      return void send('<html>not a token</html>');
  }
}

/** Changes the value that follows a tag and a length in the query. */
function changeAfter(query: Uint8Array, head: readonly number[]): Uint8Array {
  const place = Buffer.from(query).indexOf(Uint8Array.from(head));
  if (place < 0) throw new Error('the query holds no such value');
  const changed = query.slice();
  changed[place + head.length + 3]! ^= 0x10;
  return changed;
}
