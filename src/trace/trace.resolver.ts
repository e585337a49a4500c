import { Arg, Ctx, FieldResolver, ID, Query, Resolver, Root } from 'type-graphql';
import { Audited, auditReaders } from '../access/audited.js';
import type { RequestContext } from '../access/request-context.js';
import { DateScalar } from '../graphql/scalars.js';
import type { ExecutionRateRow } from './execution-rates.js';
import type { SignalTraceRow, TracedEntry } from './signal-tracer.js';
import { ExecutionRate, SignalTrace, TracedEvent } from './trace.type.js';

@Resolver(() => SignalTrace)
export class TraceResolver {
  @Query(() => SignalTrace, {
    description: 'A signal with its orders, fills, alerts and configuration, and where it was not executed, why.',
  })
  @Audited('READ', auditReaders)
  signalTrace(@Arg('signalId', () => ID) signalId: string, @Ctx() context: RequestContext): Promise<SignalTraceRow> {
    return context.services.trace.trace(signalId);
  }

  @Query(() => [ExecutionRate], {
    description: 'What became of the signals of each day (UTC) and strategy, at most 366 days and 100,000 signals.',
  })
  @Audited('READ', auditReaders)
  executionRates(
    @Arg('from', () => DateScalar) from: string,
    @Arg('to', () => DateScalar, { description: 'The last day, included.' }) to: string,
    @Arg('strategy', () => String, { nullable: true, description: 'Only this one; absent: all.' })
    strategy: string | undefined,
    @Ctx() context: RequestContext,
  ): Promise<ExecutionRateRow[]> {
    return context.services.trace.rates(from, to, strategy ?? null);
  }

  @FieldResolver(() => [TracedEvent], { description: 'PartiallyFilled and Filled.' })
  fills(@Root() trace: SignalTraceRow): TracedEntry[] {
    return trace.events.filter(({ entry }) => entry.category === 'FILL');
  }

  @FieldResolver(() => [TracedEvent], { description: 'Rejected.' })
  rejections(@Root() trace: SignalTraceRow): TracedEntry[] {
    return trace.events.filter(({ entry }) => entry.event === 'Rejected');
  }

  @FieldResolver(() => [TracedEvent], { description: 'AlertSent.' })
  alerts(@Root() trace: SignalTraceRow): TracedEntry[] {
    return trace.events.filter(({ entry }) => entry.category === 'ALERT');
  }
}
