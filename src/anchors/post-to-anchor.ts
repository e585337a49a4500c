import { DaybookError } from '../errors.js';

/** A whole exchange with an anchor, from connecting to the last byte of its answer. */
const ANCHOR_TIMEOUT_MS = 15_000;
/** Statuses of a service that is overloaded, restarting or behind a proxy in trouble: later it may well answer. */
const passingStatuses = new Set([408, 429]);

export interface AnchorAnswer {
  readonly status: number;
  /** Media type in lower case without parameters; empty when the answer names none. */
  readonly mediaType: string;
  readonly body: Uint8Array;
}

export interface AnchorRequest {
  /** What the messages call the anchor, such as "the timestamp authority https://tsa.example/". */
  readonly anchor: string;
  readonly url: URL;
  readonly contentType: string;
  readonly body: Uint8Array;
  /** A longer answer is refused without reading it to its end. */
  readonly answerBytesMax: number;
  readonly timeoutMs?: number | undefined;
  /** Ends the exchange early: its reason is thrown as it is. */
  readonly signal?: AbortSignal | undefined;
}

/** The URL of an anchor as configured. Throws CONFIG_INVALID unless it is plain http or https without credentials. */
export function parseAnchorUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    throw new DaybookError('CONFIG_INVALID', `not an http or https URL of an anchor: ${JSON.stringify(text)}`);
  }
  // Credentials would end up in messages and logs; fragments are never sent.
  if (url.username !== '' || url.password !== '' || url.hash !== '') {
    throw new DaybookError('CONFIG_INVALID', `an anchor's URL holds no credentials and no fragment: ${url.host}`);
  }
  return url;
}

/** How messages name a URL: without its query, which may hold a token. */
export function describeUrl(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

/**
 * Sends one POST and reads the answer, which is any status below 500 but those that mean "later". Throws
 * ANCHOR_UNAVAILABLE when the anchor cannot be reached, does not answer in time or says that it cannot serve now, and
 * ANCHOR_REFUSED for a redirect or an answer that is too long. No redirect is followed: it would let the configured host
 * hand its role, and our request, to any other.
 */
export async function postToAnchor(request: AnchorRequest): Promise<AnchorAnswer> {
  const { anchor, url, contentType, body, answerBytesMax, timeoutMs = ANCHOR_TIMEOUT_MS, signal } = request;
  const deadline = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': contentType },
      body: new Uint8Array(body),
      redirect: 'manual',
      signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
    });
    const { status } = response;
    if (status >= 500 || passingStatuses.has(status)) {
      await response.body?.cancel();
      throw new DaybookError('ANCHOR_UNAVAILABLE', `${anchor} cannot serve now (HTTP ${status}): retry later`);
    }
    if (status >= 300 && status < 400) {
      await response.body?.cancel();
      throw new DaybookError(
        'ANCHOR_REFUSED',
        `${anchor} redirects (HTTP ${status}): configure the URL it means itself`,
      );
    }
    const answer = await readAtMost(response, answerBytesMax);
    if (answer === null) {
      throw new DaybookError('ANCHOR_REFUSED', `${anchor} answered with more than ${answerBytesMax} bytes`);
    }
    const mediaType = (response.headers.get('content-type') ?? '').split(';', 1)[0] ?? '';
    return { status, mediaType: mediaType.trim().toLowerCase(), body: answer };
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof DaybookError) throw error;
    const why = deadline.aborted ? `did not answer within ${timeoutMs} ms` : `cannot be reached (${reasonOf(error)})`;
    throw new DaybookError('ANCHOR_UNAVAILABLE', `${anchor} ${why}: retry later`, { cause: error });
  }
}

/** The body, or null as soon as it is longer than `bytesMax`. */
async function readAtMost(response: Response, bytesMax: number): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    // Leaving the loop cancels the stream, and with it the connection.
    if (length > bytesMax) return null;
    chunks.push(chunk);
  }
  const body = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.length;
  }
  return body;
}

/** fetch says "fetch failed" and keeps what failed in the cause. */
function reasonOf(error: unknown): string {
  const { message, cause } = (error ?? {}) as { message?: unknown; cause?: { code?: unknown; message?: unknown } };
  return String(cause?.code ?? cause?.message ?? message ?? error);
}
