import { Field, ObjectType } from 'type-graphql';
import { BigIntScalar } from '../graphql/scalars.js';

@ObjectType({ simpleResolvers: true, description: 'How many entries have one value.' })
export class AuditCount {
  @Field(() => String, { nullable: true, description: 'Null where the value is absent.' }) key!: string | null;
  @Field(() => BigIntScalar) count!: string;
}

@ObjectType({ simpleResolvers: true, description: 'Totals over audit entries, all counted at one moment.' })
export class AuditStats {
  @Field(() => BigIntScalar) totalEntries!: string;
  @Field(() => [AuditCount], { description: 'Most entries first, as in all these lists but byDay.' })
  byAction!: AuditCount[];

  @Field(() => [AuditCount], { description: 'At most 1,000.' }) byActor!: AuditCount[];
  @Field(() => [AuditCount]) byCategory!: AuditCount[];
  @Field(() => [AuditCount]) byOutcome!: AuditCount[];
  @Field(() => [AuditCount], { description: 'By UTC day of recording, ascending.' }) byDay!: AuditCount[];
  @Field(() => [AuditCount], { description: 'The ten with most entries; entries without a resource are left out.' })
  topResources!: AuditCount[];
  @Field(() => BigIntScalar, { description: "Of the entries' bodies." }) bytes!: string;
  @Field(() => BigIntScalar, {
    nullable: true,
    description: 'Index of the last entry of the log when it was counted; null for an empty log.',
  })
  asOfIndex!: string | null;
}
