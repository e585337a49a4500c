import { outcomeOf } from '../access/request-calls.js';
import { requireRole } from '../access/audited.js';
import type { Role } from '../access/principal.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { openFeed, type Frame } from '../ledger/feed.js';
import { conditionToPredicate, parseFilter, type FilterFields } from '../ledger/filter.js';
import type { LogName } from '../ledger/rows.js';
import type { RowOf } from '../ledger/cursor-reads.js';
import type { LogTail } from '../ledger/tail-log.js';
import type { RequestContext } from '../access/request-context.js';
import { recordEnd } from './record-end.js';

/** A feed as its GraphQL field describes it. */
export interface FrameSource<Log extends LogName> {
  readonly field: string;
  readonly roles: readonly Role[];
  readonly tail: (context: RequestContext) => LogTail<Log>;
  readonly filterFields: FilterFields;
}

/**
 * Opens a feed for a subscriber. Its opening leaves an audit entry before the first frame, its end another one with the
 * positions that were delivered; a refused opening leaves its entry too.
 */
export async function openFrames<Log extends LogName>(
  context: RequestContext,
  source: FrameSource<Log>,
  args: Readonly<Record<string, unknown>>,
): Promise<AsyncGenerator<Frame<RowOf[Log]>, void, undefined>> {
  const { calls } = context;
  const call = calls.begin(source.field, 'READ', args);
  try {
    requireRole(calls, source.roles);
    const condition =
      args.filter === undefined || args.filter === null ? null : parseFilter(args.filter, source.filterFields);
    const feed = await openFeed({
      tail: source.tail(context),
      after: typeof args.after === 'string' ? BigInt(args.after) : undefined,
      batch: (args.batch as number | null | undefined) ?? 100,
      matches: condition === null ? undefined : conditionToPredicate(condition),
      filterKey: condition === null ? 'all' : encodeCanonicalJson(condition),
      signal: context.services.shutdown,
    });
    calls.record(call, 'OK', { phase: 'opened' });
    await calls.flush();
    return recordEnd(feed, (outcome, frames, last) => {
      calls.record(call, outcome, {
        phase: 'ended',
        frames,
        ...(last === null ? {} : { cursor: last.cursor.toString() }),
      });
      return calls.flush();
    });
  } catch (error) {
    calls.record(call, outcomeOf(error), { phase: 'refused' });
    await calls.flush();
    throw error;
  }
}
