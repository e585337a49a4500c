import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql';
import { BigIntFilter, DateTimeFilter, StringFilter } from '../graphql/filters.js';
import { connectionType } from '../graphql/connection.js';
import { BigIntScalar, DateTimeScalar, DecimalScalar, HashScalar } from '../graphql/scalars.js';

export enum SignalAction {
  BUY = 'BUY',
  SELL = 'SELL',
  HOLD = 'HOLD',
}
registerEnumType(SignalAction, { name: 'SignalAction', description: 'What the signal advises.' });

export enum RationaleOrigin {
  MODEL = 'MODEL',
  TEMPLATE = 'TEMPLATE',
  CALLER = 'CALLER',
}
registerEnumType(RationaleOrigin, {
  name: 'RationaleOrigin',
  description: 'Who worded the rationale.',
  valuesConfig: {
    MODEL: { description: 'A language model, every number of it checked against the signal.' },
    TEMPLATE: { description: "A fixed wording of the signal's own numbers." },
    CALLER: { description: 'The producer.' },
  },
});

export enum SignalOrder {
  CHAIN_INDEX_ASC = 'CHAIN_INDEX_ASC',
  CHAIN_INDEX_DESC = 'CHAIN_INDEX_DESC',
}
registerEnumType(SignalOrder, {
  name: 'SignalOrder',
  description: 'Order of a list of signals. The index is the order of recording.',
});

@ObjectType({ simpleResolvers: true, description: 'A trading signal as PostgreSQL recorded it; it never changes.' })
export class Signal {
  @Field(() => ID, { name: 'id', description: "The signal's public id." }) signalId!: string;
  @Field(() => String) symbol!: string;
  @Field(() => SignalAction) action!: SignalAction;
  @Field(() => DecimalScalar) entryPrice!: string;
  @Field(() => DecimalScalar, { nullable: true }) targetPrice!: string | null;
  @Field(() => DecimalScalar, { nullable: true }) stopLoss!: string | null;
  @Field(() => DecimalScalar, { description: 'From 0 to 1.' }) confidence!: string;
  @Field(() => String, { nullable: true }) strategy!: string | null;
  @Field(() => String, { description: 'Why: at least 20 characters.' }) rationale!: string;
  @Field(() => RationaleOrigin) rationaleOrigin!: RationaleOrigin;
  @Field(() => String, { description: 'Name of the API key, or of the database user, that recorded it.' })
  producer!: string;
  @Field(() => DateTimeScalar, { description: 'When the producer decided.' }) generatedAt!: string;
  @Field(() => DateTimeScalar, { description: 'When the database recorded it.' }) serverTimestamp!: string;
  @Field(() => DecimalScalar, { description: 'Milliseconds from generatedAt to serverTimestamp.' })
  generationLatencyMs!: string;
  @Field(() => DateTimeScalar, { description: 'Seven calendar years after serverTimestamp.' })
  retentionExpiresAt!: string;
  @Field(() => String, { nullable: true }) requestId!: string | null;
  @Field(() => BigIntScalar, { description: 'Gap-free place in the log, from 0.' }) chainIndex!: string;
  @Field(() => HashScalar, { description: 'SHA-256(0x00 ‖ body): the leaf hash.' }) verificationHash!: string;
  @Field(() => HashScalar, { description: "The predecessor's chainHash." }) previousHash!: string;
  @Field(() => HashScalar, { description: 'SHA-256(0x02 ‖ previousHash ‖ verificationHash).' }) chainHash!: string;
  @Field(() => String, { description: 'The exact bytes that were hashed.' }) body!: string;
}

export const SignalConnection = connectionType('Signal', Signal);

@InputType({ description: 'Comparisons on the action; all that are given must hold.' })
export class SignalActionFilter {
  @Field(() => SignalAction, { nullable: true }) eq?: SignalAction;
  @Field(() => SignalAction, { nullable: true }) ne?: SignalAction;
  @Field(() => [SignalAction], { nullable: true }) in?: SignalAction[];
  @Field(() => [SignalAction], { nullable: true }) notIn?: SignalAction[];
}

