import { followFeed, type FollowFeedOptions } from '../src/client/feed.js';
import type { DaybookApi } from './daybook-api.js';

/** What a follower has seen so far. */
interface Seen<Row> {
  readonly rows: readonly Row[];
  readonly frames: number;
  /** Every position of the log below it, from the start of the feed on, was looked at. */
  readonly cursor: bigint;
}

/** A feed that is followed from the head on. Disposing ends it. */
export interface Follower<Row> extends AsyncDisposable {
  /** Resolves with the first state that `isEnough` holds of. Throws what ended the feed. */
  until(isEnough: (seen: Seen<Row>) => boolean): Promise<Seen<Row>>;
}

/**
 * Opens a feed and waits for its first frame, which has the position of the head. The client follows it without gaps:
 * it resumes by itself and throws when a frame does not continue the last one.
 */
export async function openFollower<Row>(
  api: DaybookApi,
  wanted: Pick<FollowFeedOptions<Row>, 'feed' | 'fields' | 'filter'>,
  interrupt: AbortSignal,
): Promise<Follower<Row>> {
  const url = new URL('/graphql', api.url);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const closing = new AbortController();
  const signal = AbortSignal.any([interrupt, closing.signal]);
  let seen: Seen<Row> = { rows: [], frames: 0, cursor: 0n };
  let moved = Promise.withResolvers<void>();
  const following = followFeed<Row>({
    ...wanted,
    url: url.href,
    apiKey: api.key,
    signal,
    onFrame: (frame) => {
      const rows = frame.rows.length === 0 ? seen.rows : [...seen.rows, ...frame.rows];
      seen = { rows, frames: seen.frames + 1, cursor: BigInt(frame.cursor) };
      moved.resolve();
      moved = Promise.withResolvers();
    },
  });
  const ended = following.then(() => {
    throw (interrupt.reason as Error | undefined) ?? new Error('the feed ended');
  });
  // Reported to whoever waits; a feed that ends while nobody does is reported at the next wait.
  ended.catch(() => undefined);
  const follower: Follower<Row> = {
    async until(isEnough) {
      while (!isEnough(seen)) await Promise.race([moved.promise, ended]);
      return seen;
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await following.catch(() => undefined);
    },
  };
  try {
    await follower.until(({ frames }) => frames > 0);
  } catch (error) {
    closing.abort();
    throw error;
  }
  return follower;
}
