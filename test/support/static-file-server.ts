import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { findFreePort } from './test-server.js';

/** A web server on loopback, ended at disposal. */
export interface StaticFileServer extends AsyncDisposable {
  /** Without a slash at the end. */
  readonly url: string;
  /** Paths asked for so far. */
  readonly requested: readonly string[];
}

export interface StaticFileServerOptions {
  /** Path below the server's root, without a slash before it, and contents. */
  readonly files: ReadonlyMap<string, Uint8Array | string>;
  /** Asked for as `Authorization: Bearer`; answers 401 without it. */
  readonly apiKey?: string;
  /** Answers in place of files. */
  readonly answer?: (request: IncomingMessage, response: ServerResponse) => void;
}

export async function startStaticFileServer(options: StaticFileServerOptions): Promise<StaticFileServer> {
  const requested: string[] = [];
  const server = createServer((request, response) => {
    const path = (request.url ?? '').slice(1);
    requested.push(path);
    if (options.answer !== undefined) return options.answer(request, response);
    const isAllowed = options.apiKey === undefined || request.headers.authorization === `Bearer ${options.apiKey}`;
    const contents = options.files.get(path);
    if (!isAllowed) response.writeHead(401).end();
    else if (contents === undefined) response.writeHead(404).end('no such file');
    else response.writeHead(200, { 'content-type': contentType(path) }).end(contents);
  });
  const port = await findFreePort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${port}`,
    requested,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function contentType(path: string): string {
  if (path.endsWith('.html')) return 'text/html; charset=utf-8';
  return path.endsWith('.js') ? 'text/javascript; charset=utf-8' : 'application/octet-stream';
}
