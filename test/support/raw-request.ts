import { request } from 'node:http';

export interface RawRequest {
  readonly headers?: Record<string, string>;
  /** Makes it a POST. */
  readonly body?: string;
}

/** Sends a request as it is, also what fetch would refuse to send, and returns the headers and the body of its answer as text. */
export async function sendRaw(url: string, { headers, body }: RawRequest = {}): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const sending = request(url, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'content-type': 'application/json', ...headers },
  });
  sending.on('error', reject).on('response', (response) => {
    const parts = [JSON.stringify(response.rawHeaders)];
    response.on('data', (part) => parts.push(String(part)));
    response.on('error', reject).on('end', () => resolve(parts.join('\n')));
  });
  sending.end(body);
  return promise;
}
