import { createClient } from 'graphql-ws';
import { FeedInterruptedError, fromGraphqlErrors, fromSinkError } from './feed-errors.js';

/** Frames that wait for their handler before the socket is paused, or given up where it cannot pause. */
const waitingFramesMax = 16;
/** The server sends a frame at least every 5 s; a connection that is silent for so long is dead. */
const silenceMsDefault = 20_000;
const acknowledgementWaitMs = 10_000;

/** Rows of the positions [from, cursor) that pass the filter. All three positions are decimal text. */
export interface FeedFrame<Row> {
  readonly rows: readonly Row[];
  readonly from: string;
  readonly cursor: string;
  /** Size of the log when the frame was made. */
  readonly head: string;
}

export interface FeedConnectionOptions {
  readonly url: string;
  readonly apiKey: string;
  readonly query: string;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly webSocketImpl?: unknown;
  readonly silenceMs?: number;
  readonly signal: AbortSignal;
}

/** A socket that can be told to stop reading, as that of the `ws` package; the browser's cannot. */
interface PausableSocket {
  pause(): void;
  resume(): void;
}

/**
 * The frames of one connection. It ends normally when more frames wait than may and the socket cannot be paused, or on
 * abort. Throws FeedInterruptedError when the connection is lost, FeedRefusedError when the server refuses for good.
 */
export async function* connectFeed<Row>(options: FeedConnectionOptions): AsyncGenerator<FeedFrame<Row>, void> {
  const { signal } = options;
  const waiting: FeedFrame<Row>[] = [];
  let ended: Error | 'given up' | null = null;
  let socket: PausableSocket | null = null;
  let paused = false;
  let wake = () => {};

  const client = createClient({
    url: options.url,
    connectionParams: { authorization: `Bearer ${options.apiKey}` },
    connectionAckWaitTimeout: acknowledgementWaitMs,
    // Resuming needs the position of the last frame handled, which only the caller knows.
    retryAttempts: 0,
    ...(options.webSocketImpl === undefined ? {} : { webSocketImpl: options.webSocketImpl }),
    on: { opened: (opened) => (socket = isPausable(opened) ? opened : null) },
  });
  const end = (cause: Error | 'given up') => {
    ended ??= cause;
    wake();
  };
  const unsubscribe = client.subscribe<{ feed: FeedFrame<Row> }>(
    { query: options.query, variables: options.variables },
    {
      next: (result) => {
        if (result.errors !== undefined) return end(fromGraphqlErrors(result.errors));
        if (result.data === null || result.data === undefined || ended !== null) return;
        waiting.push(result.data.feed);
        if (waiting.length >= waitingFramesMax) {
          if (socket === null) {
            end('given up');
            unsubscribe();
          } else if (!paused) {
            socket.pause();
            paused = true;
          }
        }
        wake();
      },
      error: (reported) => end(fromSinkError(reported)),
      complete: () => end(new FeedInterruptedError('the server ended the feed')),
    },
  );
  try {
    for (;;) {
      const frame = waiting.shift();
      if (signal.aborted) return;
      if (frame !== undefined) {
        yield frame;
      } else if (ended !== null) {
        if (ended === 'given up') return;
        throw ended as Error;
      } else {
        if (paused) (socket as PausableSocket | null)?.resume();
        paused = false;
        await waitForWake(options, (woken) => (wake = woken), end);
      }
    }
  } finally {
    if (paused) (socket as PausableSocket | null)?.resume();
    unsubscribe();
    client.terminate();
  }
}

/** Resolves when woken or aborted; ends the connection when it stays silent. */
function waitForWake(
  { signal, silenceMs = silenceMsDefault }: FeedConnectionOptions,
  onWake: (wake: () => void) => void,
  end: (cause: Error) => void,
): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', wake);
      resolve();
    };
    const timer = setTimeout(
      () => end(new FeedInterruptedError(`the server sent nothing for ${silenceMs} ms`)),
      silenceMs,
    );
    signal.addEventListener('abort', wake, { once: true });
    onWake(wake);
  });
}

function isPausable(socket: unknown): socket is PausableSocket {
  return (
    typeof socket === 'object' &&
    socket !== null &&
    'pause' in socket &&
    typeof socket.pause === 'function' &&
    'resume' in socket &&
    typeof socket.resume === 'function'
  );
}
