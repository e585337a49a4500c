import { request as requestHttp, Agent as HttpAgent } from 'node:http';
import { request as requestHttps, Agent as HttpsAgent } from 'node:https';
import { reasonOf, sinkUnavailable } from './sink-target.js';

/** A longer answer is cut off and counts as unreadable: a bulk of 1,000 items answers with some 300 KB. */
const answerBytesMax = 16 * 1024 * 1024;

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

export interface HttpPosterOptions {
  readonly url: URL;
  /** PEM of the certificates to trust instead of the system's. */
  readonly ca: Buffer | null;
  /** For a whole exchange, in milliseconds. */
  readonly timeoutMs: number;
}

/** Posts to one URL over connections that are kept open. Redirects are answers like others: they are not followed. */
export class HttpPoster implements Disposable {
  /** As it may be shown: a path or query can hold a token. */
  readonly target: string;
  readonly #options: HttpPosterOptions;
  readonly #agent: HttpAgent;

  constructor(options: HttpPosterOptions) {
    this.#options = options;
    this.target = options.url.origin;
    const isTls = options.url.protocol === 'https:';
    this.#agent = isTls
      ? new HttpsAgent({ keepAlive: true, maxSockets: 1, ...(options.ca === null ? {} : { ca: options.ca }) })
      : new HttpAgent({ keepAlive: true, maxSockets: 1 });
  }

  /** Throws SINK_UNAVAILABLE where no whole answer came. */
  async post(body: Buffer, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HttpAnswer> {
    const abort = AbortSignal.any([signal, AbortSignal.timeout(this.#options.timeoutMs)]);
    try {
      return await this.#exchange(body, headers, abort);
    } catch (error) {
      const timedOut = abort.aborted && !signal.aborted;
      throw sinkUnavailable(this.target, timedOut ? 'no answer in time' : reasonOf(error), error);
    }
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  #exchange(body: Buffer, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HttpAnswer> {
    const { url } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
    const send = url.protocol === 'https:' ? requestHttps : requestHttp;
    const request = send(
      url,
      { method: 'POST', agent: this.#agent, signal, headers: { ...headers, 'content-length': body.length } },
      (response) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        response.on('data', (part: Buffer) => {
          bytes += part.length;
          parts.push(part);
          if (bytes > answerBytesMax) response.destroy(new Error('the answer is too long'));
        });
        response.on('end', () => {
          if (!response.complete) return reject(new Error('the answer broke off'));
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts).toString('utf8') });
        });
        response.on('error', reject);
      },
    );
    request.on('error', reject);
    request.end(body);
    return promise;
  }
}

/** The first of `parts`, one at least, that together have at most `bytesMax` bytes. */
export function takeParts(parts: readonly string[], bytesMax: number): readonly string[] {
  let bytes = 0;
  for (const [place, part] of parts.entries()) {
    bytes += Buffer.byteLength(part);
    if (bytes > bytesMax && place > 0) return parts.slice(0, place);
  }
  return parts;
}
