import { once } from 'node:events';
import { WebSocket } from 'ws';
import { waitUntil } from './wait-until.js';

export interface ProtocolMessage {
  readonly id?: string;
  readonly type: string;
  readonly payload?: unknown;
}

/** Speaks graphql-transport-ws message by message, so that tests see what is on the wire. */
export class SocketClient {
  readonly messages: ProtocolMessage[] = [];
  closeCode: number | null = null;
  status: number | null = null;

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data) => this.messages.push(JSON.parse((data as Buffer).toString()) as ProtocolMessage));
    socket.on('close', (code) => (this.closeCode = code));
    socket.on('unexpected-response', (_request, response) => {
      this.status = response.statusCode ?? null;
      socket.terminate();
    });
    socket.on('error', () => undefined);
  }

  /** Opens the socket without `connection_init`. */
  static connect(url: string): SocketClient {
    return new SocketClient(new WebSocket(url, 'graphql-transport-ws'));
  }

  /** Opens the socket and waits for its acknowledgement. */
  static async open(url: string, connectionParams: Record<string, unknown> = {}): Promise<SocketClient> {
    const client = SocketClient.connect(url);
    await client.init(connectionParams);
    await client.message('connection_ack');
    return client;
  }

  async init(connectionParams: Record<string, unknown> = {}): Promise<void> {
    await once(this.socket, 'open');
    this.send({ type: 'connection_init', payload: connectionParams });
  }

  send(message: ProtocolMessage): void {
    this.socket.send(JSON.stringify(message));
  }

  subscribe(id: string, query: string, variables: Record<string, unknown> = {}): void {
    this.send({ id, type: 'subscribe', payload: { query, variables } });
  }

  complete(id: string): void {
    this.send({ id, type: 'complete' });
  }

  /** Resolves when the server has answered a message that it got after everything before it. */
  async roundTrip(): Promise<void> {
    const before = this.of('pong').length;
    this.send({ type: 'ping' });
    await this.message('pong', undefined, before);
  }

  of(type: string, id?: string): ProtocolMessage[] {
    return this.messages.filter((message) => message.type === type && (id === undefined || message.id === id));
  }

  /** The message of a type (and operation) at `place`, as soon as it has come. */
  message(type: string, id?: string, place = 0): Promise<ProtocolMessage> {
    return waitUntil(`message ${place} of type ${type}`, () => this.of(type, id)[place]);
  }

  closed(): Promise<number> {
    return waitUntil('the close', () => this.closeCode);
  }
}
