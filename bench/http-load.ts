import { Agent, request } from 'node:http';

/** An HTTP request body as JSON text; `headers` beside those that the body needs. */
export interface LoadTarget {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Connections that stay open between requests, as the load of one bench. */
export class HttpLoad implements Disposable {
  readonly #agent: Agent;

  constructor(readonly connections: number) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections, maxFreeSockets: connections });
  }

  /** Sends `count` bodies over all connections, one at a time on each. Throws unless every answer is 200. */
  async send(target: LoadTarget, count: number, body: (number: number) => string): Promise<void> {
    let next = 0;
    const connection = async () => {
      while (next < count) await this.post(target, body(next++), false);
    };
    await Promise.all(Array.from({ length: this.connections }, connection));
  }

  /** Posts one body. The answer's text is empty unless `wanted`: reading it costs the load time of its own. */
  post({ url, headers }: LoadTarget, body: string, wanted = true): Promise<string> {
    return new Promise((resolve, reject) => {
      const sent = request(url, {
        agent: this.#agent,
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      });
      sent.once('error', reject);
      sent.once('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => {
          if (wanted || response.statusCode !== 200) chunks.push(chunk);
        });
        response.once('error', reject);
        response.once('end', () => {
          const text = Buffer.concat(chunks).toString();
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`${url} answered ${response.statusCode}: ${text.slice(0, 500)}`));
        });
      });
      sent.end(body);
    });
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}
