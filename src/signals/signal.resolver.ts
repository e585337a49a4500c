import {
  Arg,
  Args,
  Ctx,
  FieldResolver,
  ID,
  Info,
  Int,
  Mutation,
  Query,
  Resolver,
  Root,
  Subscription,
} from 'type-graphql';
import type { GraphQLResolveInfo } from 'graphql';
import { anyRole, Audited } from '../access/audited.js';
import { Role } from '../access/principal.js';
import { connectionOf, PageArgs, type Connection } from '../graphql/connection.js';
import type { RequestContext } from '../access/request-context.js';
import { BigIntScalar } from '../graphql/scalars.js';
import { selectedNodeFields } from '../graphql/selection.js';
import type { Frame } from '../ledger/feed.js';
import { parseFilter } from '../ledger/filter.js';
import { readPage, signalFilterFields } from '../ledger/read-entries.js';
import type { SignalRow } from '../ledger/rows.js';
import { createSignals } from './create-signals.js';
import { signalFrameOf, signalFrames } from './signal-frames.js';
import {
  CreateSignalInput,
  CreateSignalPayload,
  CreateSignalsInput,
  CreateSignalsPayload,
  Signal,
  SignalConnection,
  SignalFilter,
  SignalFrame,
  SignalOrder,
} from './signal.type.js';

@Resolver(() => Signal)
export class SignalResolver {
  @Query(() => Signal, { nullable: true, description: 'One signal by its public id; null when it is not recorded.' })
  @Audited('READ', anyRole)
  signal(@Arg('id', () => ID) id: string, @Ctx() context: RequestContext): Promise<SignalRow | null> {
    return context.loaders.signalById.load(id);
  }

  @Query(() => SignalConnection, { description: 'Signals, oldest first unless said otherwise.' })
  @Audited('READ', anyRole)
  async signals(
    @Arg('filter', () => SignalFilter, { nullable: true }) filter: SignalFilter | undefined,
    @Arg('orderBy', () => SignalOrder, { nullable: true }) orderBy: SignalOrder | undefined,
    @Args(() => PageArgs) page: PageArgs,
    @Ctx() context: RequestContext,
    @Info() info: GraphQLResolveInfo,
  ): Promise<Connection> {
    const found = await readPage(context.services.database, 'signals', {
      ...page,
      condition: filter === undefined || filter === null ? null : parseFilter(filter, signalFilterFields),
      newestFirst: orderBy === SignalOrder.CHAIN_INDEX_DESC,
      properties: signalProperties(selectedNodeFields(info)),
    });
    return connectionOf('signals', found);
  }

  @Mutation(() => CreateSignalPayload, { description: 'Records one signal; answers when it is durable.' })
  @Audited('CREATE', [Role.PRODUCER, Role.ADMIN])
  async createSignal(
    @Arg('input', () => CreateSignalInput) input: CreateSignalInput,
    @Ctx() context: RequestContext,
  ): Promise<{ signal: SignalRow | undefined; replayed: boolean }> {
    const { signals, replayed } = await createSignals(context, [input]);
    return { signal: signals[0], replayed: replayed > 0 };
  }

  @Mutation(() => CreateSignalsPayload, { description: 'Records up to 1,000 signals, all or nothing.' })
  @Audited('CREATE', [Role.PRODUCER, Role.ADMIN])
  createSignals(
    @Arg('input', () => CreateSignalsInput) input: CreateSignalsInput,
    @Ctx() context: RequestContext,
  ): Promise<{ signals: readonly SignalRow[]; replayed: number }> {
    return createSignals(context, input.signals);
  }

  @Subscription(() => SignalFrame, {
    description: 'Follows the log of signals from a position, gap-free; see docs/subscriptions.md.',
    subscribe: ({ args, context }) => signalFrames(context as RequestContext, args as Record<string, unknown>),
  })
  signalFeed(
    @Root() frame: Frame<SignalRow>,
    @Arg('after', () => BigIntScalar, { nullable: true, description: '"0" is the beginning; absent is the head.' })
    _after: string | undefined,
    @Arg('filter', () => SignalFilter, { nullable: true }) _filter: SignalFilter | undefined,
    @Arg('batch', () => Int, { defaultValue: 100, description: 'Most signals of one frame, at most 1,000.' })
    _batch: number,
  ): object {
    return signalFrameOf(frame);
  }

  @FieldResolver(() => Signal, { nullable: true, description: 'The signal that this one corrects.' })
  supersedes(@Root() signal: SignalRow, @Ctx() context: RequestContext): Promise<SignalRow | null> | null {
    return signal.supersedes === null ? null : context.loaders.signalById.load(signal.supersedes);
  }

  @FieldResolver(() => Signal, { nullable: true, description: 'The signal that corrects this one.' })
  supersededBy(@Root() signal: SignalRow, @Ctx() context: RequestContext): Promise<SignalRow | null> {
    return context.loaders.signalSuperseding.load(signal.signalId);
  }
}

/** Row properties behind the selected fields; those that lead to other signals need the ids they start from. */
function signalProperties(fields: ReadonlySet<string>): ReadonlySet<string> {
  const properties = new Set(fields);
  if (fields.has('id') || fields.has('supersededBy') || fields.has('auditEntries')) properties.add('signalId');
  return properties;
}
