import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import type { AuditRow } from '../ledger/rows.js';
import { encodeCef, type Product } from './encode-cef.js';
import { encodeOcsf } from './encode-ocsf.js';
import { readConfigured } from './read-secret.js';
import type { SyslogSinkConfig } from './sink-config.js';
import { reasonOf, sinkUnavailable, type SinkTarget } from './sink-target.js';
import { encodeSyslogMessage, frameSyslogMessage, type SyslogSender } from './syslog-frame.js';

const batchEntriesMax = 500;
/** For a connection to be made, for one write to leave, and for the receiver to close its side. */
const waitMsMax = 15_000;

export interface SyslogTargetOptions {
  readonly product: Product;
  readonly hostname: string;
}

/**
 * RFC 5424 messages over TCP (RFC 6587, octet-counted) or TLS (RFC 5425). The protocol has no acknowledgement: what was
 * written lies in buffers that are lost with the connection or the receiver. So the connection is ended in order from time to
 * time: a receiver that closes its side after ours has read everything up to the end. Only then the entries count as
 * delivered; after a failure everything since is sent again.
 */
export class SyslogTarget implements SinkTarget {
  readonly batchEntriesMax = batchEntriesMax;
  readonly unconfirmedEntriesMax: number;
  readonly unconfirmedMsMax: number;
  readonly #config: SyslogSinkConfig;
  readonly #options: SyslogTargetOptions;
  readonly #sender: SyslogSender;
  #connection: Connection | null = null;

  constructor(config: SyslogSinkConfig, options: SyslogTargetOptions) {
    this.#config = config;
    this.#options = options;
    this.unconfirmedEntriesMax = config.confirmEntries;
    this.unconfirmedMsMax = config.confirmSeconds * 1_000;
    this.#sender = {
      facility: config.facility,
      hostname: options.hostname,
      appName: 'daybook',
      enterpriseId: config.enterpriseId,
    };
  }

  open(position: bigint): Promise<bigint> {
    return Promise.resolve(position);
  }

  async deliver(rows: readonly AuditRow[], signal: AbortSignal): Promise<number> {
    await this.#mapErrors(signal, async (limit) => {
      this.#connection ??= await connect(this.#config, limit);
      await this.#connection.write(rows.map((row) => this.#frameOf(row)).join(''), limit);
    });
    return rows.length;
  }

  async confirm(signal: AbortSignal): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    await this.#mapErrors(signal, async (limit) => connection?.end(limit));
  }

  close(): Promise<void> {
    this.#connection?.destroy();
    this.#connection = null;
    return Promise.resolve();
  }

  #frameOf(row: AuditRow): string {
    const { format, messageBytesMax } = this.#config;
    // The header and the structured data come on top: ids and hashes of fixed size.
    const textBytesMax = messageBytesMax - 512;
    const encode = format === 'cef' ? encodeCef : encodeOcsf;
    return frameSyslogMessage(encodeSyslogMessage(row, encode(row, this.#options.product, textBytesMax), this.#sender));
  }

  async #mapErrors(signal: AbortSignal, work: (limit: AbortSignal) => Promise<void>): Promise<void> {
    const { host, port } = this.#config;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(waitMsMax)]);
    try {
      await work(limit);
    } catch (error) {
      if ((error as { code?: unknown }).code === 'CONFIG_INVALID') throw error;
      const timedOut = limit.aborted && !signal.aborted;
      throw sinkUnavailable(
        `${host}:${port}`,
        timedOut ? `no progress for ${waitMsMax / 1_000} s` : reasonOf(error),
        error,
      );
    }
  }
}

/** One connection to the receiver, used by one caller at a time. */
class Connection {
  readonly #socket: Socket;
  /** Rejects when the connection fails, resolves when the receiver has closed its side. */
  readonly #ended: Promise<void>;
  #hasEnded = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#ended = new Promise((resolve, reject) => {
      socket.once('end', () => {
        this.#hasEnded = true;
        resolve();
      });
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('the connection was lost')));
    });
    // Whoever waits for it gets the error; between two calls nobody does.
    this.#ended.catch(() => undefined);
    // Receivers say nothing; unread bytes would turn our end into a reset that can cost them data.
    socket.resume();
  }

  /** Returns when the bytes were handed to the system. */
  async write(text: string, limit: AbortSignal): Promise<void> {
    const written = new Promise<void>((resolve, reject) => {
      this.#socket.write(text, (error) => (error === undefined || error === null ? resolve() : reject(error)));
    });
    const lost = this.#ended.then(() => Promise.reject(new Error('the receiver closed the connection')));
    await abortable(Promise.race([written, lost]), limit);
  }

  /** Ends our side and returns when the receiver has ended its own, which it did not do before. */
  async end(limit: AbortSignal): Promise<void> {
    if (this.#hasEnded) {
      this.#socket.destroy();
      throw new Error('the receiver closed the connection');
    }
    this.#socket.end();
    try {
      await abortable(this.#ended, limit);
    } finally {
      this.#socket.destroy();
    }
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

async function connect(config: SyslogSinkConfig, limit: AbortSignal): Promise<Connection> {
  const { host, port, tls } = config;
  // With half-open allowed our end does not follow theirs: a receiver that hangs up early must not look like one that read all.
  const address = { host, port, allowHalfOpen: true };
  const socket =
    tls === false
      ? connectTcp(address)
      : connectTls({
          ...(await readTls(tls)),
          ...address,
          ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
        } satisfies ConnectionOptions & typeof address as ConnectionOptions);
  try {
    await once(socket, tls === false ? 'connect' : 'secureConnect', { signal: limit });
  } catch (error) {
    socket.on('error', () => undefined);
    socket.destroy();
    throw error;
  }
  return new Connection(socket);
}

async function readTls(tls: Exclude<SyslogSinkConfig['tls'], false>): Promise<ConnectionOptions> {
  const { caFile, certFile, keyFile } = tls;
  return {
    minVersion: 'TLSv1.2',
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
