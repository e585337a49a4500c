import { layoutFileBytesMax, LayoutReadError, type LayoutReader } from './layout-reader.js';

/** For one file, headers and body: the largest bundle at two megabits a second. */
const requestTimeoutMs = 70_000;

export interface HttpLayoutOptions {
  /** As in https://host/logs/audit, with http or https. */
  readonly url: string;
  /** Sent as `Authorization: Bearer`. */
  readonly apiKey?: string;
  readonly timeoutMs?: number;
  /** Ends requests under way. */
  readonly signal?: AbortSignal;
}

/** A log's layout on a web server. 404 is absence; nothing is tried twice. Throws LayoutReadError for an address that is none. */
export function readHttp(options: HttpLayoutOptions): LayoutReader {
  const base = parseBase(options.url);
  return { description: base.href, read: (path) => readFile(new URL(path, base), path, options) };
}

function parseBase(url: string): URL {
  const base = URL.canParse(url) ? new URL(url) : null;
  if (base === null || !/^https?:$/.test(base.protocol)) throw new LayoutReadError(`${url} is not an http address`);
  if (base.username !== '' || base.password !== '') {
    throw new LayoutReadError('an address may not hold a password: put the key into a file');
  }
  base.search = '';
  base.hash = '';
  if (!base.pathname.endsWith('/')) base.pathname += '/';
  return base;
}

async function readFile(url: URL, path: string, options: HttpLayoutOptions): Promise<Uint8Array | null> {
  const { apiKey, timeoutMs = requestTimeoutMs, signal } = options;
  signal?.throwIfAborted();
  // Not AbortSignal.any: it keeps something of every request for as long as the outer signal lives.
  const ending = new AbortController();
  const onAbort = () => ending.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const timeout = setTimeout(() => ending.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  try {
    const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
    // A redirect could lead the key, and the auditor's machine, anywhere.
    const response = await fetch(url, { headers, redirect: 'manual', signal: ending.signal });
    if (response.status === 200) return await readBody(response, layoutFileBytesMax(path) + 1);
    await response.body?.cancel();
    if (response.status === 404) return null;
    throw new LayoutReadError(`${url.href} answered ${response.status}${hintFor(response)}`);
  } catch (err) {
    signal?.throwIfAborted();
    if (err instanceof LayoutReadError) throw err;
    const cause = (err as Error).cause;
    const detail = cause instanceof Error ? `: ${cause.message}` : '';
    throw new LayoutReadError(`${url.href} cannot be read: ${(err as Error).message}${detail}`);
  } finally {
    clearTimeout(timeout);
    signal?.removeEventListener('abort', onAbort);
  }
}

async function readBody(response: Response, bytesMax: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = (response.body ?? new Blob([]).stream()).getReader();
  while (length < bytesMax) {
    const { done, value } = (await reader.read()) as { done: boolean; value?: Uint8Array };
    if (done || value === undefined) break;
    parts.push(value);
    length += value.length;
  }
  await reader.cancel();
  return new Uint8Array(Buffer.concat(parts).subarray(0, bytesMax));
}

function hintFor(response: Response): string {
  if (response.status === 401 || response.status === 403) return ': it asks for a key (--api-key-file)';
  const location = response.headers.get('location');
  return location === null ? '' : `: it points to ${location}; redirects are not followed`;
}
