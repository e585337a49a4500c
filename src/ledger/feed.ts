import { DaybookError } from '../errors.js';
import type { RowOf } from './cursor-reads.js';
import { rowBytes } from './recent-rows.js';
import type { LogName } from './rows.js';
import type { Frame } from './shared-frames.js';
import type { LogTail } from './tail-log.js';

export type { Frame } from './shared-frames.js';

/** Rows that one frame may hold. */
const batchRowsMax = 1_000;
/** A frame is sent at least so often, with rows or without. */
const frameIntervalMs = 5_000;
/** Positions one frame may cover while its filter drops the rows. */
const scannedPositionsMax = 20_000;
/** Estimated bytes of rows after which a frame is full; a single row always fits. */
const frameBytesMax = 1024 * 1024;
/** Rows of one read while a filter drops most of them. */
const scanRowsMax = 250;

export interface FeedOptions<Log extends LogName> {
  readonly tail: LogTail<Log>;
  /** Cursor of the last frame the client has: a tree size. Absent: the head. */
  readonly after?: bigint | null | undefined;
  /** Rows a frame holds at most, 1 to 1,000. */
  readonly batch: number;
  /** Absent: every row. */
  readonly matches?: ((row: RowOf[Log]) => boolean) | undefined;
  /** Text that stands for what `matches` accepts: feeds with the same text share frames. Absent: nothing is shared. */
  readonly filterKey?: string | undefined;
  /** Ends the feed: with the signal's reason where that is a DaybookError, quietly otherwise. */
  readonly signal?: AbortSignal | undefined;
}

/** Feeds whose filter has no name, numbered so that none shares another's frames. */
let unnamedFilters = 0;

/**
 * Opens a gap-free, resumable feed of frames in index order. The first frame starts at `after`; each next one where the
 * last ended. It is pulled: nothing is read ahead or queued, so a slow subscriber costs one frame. Without `after`, or
 * with nothing to deliver, the first frame is empty and immediate, so that the subscriber has a cursor to resume from.
 *
 * Throws BAD_USER_INPUT, CURSOR_AHEAD, CURSOR_EXPIRED, DATABASE_UNAVAILABLE. The feed itself may throw
 * DATABASE_UNAVAILABLE, LEDGER_BROKEN and SHUTTING_DOWN. `return()` ends it at once, also amid a pending `next()`.
 */
export async function openFeed<Log extends LogName>(
  options: FeedOptions<Log>,
): Promise<AsyncGenerator<Frame<RowOf[Log]>, void, undefined>> {
  const { tail, batch, after } = options;
  if (!Number.isInteger(batch) || batch < 1 || batch > batchRowsMax) {
    throw new DaybookError('BAD_USER_INPUT', `batch must be a whole number from 1 to ${batchRowsMax}`);
  }
  if ((after ?? 0n) < 0n) {
    throw new DaybookError('BAD_USER_INPUT', 'after must be a cursor from a frame, or "0" for the beginning');
  }
  // Another node may have handed out a cursor that this node's head has not reached yet.
  await tail.refresh();
  const start = after ?? tail.head;
  if (start > tail.head) {
    throw new DaybookError('CURSOR_AHEAD', `cursor ${start} lies beyond the head ${tail.head} of the log`);
  }
  if (start < tail.firstRetained) {
    throw new DaybookError('CURSOR_EXPIRED', `cursor ${start} lies before the first entry ${tail.firstRetained}`);
  }
  return abortable((signal) => frames(options, start, signal), options.signal);
}

async function* frames<Log extends LogName>(
  options: FeedOptions<Log>,
  start: bigint,
  signal: AbortSignal,
): AsyncGenerator<Frame<RowOf[Log]>, void, undefined> {
  const { tail, batch, matches } = options;
  const filterKey = matches === undefined ? 'all' : (options.filterKey ?? `unnamed ${(unnamedFilters += 1)}`);
  let cursor = start;
  if (options.after === null || options.after === undefined || cursor === tail.head)
    yield { rows: [], from: cursor, cursor, head: tail.head };
  while (!signal.aborted) {
    const frame = await tail.frames.take(`${cursor}/${batch}/${filterKey}`, signal, (abandoned) =>
      makeFrame(tail, cursor, batch, matches, abandoned),
    );
    if (frame === null) break;
    yield frame;
    cursor = frame.cursor;
  }
  if (signal.reason instanceof DaybookError) throw signal.reason;
}

/** Collects rows from `from` on until the frame is full, or has rows and the head is reached, or its time is over. */
async function makeFrame<Log extends LogName>(
  tail: LogTail<Log>,
  from: bigint,
  batch: number,
  matches: ((row: RowOf[Log]) => boolean) | undefined,
  abandoned: AbortSignal,
): Promise<Frame<RowOf[Log]>> {
  const rows: RowOf[Log][] = [];
  const limit = from + BigInt(matches === undefined ? batch : scannedPositionsMax);
  const dueMs = performance.now() + frameIntervalMs;
  await tail.frames.rest();
  let bytes = 0;
  let cursor = from;
  for (;;) {
    while (cursor < tail.head && cursor < limit && rows.length < batch && bytes < frameBytesMax) {
      const chunk = await tail.read(cursor, matches === undefined ? batch - rows.length : scanRowsMax);
      for (const row of chunk) {
        cursor += 1n;
        if (matches !== undefined && !matches(row)) continue;
        rows.push(row);
        bytes += rowBytes(row);
        if (rows.length === batch || bytes >= frameBytesMax) break;
      }
      if (performance.now() >= dueMs || abandoned.aborted) break;
    }
    const remainingMs = dueMs - performance.now();
    if (rows.length > 0 || cursor >= limit || remainingMs <= 0 || abandoned.aborted) break;
    await tail.waitForMore(cursor, abandoned, remainingMs);
    if (tail.closed) throw new DaybookError('SHUTTING_DOWN', 'this node is shutting down: continue on another');
    if (tail.broken !== null && cursor >= tail.head) throw tail.broken;
  }
  return { rows, from, cursor, head: tail.head };
}

/**
 * Wraps a generator so that `return()` and `throw()` abort what a pending `next()` waits for; a plain async generator
 * would let them wait for it.
 */
function abortable<Value>(
  start: (signal: AbortSignal) => AsyncGenerator<Value, void, undefined>,
  outer: AbortSignal | undefined,
): AsyncGenerator<Value, void, undefined> {
  const closing = new AbortController();
  const abort = () => closing.abort(outer?.reason);
  if (outer?.aborted) abort();
  outer?.addEventListener('abort', abort, { once: true });
  const source = start(closing.signal);
  const end = () => {
    outer?.removeEventListener('abort', abort);
    closing.abort();
  };
  return {
    async next() {
      try {
        const result = await source.next();
        if (result.done) end();
        return result;
      } catch (error) {
        end();
        throw error;
      }
    },
    return: (value) => {
      end();
      return source.return(value);
    },
    throw: (error) => {
      end();
      return source.throw(error);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
    async [Symbol.asyncDispose]() {
      await this.return();
    },
  };
}
