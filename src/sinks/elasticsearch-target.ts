import type { AuditRow } from '../ledger/rows.js';
import { encodePlainEcs } from './encode-ecs.js';
import { textOf } from './entry-facts.js';
import { HttpPoster, takeParts } from './http-post.js';
import { readConfigured, readSecretText } from './read-secret.js';
import { ecsDocumentOf } from './shared-encoding.js';
import type { ElasticsearchSinkConfig } from './sink-config.js';
import { sinkRefused, sinkUnavailable, type SinkTarget } from './sink-target.js';

/** Body of one request; Elasticsearch takes 100 MB and works best with a few. */
const bodyBytesMax = 5 * 1024 * 1024;

/** What came back for one document; `type` names its error, without the values that it quotes. */
interface ItemAnswer {
  readonly status: number;
  readonly type: string;
}

/**
 * Elasticsearch or OpenSearch by `_bulk`: `create` under the entry's id, so that what is sent again answers 409 and fills
 * nothing twice. Items that are refused because a free-form member does not fit the index's mapping are sent again in a form
 * without such members. Anything else that is refused stops the sink in the open: nothing is left out.
 */
export class ElasticsearchTarget implements SinkTarget {
  readonly batchEntriesMax: number;
  readonly unconfirmedEntriesMax = 0;
  readonly unconfirmedMsMax = 0;
  readonly #config: ElasticsearchSinkConfig;
  #poster: HttpPoster | null = null;
  #headers: Readonly<Record<string, string>> = {};

  constructor(config: ElasticsearchSinkConfig) {
    this.#config = config;
    this.batchEntriesMax = config.batchEntries;
  }

  async open(position: bigint): Promise<bigint> {
    const { url, index, caFile, apiKeyFile, timeoutSeconds } = this.#config;
    const base = new URL(url);
    base.pathname = `${base.pathname.replace(/\/+$/, '')}/${index}/_bulk`;
    this.#poster = new HttpPoster({
      url: base,
      ca: caFile === undefined ? null : await readConfigured(caFile, 'the CA file'),
      timeoutMs: timeoutSeconds * 1_000,
    });
    this.#headers = {
      'content-type': 'application/x-ndjson',
      ...(apiKeyFile === undefined
        ? {}
        : { authorization: `ApiKey ${await readSecretText(apiKeyFile, 'the API key file')}` }),
    };
    return position;
  }

  async deliver(rows: readonly AuditRow[], signal: AbortSignal): Promise<number> {
    const whole = takeParts(
      rows.map((row) => operation(row, ecsDocumentOf(row))),
      bodyBytesMax,
    );
    const taken = rows.slice(0, whole.length);
    const refused = await this.#send(taken, whole, signal);
    if (refused.length === 0) return taken.length;
    const rest = await this.#send(
      refused.map(({ row }) => row),
      refused.map(({ row }) => operation(row, encodePlainEcs(row))),
      signal,
    );
    const [first] = rest;
    if (first === undefined) return taken.length;
    throw sinkRefused(
      this.#target,
      `entry ${first.row.chainIndex} is refused with ${first.answer.status} ${first.answer.type}`,
    );
  }

  confirm(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#poster?.[Symbol.dispose]();
    this.#poster = null;
    return Promise.resolve();
  }

  get #target(): string {
    return this.#poster?.target ?? new URL(this.#config.url).origin;
  }

  /** Sends one bulk and returns what was refused for its content. Throws where the request or an item may pass later. */
  async #send(
    rows: readonly AuditRow[],
    operations: readonly string[],
    signal: AbortSignal,
  ): Promise<{ row: AuditRow; answer: ItemAnswer }[]> {
    if (this.#poster === null) throw sinkUnavailable(this.#target, 'not open');
    const { status, body } = await this.#poster.post(Buffer.from(operations.join('')), this.#headers, signal);
    if (status !== 200) throw sinkUnavailable(this.#target, `answers ${status}`);
    const answers = parseAnswers(body);
    if (answers?.length !== rows.length) throw sinkUnavailable(this.#target, 'answers with something else than a bulk');
    const refused: { row: AuditRow; answer: ItemAnswer }[] = [];
    answers.forEach((answer, place) => {
      const row = rows[place];
      // 409: it is there already.
      if (row === undefined || answer.status === 409 || (answer.status >= 200 && answer.status < 300)) return;
      if (answer.status === 400) refused.push({ row, answer });
      else
        throw sinkUnavailable(this.#target, `entry ${row.chainIndex} is answered with ${answer.status} ${answer.type}`);
    });
    return refused;
  }
}

function operation(row: AuditRow, document: string): string {
  return `${JSON.stringify({ create: { _id: row.id } })}\n${document}\n`;
}

function parseAnswers(body: string): ItemAnswer[] | null {
  let answer: { items?: unknown };
  try {
    answer = JSON.parse(body) as { items?: unknown };
  } catch {
    // Not JSON: a proxy's page.
    return null;
  }
  if (!Array.isArray(answer?.items)) return null;
  return answer.items.map((item: { create?: { status?: unknown; error?: { type?: unknown } } } | null) => ({
    status: Number(item?.create?.status ?? 0),
    type: /^[a-z_]{1,80}$/.exec(textOf(item?.create?.error?.type) ?? '')?.[0] ?? 'unknown',
  }));
}
