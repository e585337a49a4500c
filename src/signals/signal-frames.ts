import { anyRole } from '../access/audited.js';
import { openFrames } from '../graphql/open-frames.js';
import type { RequestContext } from '../access/request-context.js';
import type { Frame } from '../ledger/feed.js';
import { signalFilterFields } from '../ledger/read-entries.js';
import type { SignalRow } from '../ledger/rows.js';

/** Frames of the signal log for one subscriber. */
export function signalFrames(
  context: RequestContext,
  args: Readonly<Record<string, unknown>>,
): Promise<AsyncGenerator<Frame<SignalRow>, void, undefined>> {
  return openFrames(
    context,
    {
      field: 'signalFeed',
      roles: anyRole,
      tail: ({ services }) => services.tails.signals,
      filterFields: signalFilterFields,
    },
    args,
  );
}

/** The GraphQL shape of a frame. */
export function signalFrameOf(frame: Frame<SignalRow>) {
  return {
    signals: frame.rows,
    from: frame.from.toString(),
    cursor: frame.cursor.toString(),
    head: frame.head.toString(),
  };
}
