import type { Clock } from '../clock.js';
import { timestampFromMs } from '../core/timestamp.js';
import { signWebhook } from '../core/webhook-signature.js';
import type { AuditRow } from '../ledger/rows.js';
import { HttpPoster, takeParts } from './http-post.js';
import { readConfigured, readWebhookSecret } from './read-secret.js';
import { jsonlLineOf } from './shared-encoding.js';
import type { WebhookSinkConfig } from './sink-config.js';
import { sinkRefused, sinkUnavailable, type SinkTarget } from './sink-target.js';

/** Body of one request: what most servers take without being asked. */
const bodyBytesMax = 512 * 1024;

/**
 * Entries in batches by POST, signed as Standard Webhooks says. Any 2xx acknowledges a batch; a batch that is too large for
 * the receiver (413) is halved. `webhook-id` names the range of indexes, so that a retry of the same batch has the same id.
 */
export class WebhookTarget implements SinkTarget {
  readonly unconfirmedEntriesMax = 0;
  readonly unconfirmedMsMax = 0;
  readonly #config: WebhookSinkConfig;
  readonly #clock: Clock;
  #poster: HttpPoster | null = null;
  #secret: Uint8Array | null = null;
  /** Halved by each 413. */
  #entriesMax: number;

  constructor(config: WebhookSinkConfig, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
    this.#entriesMax = config.batchEntries;
  }

  get batchEntriesMax(): number {
    return this.#entriesMax;
  }

  async open(position: bigint): Promise<bigint> {
    const { url, caFile, secretFile, timeoutSeconds } = this.#config;
    this.#secret = await readWebhookSecret(secretFile);
    this.#poster = new HttpPoster({
      url: new URL(url),
      ca: caFile === undefined ? null : await readConfigured(caFile, 'the CA file'),
      timeoutMs: timeoutSeconds * 1_000,
    });
    return position;
  }

  async deliver(rows: readonly AuditRow[], signal: AbortSignal): Promise<number> {
    if (this.#poster === null || this.#secret === null) throw sinkUnavailable(this.#config.name, 'not open');
    for (;;) {
      const lines = takeParts(rows.slice(0, this.#entriesMax).map(jsonlLineOf), bodyBytesMax);
      const { status } = await this.#post(this.#poster, this.#secret, rows, lines, signal);
      if (status >= 200 && status < 300) return lines.length;
      if (status !== 413) throw sinkUnavailable(this.#poster.target, `answers ${status}`);
      if (lines.length === 1)
        throw sinkRefused(this.#poster.target, `entry ${rows[0]?.chainIndex} is too large for it`);
      this.#entriesMax = Math.floor(lines.length / 2);
    }
  }

  confirm(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#poster?.[Symbol.dispose]();
    this.#poster = null;
    return Promise.resolve();
  }

  #post(
    poster: HttpPoster,
    secret: Uint8Array,
    rows: readonly AuditRow[],
    lines: readonly string[],
    signal: AbortSignal,
  ) {
    const [first, last] = [rows[0]?.chainIndex ?? '', rows[lines.length - 1]?.chainIndex ?? ''];
    const nowMs = this.#clock.nowMs();
    const head = { type: 'audit.entries', timestamp: timestampFromMs(nowMs) };
    const range = `"log":"audit","first":${first},"last":${last}`;
    const text = `${JSON.stringify(head).slice(0, -1)},"data":{${range},"entries":[${lines.join(',')}]}}`;
    const body = Buffer.from(text);
    const id = `audit_${first}_${last}`;
    const timestamp = Math.floor(nowMs / 1_000);
    return poster.post(
      body,
      {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': String(timestamp),
        'webhook-signature': signWebhook(secret, id, timestamp, text),
      },
      signal,
    );
  }
}
