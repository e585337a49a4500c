import { auditReaders } from '../access/audited.js';
import { openFrames } from '../graphql/open-frames.js';
import type { RequestContext } from '../access/request-context.js';
import type { Frame } from '../ledger/feed.js';
import { auditFilterFields } from '../ledger/read-entries.js';
import type { AuditRow } from '../ledger/rows.js';

/** Frames of the audit log for one subscriber. */
export function auditFrames(
  context: RequestContext,
  args: Readonly<Record<string, unknown>>,
): Promise<AsyncGenerator<Frame<AuditRow>, void, undefined>> {
  return openFrames(
    context,
    {
      field: 'auditFeed',
      roles: auditReaders,
      tail: ({ services }) => services.tails.audit,
      filterFields: auditFilterFields,
    },
    args,
  );
}

/** The GraphQL shape of a frame. */
export function auditFrameOf(frame: Frame<AuditRow>) {
  return {
    entries: frame.rows,
    from: frame.from.toString(),
    cursor: frame.cursor.toString(),
    head: frame.head.toString(),
  };
}
