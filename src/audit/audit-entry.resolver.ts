import { Arg, Args, Ctx, FieldResolver, ID, Info, Int, Query, Resolver, Root, Subscription } from 'type-graphql';
import type { GraphQLResolveInfo } from 'graphql';
import { Audited, auditReaders, requireRole } from '../access/audited.js';
import { DaybookError } from '../errors.js';
import { connectionOf, ForwardPageArgs, PageArgs, type Connection } from '../graphql/connection.js';
import type { RequestContext } from '../access/request-context.js';
import { BigIntScalar } from '../graphql/scalars.js';
import { selectedNodeFields } from '../graphql/selection.js';
import type { Frame } from '../ledger/feed.js';
import { parseFilter } from '../ledger/filter.js';
import { auditFilterFields, emptyPage, readAuditEntry, readPage } from '../ledger/read-entries.js';
import type { NeighbourRequest } from '../ledger/read-neighbours.js';
import type { AuditRow, SignalRow } from '../ledger/rows.js';
import type { ArchivedRange } from '../retention/retention.type.js';
import { Signal } from '../signals/signal.type.js';
import { AuditEntry, AuditEntryConnection, AuditEntryFilter, AuditEntryOrder, AuditFrame } from './audit-entry.type.js';
import { auditFrameOf, auditFrames } from './audit-frames.js';

@Resolver(() => AuditEntry)
export class AuditEntryResolver {
  @Query(() => AuditEntry, {
    nullable: true,
    description: 'One entry by its id or its index; null when there is none.',
  })
  @Audited('READ', auditReaders)
  auditEntry(
    @Arg('id', () => ID, { nullable: true }) id: string | undefined,
    @Arg('chainIndex', () => BigIntScalar, { nullable: true }) chainIndex: string | undefined,
    @Ctx() context: RequestContext,
  ): Promise<AuditRow | null> {
    const byId = id !== undefined && id !== null;
    if (byId === (chainIndex !== undefined && chainIndex !== null)) {
      throw new DaybookError('BAD_USER_INPUT', 'give either id or chainIndex');
    }
    if (byId && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) return Promise.resolve(null);
    return readAuditEntry(context.services.database, byId ? { id } : { chainIndex: chainIndex ?? '0' });
  }

  @Query(() => AuditEntryConnection, {
    description:
      'Audit entries, oldest first unless said otherwise. Page by hasNextPage and endCursor: see docs/audit.md.',
  })
  @Audited('READ', auditReaders)
  async auditEntries(
    @Arg('filter', () => AuditEntryFilter, { nullable: true }) filter: AuditEntryFilter | undefined,
    @Arg('orderBy', () => AuditEntryOrder, { nullable: true }) orderBy: AuditEntryOrder | undefined,
    @Args(() => PageArgs) page: PageArgs,
    @Ctx() context: RequestContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<Connection> {
    const found = await readPage(context.services.database, 'audit', {
      ...page,
      condition: filter === undefined || filter === null ? null : parseFilter(filter, auditFilterFields),
      newestFirst: orderBy === AuditEntryOrder.NEWEST_FIRST,
      properties: auditProperties(info),
      bounded: true,
    });
    return { ...connectionOf('audit', found), range: rangeOf(filter) } as Connection;
  }

  @FieldResolver(() => AuditEntryConnection, {
    description: 'Entries of the same request, this one among them, oldest first; none where it has no request.',
  })
  entriesOfRequest(
    @Root() { requestId }: AuditRow,
    @Args(() => ForwardPageArgs) page: ForwardPageArgs,
    @Ctx() context: RequestContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<Connection> {
    return readNeighbours(context, 'requestId', requestId, page, info);
  }

  @FieldResolver(() => AuditEntryConnection, {
    description: 'Entries of the same session, this one among them, oldest first; none where it has no session.',
  })
  entriesOfSession(
    @Root() { sessionId }: AuditRow,
    @Args(() => ForwardPageArgs) page: ForwardPageArgs,
    @Ctx() context: RequestContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<Connection> {
    return readNeighbours(context, 'sessionId', sessionId, page, info);
  }

  @Subscription(() => AuditFrame, {
    description: 'Follows the audit log from a position, gap-free; see docs/subscriptions.md.',
    subscribe: ({ args, context }) => auditFrames(context as RequestContext, args as Record<string, unknown>),
  })
  auditFeed(
    @Root() frame: Frame<AuditRow>,
    @Arg('after', () => BigIntScalar, { nullable: true, description: '"0" is the beginning; absent is the head.' })
    _after: string | undefined,
    @Arg('filter', () => AuditEntryFilter, { nullable: true }) _filter: AuditEntryFilter | undefined,
    @Arg('batch', () => Int, { defaultValue: 100, description: 'Most entries of one frame, at most 1,000.' })
    _batch: number,
  ): object {
    return auditFrameOf(frame);
  }
}

/** What the audit log says about a signal. */
@Resolver(() => Signal)
export class SignalAuditEntriesResolver {
  @FieldResolver(() => AuditEntryConnection, { description: 'Audit entries about this signal, oldest first.' })
  auditEntries(
    @Root() signal: SignalRow,
    @Args(() => ForwardPageArgs) page: ForwardPageArgs,
    @Ctx() context: RequestContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<Connection> {
    return readNeighbours(context, 'signalId', signal.signalId, page, info);
  }
}

/** Entries that share something with what the caller already sees, for those who may read the whole log. */
async function readNeighbours(
  context: RequestContext,
  by: NeighbourRequest['by'],
  value: string | null,
  page: ForwardPageArgs,
  info: GraphQLResolveInfo,
): Promise<Connection> {
  requireRole(context.calls, auditReaders);
  if (value === null) return connectionOf('audit', emptyPage);
  const request = { ...page, by, value, properties: auditProperties(info) };
  return connectionOf('audit', await context.loaders.neighbours.read(request));
}

/** Bounds that the filter's outermost conditions set, inclusive; what they do not set is null. */
function rangeOf(filter: AuditEntryFilter | null | undefined): ArchivedRange {
  const { chainIndex, recordedAt } = filter ?? {};
  return {
    fromIndex: chainIndex?.eq ?? chainIndex?.gte ?? chainIndex?.gt ?? null,
    toIndex: chainIndex?.eq ?? chainIndex?.lte ?? chainIndex?.lt ?? null,
    from: recordedAt?.eq ?? recordedAt?.gte ?? recordedAt?.gt ?? null,
    to: recordedAt?.eq ?? recordedAt?.lte ?? recordedAt?.lt ?? null,
  };
}

/** Row properties behind the selected fields of entries. */
function auditProperties(info: GraphQLResolveInfo): ReadonlySet<string> {
  const names = selectedNodeFields(info);
  return new Set([
    ...names,
    ...(names.has('entriesOfRequest') ? ['requestId'] : []),
    ...(names.has('entriesOfSession') ? ['sessionId'] : []),
  ]);
}
