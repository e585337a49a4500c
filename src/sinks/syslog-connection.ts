import { once } from 'node:events';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { readConfigured } from './read-secret.js';
import type { SyslogSinkConfig } from './sink-config.js';

/** How long a close_notify that came before the end of TCP may take through this process, in milliseconds. */
const notifyMsMax = 1_000;

/**
 * One connection to a receiver of syslog, used by one caller at a time. RFC 5424 has no acknowledgement; its end in order is
 * the only sign that the receiver read everything:
 *
 * - Over TLS we send close_notify and leave TCP open, so that nothing but the receiver has a reason to end the connection. One
 *   that follows RFC 5425 §4.4 answers with its own, which nobody else can forge. rsyslog just closes TCP.
 * - Over plain TCP our FIN is answered by the receiver's, or by that of whatever stands in between.
 * - TCP must end in order. A receiver that closes before it read everything resets the connection.
 */
export class SyslogConnection {
  readonly #raw: Socket;
  /** TLS, or the socket itself. */
  readonly #stream: Duplex;
  /** Resolves when the receiver has said that nothing follows, rejects when the connection fails before. */
  readonly #ended: Promise<void>;
  /** The same of TCP. */
  readonly #rawEnded: Promise<void>;
  #hasEnded = false;

  private constructor(raw: Socket, rawEnded: Promise<void>, stream: Duplex, needsNotice = false) {
    this.#raw = raw;
    this.#stream = stream;
    this.#rawEnded = rawEnded;
    const withoutNotice = needsNotice ? lackOfNotice(rawEnded) : rawEnded;
    this.#ended = stream === raw ? rawEnded : Promise.race([endOf(stream), withoutNotice]);
    this.#ended.then(
      () => (this.#hasEnded = true),
      () => (this.#hasEnded = true),
    );
    // Receivers say nothing; unread bytes would turn our end into a reset that can cost them data.
    stream.resume();
  }

  /** Returns when the receiver has accepted the connection; over TLS that includes its handshake. */
  static async open(config: Pick<SyslogSinkConfig, 'host' | 'port' | 'tls'>, limit: AbortSignal) {
    const { host, port, tls } = config;
    // With half-open allowed our end does not follow theirs: a receiver that hangs up early must not look like one that read all.
    const raw = connectTcp({ host, port, allowHalfOpen: true });
    const rawEnded = endOf(raw);
    try {
      await once(raw, 'connect', { signal: limit });
      if (tls === false) return new SyslogConnection(raw, rawEnded, raw);
      const stream = connectTls({ ...(await readTls(tls, host)), host, socket: new Wire(raw) });
      stream.on('error', () => undefined);
      await Promise.race([once(stream, 'secureConnect', { signal: limit }), lossOf(rawEnded)]);
      return new SyslogConnection(raw, rawEnded, stream, tls.requireCloseNotify);
    } catch (error) {
      raw.destroy();
      throw error;
    }
  }

  /** Whether it cannot take anything any more. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Returns when the bytes were handed to the system. */
  async write(text: string, limit: AbortSignal): Promise<void> {
    const written = new Promise<void>((resolve, reject) => {
      this.#stream.write(text, (error) => (error === undefined || error === null ? resolve() : reject(error)));
    });
    await abortable(Promise.race([written, lossOf(this.#ended)]), limit);
  }

  /** Ends our side and returns when the receiver has ended its own, which it did not do before. */
  async end(limit: AbortSignal): Promise<void> {
    try {
      if (this.#hasEnded) await lossOf(this.#ended);
      this.#stream.end();
      await abortable(this.#ended, limit);
      if (this.#stream !== this.#raw) this.#raw.end();
      await abortable(this.#rawEnded, limit);
    } finally {
      this.destroy();
    }
  }

  destroy(): void {
    this.#stream.destroy();
    this.#raw.destroy();
  }
}

/** The bytes of a socket for TLS to run over, which hides the end of TCP from it: close_notify alone ends TLS. */
class Wire extends Duplex {
  readonly #raw: Socket;

  constructor(raw: Socket) {
    super();
    this.#raw = raw;
    raw.on('data', (chunk: Buffer) => {
      // Whatever follows the end of TLS must not keep the end of TCP from being seen.
      if (!this.destroyed && !this.push(chunk)) raw.pause();
    });
  }

  override _read(): void {
    this.#raw.resume();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#raw.write(chunk, done);
  }

  /** Our close_notify was written; TCP is ended later. */
  override _final(done: () => void): void {
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#raw.resume();
    done(error);
  }
}

/** Resolves when the other side has ended, rejects when the stream fails before. */
function endOf(stream: Duplex): Promise<void> {
  const ended = new Promise<void>((resolve, reject) => {
    stream.once('end', () => resolve());
    stream.on('error', reject);
    stream.once('close', () => reject(new Error('the connection was lost')));
  });
  // Whoever waits for it gets the error; between two calls nobody does.
  ended.catch(() => undefined);
  return ended;
}

/** Rejects some time after TCP ended: a close_notify that came before is known then. */
async function lackOfNotice(rawEnded: Promise<void>): Promise<never> {
  await rawEnded;
  await new Promise((resolve) => setTimeout(resolve, notifyMsMax).unref());
  throw new Error('the connection ended without the close_notify of RFC 5425');
}

/** Rejects in any case: with the failure, or when the other side has ended. */
async function lossOf(ended: Promise<void>): Promise<never> {
  await ended;
  throw new Error('the receiver closed the connection');
}

async function readTls(tls: Exclude<SyslogSinkConfig['tls'], false>, host: string): Promise<ConnectionOptions> {
  const { caFile, certFile, keyFile, serverName } = tls;
  const named = serverName ?? (isIP(host) === 0 ? host : undefined);
  return {
    minVersion: 'TLSv1.2',
    ...(named === undefined ? {} : { servername: named }),
    ...(caFile === undefined ? {} : { ca: await readConfigured(caFile, 'the CA file') }),
    ...(certFile === undefined ? {} : { cert: await readConfigured(certFile, 'the certificate file') }),
    ...(keyFile === undefined ? {} : { key: await readConfigured(keyFile, 'the TLS key file') }),
  };
}

/** The promise, or the reason of the signal where that comes first. */
async function abortable<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
