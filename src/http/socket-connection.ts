import type { IncomingMessage } from 'node:http';
import { CloseCode } from 'graphql-ws';
import type { WebSocket } from 'ws';

/** Bounds of one connection; times in milliseconds. */
export interface ConnectionLimits {
  /** Queries, mutations and subscriptions open at the same time. */
  readonly operationsMax: number;
  /** A consumer that takes nothing for so long while `bufferedBytes` wait is told to come back (1013). */
  readonly stalledMs: number;
  readonly bufferedBytes: number;
  /** A peer that shows no sign of life for so long is gone. */
  readonly silenceMs: number;
  readonly checkIntervalMs: number;
}

/** Standard codes (RFC 6455) that this service closes with, beside those of graphql-ws. */
export const closeCodes = {
  draining: 1001,
  internalError: 1011,
  tryAgainLater: 1013,
  unauthenticated: CloseCode.Unauthorized,
  forbidden: CloseCode.Forbidden,
} as const;

/** The longest delay a timer can hold. */
const timerMsMax = 2 ** 31 - 1;
/** Close reasons are limited to 123 bytes by the protocol. */
const reasonCharactersMax = 120;

/**
 * One WebSocket: sends with back-pressure, watches that the peer lives and reads, and closes when its key expires. Owns
 * its timers, which end with the socket.
 */
export class SocketConnection<Caller> {
  /** Set once the connection is authenticated. */
  caller: Caller | null = null;
  readonly #sending = new Set<(sent: boolean) => void>();
  readonly #watch: NodeJS.Timeout;
  readonly #expiry = new AbortController();
  /** When the socket last took something, or began to wait. */
  #progressMs = performance.now();
  #heardMs = performance.now();
  #running = 0;
  #idle: (() => void) | null = null;

  constructor(
    readonly id: string,
    readonly request: IncomingMessage,
    private readonly socket: WebSocket,
    private readonly limits: ConnectionLimits,
    /** Told before a slow consumer is sent away, with the bytes that wait for it. */
    private readonly onStalled: (bufferedBytes: number) => void,
  ) {
    const heard = () => (this.#heardMs = performance.now());
    socket.on('message', heard).on('ping', heard).on('pong', heard);
    socket.once('close', () => this.#ended());
    this.#watch = setInterval(() => this.#check(), limits.checkIntervalMs);
  }

  get operationsMax(): number {
    return this.limits.operationsMax;
  }

  get isOpen(): boolean {
    return this.socket.readyState === this.socket.OPEN;
  }

  /** Bytes handed to the socket that the kernel has not taken. */
  private get bufferedBytes(): number {
    return this.socket.bufferedAmount;
  }

  /** Resolves true when the kernel has taken the message; false when the connection is closing or closed. */
  send(message: string | Buffer): Promise<boolean> {
    if (!this.isOpen) return Promise.resolve(false);
    return new Promise((resolve) => {
      const settle = (sent: boolean) => {
        this.#sending.delete(settle);
        resolve(sent);
      };
      if (this.#sending.size === 0) this.#progressMs = performance.now();
      this.#sending.add(settle);
      this.socket.send(message, { binary: false }, (error) => {
        this.#progressMs = performance.now();
        settle(error === undefined || error === null);
      });
    });
  }

  /** Begins the closing handshake; the server's close timeout ends it if the peer does not. */
  close(code: number, reason: string): void {
    this.socket.close(code, reason.slice(0, reasonCharactersMax));
  }

  /** Closes with 4403 at `atMs` of the clock. */
  closeAt(atMs: number, nowMs: () => number): void {
    const remainingMs = atMs - nowMs();
    if (remainingMs <= 0) {
      this.close(closeCodes.forbidden, 'API key expired');
      return;
    }
    const timer = setTimeout(() => this.closeAt(atMs, nowMs), Math.min(remainingMs, timerMsMax));
    this.#expiry.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  }

  /** Runs a query or mutation, which draining waits for. */
  async run<Result>(operation: () => Promise<Result>): Promise<Result> {
    this.#running += 1;
    try {
      return await operation();
    } finally {
      this.#running -= 1;
      // The answer is sent in the turn of the event loop in which the operation ends.
      if (this.#running === 0) setImmediate(() => this.#idle?.());
    }
  }

  /** Closes with 1001: at once, so that no subscription looks completed, or after the operations under way. */
  drain(graceMs: number): void {
    const close = () => {
      clearTimeout(timer);
      this.close(closeCodes.draining, 'Going away');
    };
    const timer = setTimeout(close, graceMs);
    if (this.#running === 0) close();
    else this.#idle = close;
  }

  #check(): void {
    const nowMs = performance.now();
    if (!this.isOpen) return;
    const stalled = this.#sending.size > 0 && this.bufferedBytes >= this.limits.bufferedBytes;
    if (stalled && nowMs - this.#progressMs >= this.limits.stalledMs) {
      this.onStalled(this.bufferedBytes);
      this.close(closeCodes.tryAgainLater, 'Slow consumer: resume from your last cursor');
    } else if (!stalled && nowMs - this.#heardMs >= this.limits.silenceMs) {
      this.socket.terminate();
    } else if (this.#sending.size === 0) {
      this.socket.ping();
    }
  }

  #ended(): void {
    clearInterval(this.#watch);
    this.#expiry.abort();
    for (const settle of this.#sending) settle(false);
  }
}
