import { createServer, type Server } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { NodeContext } from './context.js';
import { DaybookError } from './errors.js';
import { createApp } from './http/create-app.js';
import { createApolloServer } from './http/graphql-http.js';
import { serveGraphqlSocket } from './http/serve-graphql-socket.js';

/** How long requests under way may take to finish once the node drains, in milliseconds. */
const drainWaitMs = 10_000;

export interface RunningServer extends AsyncDisposable {
  /** As in http://127.0.0.1:4000. */
  readonly url: string;
}

/**
 * Serves HTTP, GraphQL and WebSockets for a node. Disposing stops accepting, ends feeds with SHUTTING_DOWN, and waits for
 * what is under way. Throws PORT_TAKEN.
 */
export async function startServer(context: NodeContext): Promise<RunningServer> {
  await using stack = new AsyncDisposableStack();
  const { config, log, schema, services } = context;
  const apollo = createApolloServer(schema, services);
  await apollo.start();
  stack.defer(() => apollo.stop());
  const rest = {
    append: context.append,
    redactor: services.redactor,
    clock: services.clock,
    apiKeys: services.apiKeys,
    trustedProxies: config.trustedProxies,
    log,
  };
  const app = createApp({
    apollo,
    contextFor: context.contextFor,
    health: context.health,
    metrics: context.metrics,
    rest,
    logs: services,
    audit: { database: services.database, exports: context.exports },
    packs: { database: services.database, folder: services.packs.folder, store: services.packs.store },
    secrets: { secrets: services.secrets, clock: services.clock, shutdown: services.shutdown },
  });
  const server = createServer(app);
  const socket = serveGraphqlSocket({
    server,
    schema,
    services,
    append: context.append,
    contextFor: context.contextFor,
    trustedProxies: config.trustedProxies,
  });
  await listen(server, config.port, config.host);
  stack.defer(() => closeServer(server));
  stack.use(socket);
  stack.defer(() => context.drain());
  const owned = stack.move();
  return {
    url: `http://${config.host.includes(':') ? `[${config.host}]` : config.host}:${config.port}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(port, host, resolve);
  try {
    await promise;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new DaybookError('PORT_TAKEN', `another program listens on ${host}:${port}: stop it or set DAYBOOK_PORT`, {
        cause: error,
      });
    }
    throw new DaybookError(
      'CONFIG_INVALID',
      `cannot listen on ${host}:${port} (${code ?? ''}): check DAYBOOK_HOST and DAYBOOK_PORT`,
      {
        cause: error,
      },
    );
  }
}

/** Idle connections close at once, busy ones when their response is sent, and all of them after the wait. */
async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  await Promise.race([closed, delay(drainWaitMs, undefined, { ref: false })]);
  server.closeAllConnections();
  await closed;
}
