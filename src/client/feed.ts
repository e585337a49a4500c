import { connectFeed, type FeedFrame } from './feed-connection.js';
import { FeedGapError, FeedInterruptedError } from './feed-errors.js';
import type { PositionStore } from './position-store.js';

export type { FeedFrame } from './feed-connection.js';

/** Pause before the first attempt to reconnect, doubled with each that fails; half of it is left to chance. */
const retryMinMs = 200;
const retryMaxMs = 10_000;

/** The feeds of the API: the type of their filter and the field their rows come in. */
const feeds = {
  auditFeed: { filterType: 'AuditEntryFilter', rowsField: 'entries' },
  signalFeed: { filterType: 'SignalFilter', rowsField: 'signals' },
} as const;

export interface FollowFeedOptions<Row> {
  /** As in ws://127.0.0.1:4000/graphql. */
  readonly url: string;
  readonly apiKey: string;
  readonly feed: keyof typeof feeds;
  /** GraphQL selection on a row, as in `chainIndex event outcome`. */
  readonly fields: string;
  readonly filter?: Readonly<Record<string, unknown>>;
  /** Most rows of a frame, 1 to 1,000; the server's default is 100. */
  readonly batch?: number;
  /** Where to start when the store holds no position: "0" is the beginning, absent the head of the log. */
  readonly after?: string;
  readonly positionStore?: PositionStore;
  /**
   * Called for each frame in order, empty ones too. The next frame is not looked at before it resolves; only then is the
   * position stored, so after a crash a frame can come a second time, but none is skipped.
   */
  readonly onFrame: (frame: FeedFrame<Row>) => Promise<void> | void;
  /** Told before each attempt to reconnect. */
  readonly onReconnect?: (attempt: { readonly number: number; readonly waitMs: number; readonly cause: Error }) => void;
  /** With the `ws` package the socket is paused while frames wait; without, the feed is reopened when too many do. */
  readonly webSocketImpl?: unknown;
  /** A connection that sends nothing for so long is replaced; at least twice the server's frame interval of 5 s. */
  readonly silenceMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Follows a feed without gaps until `signal` aborts: reconnects by itself and resumes behind the last handled frame.
 * Throws FeedRefusedError when the server refuses for good, FeedGapError when a frame does not continue the last one,
 * and whatever `onFrame` or the position store throw.
 */
export async function followFeed<Row>(options: FollowFeedOptions<Row>): Promise<void> {
  const { positionStore, onFrame, onReconnect } = options;
  const signal = options.signal ?? new AbortController().signal;
  let cursor = (await positionStore?.load()) ?? options.after ?? null;
  let failures = 0;
  while (!signal.aborted) {
    try {
      for await (const frame of connectFeed<Row>({ ...options, ...operationOf(options, cursor), signal })) {
        checkContinuity(frame, cursor, options.filter !== undefined);
        await onFrame(frame);
        cursor = frame.cursor;
        await positionStore?.store(cursor);
        failures = 0;
      }
    } catch (error) {
      if (!(error instanceof FeedInterruptedError)) throw error;
      if (signal.aborted) return;
      failures += 1;
      const waitMs = retryWaitMs(failures);
      onReconnect?.({ number: failures, waitMs, cause: error });
      await pause(waitMs, signal);
    }
  }
}

function operationOf<Row>(
  { feed, fields, filter, batch }: FollowFeedOptions<Row>,
  after: string | null,
): { query: string; variables: Record<string, unknown> } {
  const { filterType, rowsField } = feeds[feed];
  return {
    query: `subscription Follow($after: BigInt, $filter: ${filterType}, $batch: Int) {
  feed: ${feed}(after: $after, filter: $filter, batch: $batch) { from cursor head rows: ${rowsField} { ${fields} } }
}`,
    variables: { after, ...(filter === undefined ? {} : { filter }), ...(batch === undefined ? {} : { batch }) },
  };
}

/** Throws FeedGapError unless the frame starts at the last cursor and, without a filter, holds every position. */
function checkContinuity(frame: FeedFrame<unknown>, cursor: string | null, isFiltered: boolean): void {
  if (cursor !== null && frame.from !== cursor) throw new FeedGapError(cursor, frame.from);
  const covered = BigInt(frame.cursor) - BigInt(frame.from);
  const rows = BigInt(frame.rows.length);
  if (covered < rows || (!isFiltered && covered !== rows)) {
    throw new FeedGapError(`${covered} rows`, `${rows}`, 'a frame does not hold the rows of its positions');
  }
}

function retryWaitMs(failures: number): number {
  const fullMs = Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(failures - 1, 10));
  const [chance = 0] = crypto.getRandomValues(new Uint32Array(1));
  return Math.round(fullMs / 2 + (fullMs / 2) * (chance / 2 ** 32));
}

function pause(waitMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, waitMs);
    signal.addEventListener('abort', finish, { once: true });
  });
}
