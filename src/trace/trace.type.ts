import { Field, ID, Int, ObjectType, registerEnumType } from 'type-graphql';
import { AuditEntry } from '../audit/audit-entry.type.js';
import { ConfigSnapshot } from '../config-snapshots/config-snapshot.type.js';
import { BigIntScalar, DateScalar, DecimalScalar } from '../graphql/scalars.js';
import { Signal } from '../signals/signal.type.js';
import { executionStatuses } from './classify-signal.js';

registerEnumType(executionStatuses, {
  name: 'ExecutionStatus',
  description: 'What became of a signal, as far as the log tells.',
  valuesConfig: {
    EXECUTED: { description: 'Every order of it was filled to the end.' },
    PARTIALLY_EXECUTED: { description: 'Something was filled, and not all that was accepted.' },
    REJECTED: { description: 'Nothing was filled, and its orders were rejected.' },
    PENDING: { description: 'An order is open, or one may still come.' },
    NOT_EXECUTED: { description: 'A HOLD, or no order was recorded in time.' },
    SUPERSEDED: { description: 'Another signal took its place before an order was recorded.' },
    ARCHIVED: { description: 'Entries that may tell of it are in archives alone: restoreArchives brings them back.' },
  },
});

const TraceJoin = { SIGNAL_ID: 'SIGNAL_ID', ORDER_ID: 'ORDER_ID', DEAL_ID: 'DEAL_ID' } as const;
registerEnumType(TraceJoin, {
  name: 'TraceJoin',
  description: 'Which id joins an event to a signal.',
  valuesConfig: {
    SIGNAL_ID: { description: 'It names the signal.' },
    ORDER_ID: { description: 'It names no signal and shares its order id with an event of the signal.' },
    DEAL_ID: { description: 'It names no signal and shares its deal id with an event of the signal.' },
  },
});

const TracedOrderStatus = {
  OPEN: 'OPEN',
  PARTIALLY_FILLED: 'PARTIALLY_FILLED',
  FILLED: 'FILLED',
  REJECTED: 'REJECTED',
} as const;
registerEnumType(TracedOrderStatus, { name: 'TracedOrderStatus' });

@ObjectType({ simpleResolvers: true, description: 'An event of a trace.' })
export class TracedEvent {
  @Field(() => AuditEntry) entry!: AuditEntry;
  @Field(() => TraceJoin) joinedBy!: string;
  @Field(() => String, { nullable: true }) orderId!: string | null;
  @Field(() => String, { nullable: true }) dealId!: string | null;
}

@ObjectType({ simpleResolvers: true, description: 'What became of one order.' })
export class TracedOrder {
  @Field(() => String) orderId!: string;
  @Field(() => TracedOrderStatus) status!: string;
  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'As last accepted; null where no acceptance is recorded.',
  })
  quantity!: string | null;

  @Field(() => DecimalScalar) filledQuantity!: string;
  @Field(() => String, { nullable: true, description: 'Why it was rejected.' }) message!: string | null;
}

@ObjectType({ simpleResolvers: true, description: 'Entries of the audit log that could not be looked at.' })
class TraceGap {
  @Field(() => BigIntScalar) firstIndex!: string;
  @Field(() => BigIntScalar) lastIndex!: string;
}

@ObjectType({
  simpleResolvers: true,
  description: 'A signal and what became of it; docs/trace.md says how it is joined.',
})
export class SignalTrace {
  @Field(() => Signal) signal!: Signal;
  @Field(() => executionStatuses) status!: string;
  @Field(() => String, { description: 'Why, derived from the record.' }) reason!: string;
  @Field(() => ID, { nullable: true, description: 'The signal that corrects this one.' }) supersededBy!: string | null;
  @Field(() => DecimalScalar, { description: 'Sum over the accepted orders.' }) orderedQuantity!: string;
  @Field(() => DecimalScalar, { description: 'Sum over the fills.' }) filledQuantity!: string;
  @Field(() => DecimalScalar, { description: 'Sum of quantity · price over the fills.' }) filledNotional!: string;
  @Field(() => [TracedOrder]) orders!: TracedOrder[];
  @Field(() => [TracedEvent], { description: 'All joined events, in the order of the log.' }) events!: TracedEvent[];
  @Field(() => ConfigSnapshot, {
    nullable: true,
    description: 'The newest snapshot of the configuration when the signal was recorded.',
  })
  config!: ConfigSnapshot | null;

  @Field(() => BigIntScalar, { nullable: true, description: 'The audit log was looked at up to this index.' })
  asOfIndex!: string | null;

  @Field(() => TraceGap, {
    nullable: true,
    description: 'What of the log is in archives alone and may tell of the signal; null where all was looked at.',
  })
  archived!: TraceGap | null;

  @Field(() => Boolean, {
    description: 'False where there are more than 1,000 events, the first of which are shown, or entries are archived.',
  })
  complete!: boolean;
}

@ObjectType({ simpleResolvers: true, description: 'What became of the signals of one strategy recorded on one day.' })
export class ExecutionRate {
  @Field(() => DateScalar) date!: string;
  @Field(() => String, { nullable: true }) strategy!: string | null;
  @Field(() => Int) signals!: number;
  @Field(() => Int, { description: 'HOLDs, which nothing had to follow.' }) holds!: number;
  @Field(() => Int) executed!: number;
  @Field(() => Int) partiallyExecuted!: number;
  @Field(() => Int) rejected!: number;
  @Field(() => Int) pending!: number;
  @Field(() => Int, { description: 'Without the HOLDs.' }) notExecuted!: number;
  @Field(() => Int) superseded!: number;
  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'executed / (signals − holds − superseded), cut to six digits; null where that is 0 / 0.',
  })
  executionRate!: string | null;
}