@InputType({
  description: 'Conditions on signals; all that are given must hold. Up to 100 comparisons, 8 levels deep.',
})
export class SignalFilter {
  @Field(() => [SignalFilter], { nullable: true }) and?: SignalFilter[];
  @Field(() => [SignalFilter], { nullable: true }) or?: SignalFilter[];
  @Field(() => SignalFilter, { nullable: true }) not?: SignalFilter;
  @Field(() => BigIntFilter, { nullable: true }) chainIndex?: BigIntFilter;
  @Field(() => StringFilter, { nullable: true }) id?: StringFilter;
  @Field(() => StringFilter, { nullable: true }) symbol?: StringFilter;
  @Field(() => SignalActionFilter, { nullable: true }) action?: SignalActionFilter;
  @Field(() => StringFilter, { nullable: true }) strategy?: StringFilter;
  @Field(() => StringFilter, { nullable: true }) producer?: StringFilter;
  @Field(() => StringFilter, { nullable: true, description: 'Id of the corrected signal.' }) supersedes?: StringFilter;
  @Field(() => DateTimeFilter, { nullable: true }) serverTimestamp?: DateTimeFilter;
}

@InputType({
  description: 'A signal to record. What is recorded stays: a correction is a new signal that supersedes it.',
})
export class CreateSignalInput {
  @Field(() => ID, {
    nullable: true,
    description: 'Your own public id: letters, digits, . _ : - up to 128; else one is made.',
  })
  signalId?: string;

  @Field(() => String, { description: 'Letters, digits and . _ : / = ^ - up to 64.' }) symbol!: string;
  @Field(() => SignalAction) action!: SignalAction;
  @Field(() => DecimalScalar, { description: 'Above 0.' }) entryPrice!: string;
  @Field(() => DecimalScalar, { nullable: true, description: 'Above 0.' }) targetPrice?: string;
  @Field(() => DecimalScalar, { nullable: true, description: 'Above 0.' }) stopLoss?: string;
  @Field(() => DecimalScalar, { description: 'From 0 to 1.' }) confidence!: string;
  @Field(() => String, { nullable: true, description: 'Up to 200 characters.' }) strategy?: string;
  @Field(() => String, {
    nullable: true,
    description: 'At least 20 characters; without one, the numbers are worded by a template.',
  })
  rationale?: string;

  @Field(() => DateTimeScalar, { nullable: true, description: 'When the producer decided; else the recording time.' })
  generatedAt?: string;

  @Field(() => ID, { nullable: true, description: 'Id of the signal that this one corrects.' }) supersedes?: string;
  @Field(() => String, {
    nullable: true,
    description: 'Up to 200 characters: a retry with the same key returns the first result.',
  })
  idempotencyKey?: string;
}

@ObjectType({ simpleResolvers: true })
export class CreateSignalPayload {
  @Field(() => Signal) signal!: Signal;
  @Field(() => Boolean, { description: 'True when an earlier call with the same idempotencyKey had recorded it.' })
  replayed!: boolean;
}

@InputType()
export class CreateSignalsInput {
  @Field(() => [CreateSignalInput], { description: 'Up to 1,000, all or nothing.' }) signals!: CreateSignalInput[];
}

@ObjectType({ simpleResolvers: true })
export class CreateSignalsPayload {
  @Field(() => [Signal], { description: 'In the order of the input.' }) signals!: Signal[];
  @Field(() => Int, { description: 'How many of them earlier calls had recorded.' }) replayed!: number;
}

@ObjectType({
  simpleResolvers: true,
  description: 'A piece of the signal feed: all positions from `from` up to, not including, `cursor`.',
})
export class SignalFrame {
  @Field(() => [Signal]) signals!: Signal[];
  @Field(() => BigIntScalar, { description: 'The cursor this frame continues; equal to the last one you saw.' })
  from!: string;
  @Field(() => BigIntScalar, { description: 'Resume with `after: cursor`.' }) cursor!: string;
  @Field(() => BigIntScalar, { description: 'Number of entries in the log.' }) head!: string;
}
