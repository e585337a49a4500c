import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql';
import { connectionType } from '../graphql/connection.js';
import { BigIntScalar, DateTimeScalar, HashScalar } from '../graphql/scalars.js';

const AuditArchiveState = { ONLINE: 'ONLINE', ARCHIVED: 'ARCHIVED', RESTORED: 'RESTORED', REMOVED: 'REMOVED' } as const;
registerEnumType(AuditArchiveState, {
  name: 'AuditArchiveState',
  valuesConfig: {
    ONLINE: { description: 'Its entries are still in the log.' },
    ARCHIVED: { description: 'Its entries are in the archive alone, and the tree holds their hashes.' },
    RESTORED: { description: 'Copies of its entries were brought back to be read.' },
    REMOVED: { description: 'It was given up when its time was over.' },
  },
});

@ObjectType({ simpleResolvers: true, description: 'A range of the audit log that is kept outside the database.' })
export class AuditArchive {
  @Field(() => ID) number!: string;
  @Field(() => AuditArchiveState) state!: string;
  @Field(() => BigIntScalar) firstIndex!: string;
  @Field(() => BigIntScalar) lastIndex!: string;
  @Field(() => DateTimeScalar) firstRecordedAt!: string;
  @Field(() => DateTimeScalar) lastRecordedAt!: string;
  @Field(() => Boolean, { description: 'Entries about signals are among its own: it is kept as long as signals.' })
  holdsSignals!: boolean;

  @Field(() => String, { description: 'Where it lies in the object store.' }) objectKey!: string;
  @Field(() => BigIntScalar, { description: 'Of the object.' }) bytes!: string;
  @Field(() => HashScalar, { description: 'SHA-256 of the object.' }) objectHash!: string;
  @Field(() => HashScalar, { description: 'chain_hash of the entry before its first.' }) previousHash!: string;
  @Field(() => HashScalar, { description: 'chain_hash of its last entry.' }) chainHash!: string;
  @Field(() => DateTimeScalar) createdAt!: string;
  @Field(() => DateTimeScalar, { description: 'It is not given up before; a legal hold keeps it longer.' })
  keptUntil!: string;
}

export const AuditArchiveConnection = connectionType('AuditArchive', AuditArchive);

const LegalHoldState = { ACTIVE: 'ACTIVE', RELEASE_REQUESTED: 'RELEASE_REQUESTED', RELEASED: 'RELEASED' } as const;
registerEnumType(LegalHoldState, {
  name: 'LegalHoldState',
  valuesConfig: {
    ACTIVE: { description: 'It holds.' },
    RELEASE_REQUESTED: { description: 'It still holds: one of the two who release it has asked for it.' },
    RELEASED: { description: 'It holds no more.' },
  },
});

@ObjectType({
  simpleResolvers: true,
  description: 'What must not be removed: audit entries that have all the properties named, all of them where none is.',
})
export class LegalHold {
  @Field(() => ID) id!: string;
  @Field(() => LegalHoldState) state!: string;
  @Field(() => String) reason!: string;
  @Field(() => ID, { nullable: true }) signalId!: string | null;
  @Field(() => String, { nullable: true }) actor!: string | null;
  @Field(() => String, { nullable: true }) resourcePrefix!: string | null;
  @Field(() => DateTimeScalar, { nullable: true }) recordedFrom!: string | null;
  @Field(() => DateTimeScalar, { nullable: true, description: 'Exclusive.' }) recordedTo!: string | null;
  @Field(() => DateTimeScalar) placedAt!: string;
  @Field(() => String) placedBy!: string;
  @Field(() => DateTimeScalar, { nullable: true }) releaseRequestedAt!: string | null;
  @Field(() => String, { nullable: true }) releaseRequestedBy!: string | null;
  @Field(() => String, { nullable: true }) releaseReason!: string | null;
  @Field(() => DateTimeScalar, { nullable: true }) releasedAt!: string | null;
  @Field(() => String, { nullable: true }) releasedBy!: string | null;
}

export const LegalHoldConnection = connectionType('LegalHold', LegalHold);

@InputType()
export class PlaceLegalHoldInput {
  @Field(() => String, { description: '10 to 1,000 characters; goes on the record.' }) reason!: string;
  @Field(() => ID, { nullable: true }) signalId?: string;
  @Field(() => String, { nullable: true }) actor?: string;
  @Field(() => String, { nullable: true, description: 'Entries whose resource begins with it.' })
  resourcePrefix?: string;

  @Field(() => DateTimeScalar, { nullable: true }) recordedFrom?: string;
  @Field(() => DateTimeScalar, { nullable: true, description: 'Exclusive.' }) recordedTo?: string;
}

@InputType()
export class ReleaseLegalHoldInput {
  @Field(() => ID) id!: string;
  @Field(() => String, { description: '10 to 1,000 characters; goes on the record.' }) reason!: string;
}

@ObjectType({ simpleResolvers: true })
export class LegalHoldPayload {
  @Field(() => LegalHold) hold!: LegalHold;
}

@InputType()
export class RestoreArchivesInput {
  @Field(() => BigIntScalar, { description: 'Index of the first entry that is wanted back.' }) firstIndex!: string;
  @Field(() => BigIntScalar, { description: 'Index of the last one.' }) lastIndex!: string;
  @Field(() => String, { description: '10 to 1,000 characters; goes on the record.' }) reason!: string;
}

@ObjectType({ simpleResolvers: true })
export class RestoreArchivesPayload {
  @Field(() => [AuditArchive]) archives!: AuditArchive[];
}

/** What a list of audit entries covers, by indexes and recording times; inclusive, null for no bound. */
export interface ArchivedRange {
  readonly fromIndex: string | null;
  readonly toIndex: string | null;
  readonly from: string | null;
  readonly to: string | null;
}

@ObjectType({ simpleResolvers: true, description: 'Entries of the audit log that are in archives alone.' })
export class ArchivedEntries {
  @Field(() => BigIntScalar) firstIndex!: string;
  @Field(() => BigIntScalar) lastIndex!: string;
  @Field(() => DateTimeScalar) firstRecordedAt!: string;
  @Field(() => DateTimeScalar) lastRecordedAt!: string;
  @Field(() => Int) archives!: number;
  @Field(() => Int, { description: 'Those of them whose entries restoredAuditEntries shows.' }) restored!: number;
  @Field(() => String, { description: 'How to get at them.' }) hint!: string;
}
