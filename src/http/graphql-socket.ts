import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { handleProtocols, makeServer, type ServerOptions } from 'graphql-ws';
import type { Logger } from 'pino';
import { WebSocketServer, type RawData, type WebSocket } from 'ws';
import type { Clock } from '../clock.js';
import { DaybookError } from '../errors.js';
import { closeCodes, SocketConnection, type ConnectionLimits } from './socket-connection.js';
import { SocketOperations, type OperationOptions } from './socket-operations.js';

/** Bounds of all connections together; times in milliseconds. */
export interface SocketLimits extends ConnectionLimits {
  readonly connectionsMax: number;
  /** Bytes of one incoming message. */
  readonly messageBytesMax: number;
  /** How long a connection may stay without `connection_init`. */
  readonly initWaitMs: number;
  /** How long a closing handshake may take. */
  readonly closeWaitMs: number;
  /** How long draining waits for queries and mutations under way. */
  readonly drainWaitMs: number;
  /** How often keys of open connections are looked up again. */
  readonly recheckIntervalMs: number;
}

const defaultSocketLimits: SocketLimits = {
  connectionsMax: 5_000,
  operationsMax: 32,
  // A mutation with 1,000 signals of usual length fits.
  messageBytesMax: 2 * 1024 * 1024,
  initWaitMs: 5_000,
  closeWaitMs: 5_000,
  drainWaitMs: 5_000,
  recheckIntervalMs: 5_000,
  stalledMs: 60_000,
  bufferedBytes: 65_536,
  silenceMs: 60_000,
  checkIntervalMs: 15_000,
};

/** What the socket itself needs to know of an authenticated caller. */
export interface SocketCaller {
  readonly keyId: string;
  /** Canonical time from which the key is refused, or null. */
  readonly expiresAt: string | null;
}

export interface GraphqlSocketOptions<Caller extends SocketCaller> extends OperationOptions<Caller> {
  readonly httpServer: Server;
  readonly path: string;
  /** Who connects. Throws UNAUTHENTICATED (closes with 4401), FORBIDDEN (4403), or a retryable error (1013). */
  readonly authenticate: (
    connectionParams: Readonly<Record<string, unknown>>,
    request: IncomingMessage,
  ) => Promise<Caller>;
  /** False once a key is revoked or expired: its connections are closed with 4403. */
  readonly isStillValid: (caller: Caller) => Promise<boolean>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborted when this node drains: connections are closed with 1001 and new ones refused. */
  readonly shutdown: AbortSignal;
  readonly limits?: Partial<SocketLimits>;
}

/** GraphQL over WebSocket on one path of an HTTP server. Dispose it before what its operations use. */
export function attachGraphqlSocket<Caller extends SocketCaller>(
  options: GraphqlSocketOptions<Caller>,
): GraphqlSocket<Caller> {
  return new GraphqlSocket(options);
}

export class GraphqlSocket<Caller extends SocketCaller> implements AsyncDisposable {
  readonly #options: GraphqlSocketOptions<Caller>;
  readonly #limits: SocketLimits;
  readonly #sockets: WebSocketServer;
  readonly #protocol: ReturnType<typeof makeServer<Record<string, unknown>, SocketConnection<Caller>>>;
  /** Each connection with the promise of its end, after its subscriptions have ended. */
  readonly #connections = new Map<SocketConnection<Caller>, Promise<void>>();
  readonly #recheck: NodeJS.Timeout;
  #rechecking = false;
  readonly #onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) =>
    this.#upgrade(request, socket, head);
  readonly #onShutdown = () => this.#drain();

