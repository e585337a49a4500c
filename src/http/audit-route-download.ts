import { createHash, type Hash } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';
import { requireRole } from '../access/audited.js';
import type { Role } from '../access/principal.js';
import { outcomeOf, RequestCalls, type Call } from '../access/request-calls.js';
import { DaybookError } from '../errors.js';
import { readSender } from './sender.js';
import type { RestServices } from './rest-calls.js';

/** A reader that takes nothing for this long is given up, in milliseconds: its snapshot holds back PostgreSQL's cleaning. */
const stallMsMax = 60_000;

/** A download about to begin. Disposing gives back what it reads from. */
export interface Download extends AsyncDisposable {
  readonly headers: Readonly<Record<string, string>>;
  /** What its entry says beyond the request, such as how many entries it holds. */
  readonly entry: Readonly<Record<string, string | number>>;
  readonly chunks: AsyncIterable<string | Uint8Array>;
  /** How many rows were handed over so far. */
  readonly rows: () => number;
}

export interface DownloadOptions {
  readonly roles: readonly Role[];
  readonly open: (request: Request) => Promise<Download>;
  /** For tests of stalled readers. */
  readonly stallMs?: number;
}

/**
 * A route that streams. Its entry, with filter and count, is durable before the first byte, or there is no answer. What
 * fails later breaks the connection off without the last chunk, so that nobody takes a part for the whole, and leaves a
 * second entry. The trailers `Daybook-Rows` and `Content-Digest` (RFC 9530) tell a reader that it has all of it.
 */
export function recordedDownload(services: RestServices, options: DownloadOptions): RequestHandler {
  return async (request: Request, response: Response) => {
    const sender = await readSender(request, services.apiKeys, services.trustedProxies);
    const calls = new RequestCalls(sender, services);
    const call = calls.begin(request.path, 'READ', request.query);
    requireRole(calls, options.roles);
    assertChunked(request);
    await using download = await options.open(request);
    calls.record(call, 'OK', { ...download.entry, statusCode: 200 });
    await calls.flush();
    response.setHeaders(new Map(Object.entries(download.headers)));
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    response.setHeader('Trailer', 'Daybook-Rows, Content-Digest');
    try {
      const digest = createHash('sha256');
      await send(response, download.chunks, digest, options.stallMs ?? stallMsMax);
      response.addTrailers({
        'Daybook-Rows': String(download.rows()),
        'Content-Digest': `sha-256=:${digest.digest('base64')}:`,
      });
      response.end();
    } catch (error) {
      if (!response.headersSent) {
        // Nothing left yet: the error can be answered as any other.
        for (const name of ['Trailer', ...Object.keys(download.headers)]) response.removeHeader(name);
        throw error;
      }
      response.destroy();
      await recordBreak({ services, calls, call, download, error });
    }
  };
}

/** In HTTP/1.0 an answer ends where the connection does, so that a part of it looks whole. */
function assertChunked(request: Request): void {
  if (request.httpVersionMajor === 1 && request.httpVersionMinor === 0) {
    throw new DaybookError(
      'BAD_REQUEST',
      'downloads take HTTP/1.1, in which a broken one cannot look whole; in nginx: proxy_http_version 1.1',
    );
  }
}

/** Writes as fast as the reader takes it; throws DOWNLOAD_INCOMPLETE when the reader goes or stalls. */
async function send(
  response: Response,
  chunks: AsyncIterable<string | Uint8Array>,
  digest: Hash,
  stallMs: number,
): Promise<void> {
  for await (const chunk of chunks) {
    if (response.closed || response.destroyed) throw incomplete('the reader went away');
    digest.update(chunk);
    if (!response.write(chunk)) await drained(response, stallMs);
  }
}

function drained(response: Response, stallMs: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onClose = () => reject(incomplete('the reader went away'));
  const stalled = setTimeout(() => reject(incomplete('the reader took nothing any more')), stallMs);
  response.once('drain', resolve);
  response.once('close', onClose);
  return promise.finally(() => {
    clearTimeout(stalled);
    response.off('drain', resolve);
    response.off('close', onClose);
  });
}

interface Break {
  readonly services: RestServices;
  readonly calls: RequestCalls;
  readonly call: Call;
  readonly download: Download;
  readonly error: unknown;
}

/** The answer is broken off already; an entry that cannot be made is only logged. */
async function recordBreak({ services, calls, call, download, error }: Break): Promise<void> {
  const outcome = outcomeOf(error);
  services.log.warn({ err: error, outcome }, 'a download was broken off');
  try {
    calls.record(call, outcome, { ...download.entry, sentRows: download.rows() });
    await calls.flush();
  } catch (failure) {
    services.log.error({ err: failure }, 'the end of a download could not be recorded');
  }
}

function incomplete(reason: string): DaybookError {
  return new DaybookError('DOWNLOAD_INCOMPLETE', `${reason}: fetch it again`);
}
