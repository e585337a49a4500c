import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql';
import { connectionType } from '../graphql/connection.js';
import { BigIntScalar, DateScalar, DateTimeScalar, HashScalar } from '../graphql/scalars.js';

const ExportPackKind = { DAY: 'DAY', PARTIAL: 'PARTIAL' } as const;
registerEnumType(ExportPackKind, {
  name: 'ExportPackKind',
  valuesConfig: {
    DAY: { description: 'All of a day (UTC) that has ended; made once.' },
    PARTIAL: { description: 'What there was of a day that had not ended.' },
  },
});

@ObjectType({ simpleResolvers: true, description: 'An evidence pack: what was recorded on a day, with its proofs.' })
export class ExportPack {
  @Field(() => ID) id!: string;
  @Field(() => DateScalar) date!: string;
  @Field(() => ExportPackKind) kind!: string;
  @Field(() => DateTimeScalar) createdAt!: string;
  @Field(() => String, { description: 'Who asked for it, or the service.' }) createdBy!: string;
  @Field(() => HashScalar, { description: 'SHA-256 of manifest.json.' }) manifestSha256!: string;
  @Field(() => Int, { description: 'Number of files beside the manifest.' }) files!: number;
  @Field(() => BigIntScalar, { description: 'Bytes of those files.' }) bytes!: string;
  @Field(() => BigIntScalar) signals!: string;
  @Field(() => BigIntScalar) auditEntries!: string;
}

export const ExportPackConnection = connectionType('ExportPack', ExportPack);

@InputType()
export class CreateExportPackInput {
  @Field(() => DateScalar, { description: 'The day (UTC), as in 2026-11-20.' }) date!: string;
  @Field(() => Boolean, {
    defaultValue: false,
    description: 'For a day that has not ended: packs what there is so far. Without it such a day is refused.',
  })
  partial!: boolean;
}

@ObjectType({ simpleResolvers: true })
export class CreateExportPackPayload {
  @Field(() => ExportPack) pack!: ExportPack;
}