  constructor(options: GraphqlSocketOptions<Caller>) {
    this.#options = options;
    this.#limits = { ...defaultSocketLimits, ...options.limits };
    this.#protocol = makeServer(this.#protocolOptions(new SocketOperations(options)));
    this.#sockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: this.#limits.messageBytesMax,
      handleProtocols: (protocols) => handleProtocols(protocols),
      closeTimeout: this.#limits.closeWaitMs,
    } as ConstructorParameters<typeof WebSocketServer>[0]);
    options.httpServer.on('upgrade', this.#onUpgrade);
    options.shutdown.addEventListener('abort', this.#onShutdown, { once: true });
    this.#recheck = setInterval(() => void this.#recheckKeys(), this.#limits.recheckIntervalMs);
    this.#recheck.unref();
  }

  /** Connections that are open now. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Refuses new connections, closes all with 1001, and waits until their subscriptions have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#options.shutdown.removeEventListener('abort', this.#onShutdown);
    clearInterval(this.#recheck);
    this.#drain();
    await Promise.all(this.#connections.values());
    this.#options.httpServer.off('upgrade', this.#onUpgrade);
    this.#sockets.close();
  }

  #drain(): void {
    for (const connection of this.#connections.keys()) connection.drain(this.#limits.drainWaitMs);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const [path] = (request.url ?? '').split('?');
    if (path !== this.#options.path) return refuseUpgrade(socket, '404 Not Found');
    if (this.#options.shutdown.aborted || this.#connections.size >= this.#limits.connectionsMax) {
      return refuseUpgrade(socket, '503 Service Unavailable');
    }
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => this.#open(webSocket, request));
  }

  #open(webSocket: WebSocket, request: IncomingMessage): void {
    const { logger } = this.#options;
    const connectionId = randomUUID();
    const connection = new SocketConnection<Caller>(connectionId, request, webSocket, this.#limits, (bufferedBytes) =>
      logger.info({ connectionId, bufferedBytes }, 'a slow consumer is sent away to resume later'),
    );
    webSocket.on('error', (error) => logger.debug({ err: error, connectionId }, 'a WebSocket broke'));
    const closed = this.#protocol.opened(
      {
        protocol: webSocket.protocol,
        send: async (message) => void (await connection.send(message)),
        close: (code, reason) => connection.close(code ?? closeCodes.internalError, reason ?? ''),
        onMessage: (handle) =>
          webSocket.on('message', (message: RawData) => void this.#receive(connection, handle, message)),
      },
      connection,
    );
    const ended = new Promise<void>((resolve) => {
      webSocket.once('close', (code, reason) => {
        const fail = (error: unknown) =>
          logger.error({ err: error, connectionId }, 'a subscription did not end in order');
        closed(code, String(reason))
          .catch(fail)
          .finally(() => {
            this.#connections.delete(connection);
            resolve();
          });
      });
    });
    this.#connections.set(connection, ended);
  }

  async #receive(
    connection: SocketConnection<Caller>,
    handle: (message: string) => Promise<void>,
    message: RawData,
  ): Promise<void> {
    // Messages behind a close frame that was sent are not answered any more, so they are not executed either.
    if (!connection.isOpen) return;
    try {
      await handle((message as Buffer).toString('utf8'));
    } catch (error) {
      this.#options.logger.error({ err: error, connectionId: connection.id }, 'a WebSocket message failed');
      connection.close(closeCodes.internalError, 'Internal error');
    }
  }

  #protocolOptions(
    operations: SocketOperations<Caller>,
  ): ServerOptions<Record<string, unknown>, SocketConnection<Caller>> {
    return {
      connectionInitWaitTimeout: this.#limits.initWaitMs,
      onConnect: async ({ extra, connectionParams }) => this.#authenticate(extra, connectionParams ?? {}),
      onSubscribe: async ({ extra, subscriptions }, id, payload) => {
        const prepared = await operations.prepare(extra, id, payload, Object.keys(subscriptions).length);
        return prepared;
      },
      execute: (args) => operations.execute(args),
      subscribe: (args) => operations.subscribe(args),
      onError: (_ctx, _id, _payload, errors) => operations.formatErrors(errors),
    };
  }

  async #authenticate(
    connection: SocketConnection<Caller>,
    connectionParams: Readonly<Record<string, unknown>>,
  ): Promise<boolean> {
    try {
      const caller = await this.#options.authenticate(connectionParams, connection.request);
      connection.caller = caller;
      const { clock } = this.#options;
      if (caller.expiresAt !== null) connection.closeAt(Date.parse(caller.expiresAt), () => clock.nowMs());
      return connection.isOpen;
    } catch (error) {
      if (!(error instanceof DaybookError)) throw error;
      if (error.code === 'UNAUTHENTICATED') connection.close(closeCodes.unauthenticated, error.message);
      else if (error.code === 'FORBIDDEN') connection.close(closeCodes.forbidden, error.message);
      else connection.close(error.retryable ? closeCodes.tryAgainLater : closeCodes.internalError, error.message);
      return false;
    }
  }

  /** Looks each key in use up once. A database that cannot be asked is no verdict: the next round asks again. */
  async #recheckKeys(): Promise<void> {
    if (this.#rechecking) return;
    this.#rechecking = true;
    try {
      const valid = new Map<string, boolean>();
      for (const connection of this.#connections.keys()) {
        const { caller } = connection;
        if (caller === null) continue;
        const isValid = valid.get(caller.keyId) ?? (await this.#options.isStillValid(caller));
        valid.set(caller.keyId, isValid);
        if (!isValid) connection.close(closeCodes.forbidden, 'API key revoked or expired');
      }
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'keys of open connections could not be looked up');
    } finally {
      this.#rechecking = false;
    }
  }
}

function refuseUpgrade(socket: Duplex, status: string): void {
  socket.on('error', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
