import type { AuditRow } from '../ledger/rows.js';
import { encodeCef, type Product } from './encode-cef.js';
import { encodeOcsf } from './encode-ocsf.js';
import type { SyslogSinkConfig } from './sink-config.js';
import { reasonOf, sinkUnavailable, type SinkTarget } from './sink-target.js';
import { SyslogConnection } from './syslog-connection.js';
import { encodeSyslogMessage, frameSyslogMessage, type SyslogSender } from './syslog-frame.js';

const batchEntriesMax = 500;

export interface SyslogTargetOptions {
  readonly product: Product;
  readonly hostname: string;
}

/**
 * RFC 5424 messages over TCP (RFC 6587, octet-counted) or TLS (RFC 5425). The protocol has no acknowledgement: what was
 * written lies in buffers that are lost with the connection or the receiver. So the connection is ended in order from time to
 * time: a receiver that closes its side after ours has read everything up to the end, unless it closes because it shuts down.
 * So one that takes the next connection afterwards is asked for, too. Only then the entries count as delivered; after a failure
 * everything since is sent again. docs/sinks.md says what a receiver can still lose.
 */
export class SyslogTarget implements SinkTarget {
  readonly batchEntriesMax = batchEntriesMax;
  readonly unconfirmedEntriesMax: number;
  readonly unconfirmedMsMax: number;
  readonly #config: SyslogSinkConfig;
  readonly #options: SyslogTargetOptions;
  readonly #sender: SyslogSender;
  #connection: SyslogConnection | null = null;
  /** Whether nothing was written into it. */
  #isFresh = true;

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
      // A receiver may close what is not used: nothing is lost with it.
      if (this.#isFresh && this.#connection?.hasEnded === true) await this.close();
      this.#connection ??= await SyslogConnection.open(this.#config, limit);
      this.#isFresh = false;
      await this.#connection.write(rows.map((row) => this.#frameOf(row)).join(''), limit);
    });
    return rows.length;
  }

  async confirm(signal: AbortSignal): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    await this.#mapErrors(signal, async (limit) => {
      await connection?.end(limit);
      this.#connection = await SyslogConnection.open(this.#config, limit);
      this.#isFresh = true;
    });
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
    const { host, port, timeoutSeconds } = this.#config;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutSeconds * 1_000)]);
    try {
      await work(limit);
    } catch (error) {
      if ((error as { code?: unknown }).code === 'CONFIG_INVALID') throw error;
      const timedOut = limit.aborted && !signal.aborted;
      throw sinkUnavailable(
        `${host}:${port}`,
        timedOut ? `no progress for ${timeoutSeconds} s` : reasonOf(error),
        error,
      );
    }
  }
}
