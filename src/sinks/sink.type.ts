import { Field, Float, InputType, Int, ObjectType, registerEnumType } from 'type-graphql';
import { BigIntScalar, DateTimeScalar } from '../graphql/scalars.js';

const SinkKindEnum = {
  JSONL: 'jsonl',
  ECS: 'ecs',
  SYSLOG: 'syslog',
  ELASTICSEARCH: 'elasticsearch',
  WEBHOOK: 'webhook',
} as const;
registerEnumType(SinkKindEnum, {
  name: 'SinkKind',
  valuesConfig: {
    JSONL: { description: 'Files by day, one entry a line.' },
    ECS: { description: 'Files by day in fields of the Elastic Common Schema.' },
    SYSLOG: { description: 'RFC 5424 over TCP or TLS.' },
    ELASTICSEARCH: { description: 'Bulks to Elasticsearch or OpenSearch.' },
    WEBHOOK: { description: 'Signed batches by HTTP POST.' },
  },
});

@ObjectType({ simpleResolvers: true, description: 'Where the audit log is delivered to, and how far.' })
export class Sink {
  @Field(() => String) name!: string;
  @Field(() => SinkKindEnum) kind!: string;
  @Field(() => String, { description: 'Folder or address, without secrets.' }) target!: string;
  @Field(() => Boolean, { description: 'Whether the node that answers is configured for it.' }) configured!: boolean;
  @Field(() => BigIntScalar, { description: 'Index of the next entry: all before it are acknowledged.' })
  position!: string;

  @Field(() => BigIntScalar, { description: 'Number of entries in the audit log.' }) head!: string;
  @Field(() => BigIntScalar, { description: 'Entries that are not acknowledged yet.' }) lagEntries!: string;
  @Field(() => Float, { description: 'Since the oldest of them was recorded; 0 where there is none.' })
  lagSeconds!: number;

  @Field(() => BigIntScalar, { description: 'Entries acknowledged so far, those of replays included.' })
  delivered!: string;

  @Field(() => Int, { description: 'How often it was moved back.' }) replays!: number;
  @Field(() => Int, { description: 'Failures in a row; 0 while it delivers.' }) failures!: number;
  @Field(() => String, { nullable: true }) lastError!: string | null;
  @Field(() => DateTimeScalar, { nullable: true, description: 'When the next try after a failure is due.' })
  nextAttemptAt!: string | null;

  @Field(() => DateTimeScalar) updatedAt!: string;
}

@InputType()
export class ReplaySinkInput {
  @Field(() => String) name!: string;
  @Field(() => BigIntScalar, { description: 'Index of the first entry to deliver again.' }) from!: string;
  @Field(() => String, { nullable: true, description: 'Why, at most 1,000 characters; goes on the record.' })
  reason?: string;
}

@ObjectType({ simpleResolvers: true })
export class ReplaySinkPayload {
  @Field(() => [Sink], { description: 'One, or one for each folder where nodes keep files of their own.' })
  sinks!: Sink[];
}
