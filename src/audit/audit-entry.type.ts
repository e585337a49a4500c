import { Field, ID, InputType, ObjectType, registerEnumType } from 'type-graphql';
import { connectionType } from '../graphql/connection.js';
import { BigIntFilter, DateTimeFilter, JSONSearchFilter, StringFilter } from '../graphql/filters.js';
import { BigIntScalar, DateTimeScalar, HashScalar, JSONObjectScalar } from '../graphql/scalars.js';
import { auditActions, auditCategories, type AuditAction, type AuditCategory } from '../ledger/new-entries.js';

/** GraphQL enums whose values are their own names. */
const AuditCategoryEnum = Object.fromEntries(auditCategories.map((name) => [name, name]));
registerEnumType(AuditCategoryEnum, {
  name: 'AuditCategory',
  description: 'What an audit entry is about.',
});

const AuditActionEnum = Object.fromEntries(auditActions.map((name) => [name, name]));
registerEnumType(AuditActionEnum, { name: 'AuditAction', description: 'What the actor did.' });

export enum AuditEntryOrder {
  OLDEST_FIRST = 'OLDEST_FIRST',
  NEWEST_FIRST = 'NEWEST_FIRST',
}
registerEnumType(AuditEntryOrder, {
  name: 'AuditEntryOrder',
  description: 'Order of a list of audit entries. The index is the order of recording.',
});

@ObjectType({
  simpleResolvers: true,
  description: 'Something that happened, as PostgreSQL recorded it; it never changes.',
})
export class AuditEntry {
  @Field(() => ID) id!: string;
  @Field(() => BigIntScalar, { description: 'Gap-free place in the log, from 0.' }) chainIndex!: string;
  @Field(() => AuditCategoryEnum) category!: AuditCategory;
  @Field(() => String, {
    description: 'What happened, as in OrderAccepted, SignalCreated, ModificationRefused, ApiCall.',
  })
  event!: string;

  @Field(() => AuditActionEnum, { nullable: true }) action!: AuditAction | null;
  @Field(() => String, { nullable: true, description: 'Name of the API key, or of the database user.' }) actor!:
    string | null;
  @Field(() => String, { nullable: true, description: "The actor's role at that time." }) role!: string | null;
  @Field(() => String, { nullable: true, description: 'Operation, path, symbol, file or table it was done to.' })
  resource!: string | null;

  @Field(() => ID, { nullable: true, description: 'The signal it is about.' }) signalId!: string | null;
  @Field(() => String, { description: 'OK or an error code.' }) outcome!: string;
  @Field(() => DateTimeScalar) occurredAt!: string;
  @Field(() => DateTimeScalar) recordedAt!: string;
  @Field(() => String, { nullable: true }) ipAddress!: string | null;
  @Field(() => String, { nullable: true }) userAgent!: string | null;
  @Field(() => String, { nullable: true }) sessionId!: string | null;
  @Field(() => String, { nullable: true }) requestId!: string | null;
  @Field(() => JSONObjectScalar, { description: 'What else is known, secrets redacted.' }) details!: string;
  @Field(() => JSONObjectScalar, { nullable: true, description: 'The row before a refused modification.' }) oldData!:
    string | null;
  @Field(() => JSONObjectScalar, { nullable: true, description: 'The row a refused modification would have left.' })
  newData!: string | null;

  @Field(() => HashScalar, { description: 'SHA-256(0x00 ‖ body): the leaf hash.' }) verificationHash!: string;
  @Field(() => HashScalar, { description: "The predecessor's chainHash." }) previousHash!: string;
  @Field(() => HashScalar, { description: 'SHA-256(0x02 ‖ previousHash ‖ verificationHash).' }) chainHash!: string;
  @Field(() => String, { description: 'The exact bytes that were hashed.' }) body!: string;
}

export const AuditEntryConnection = connectionType('AuditEntry', AuditEntry);

@InputType({ description: 'Comparisons on the category; all that are given must hold.' })
export class AuditCategoryFilter {
  @Field(() => AuditCategoryEnum, { nullable: true }) eq?: AuditCategory;
  @Field(() => AuditCategoryEnum, { nullable: true }) ne?: AuditCategory;
  @Field(() => [AuditCategoryEnum], { nullable: true }) in?: AuditCategory[];
  @Field(() => [AuditCategoryEnum], { nullable: true }) notIn?: AuditCategory[];
}

@InputType({ description: 'Comparisons on the action; all that are given must hold.' })
export class AuditActionFilter {
  @Field(() => AuditActionEnum, { nullable: true }) eq?: AuditAction;
  @Field(() => AuditActionEnum, { nullable: true, description: 'Also true where there is none.' }) ne?: AuditAction;
  @Field(() => [AuditActionEnum], { nullable: true }) in?: AuditAction[];
  @Field(() => [AuditActionEnum], { nullable: true, description: 'Also true where there is none.' })
  notIn?: AuditAction[];
  @Field(() => Boolean, { nullable: true }) isNull?: boolean;
}

@InputType({
  description: 'Conditions on audit entries; all that are given must hold. Up to 100 comparisons, 8 levels deep.',
})
export class AuditEntryFilter {
  @Field(() => [AuditEntryFilter], { nullable: true }) and?: AuditEntryFilter[];
  @Field(() => [AuditEntryFilter], { nullable: true }) or?: AuditEntryFilter[];
  @Field(() => AuditEntryFilter, { nullable: true }) not?: AuditEntryFilter;
  @Field(() => BigIntFilter, { nullable: true }) chainIndex?: BigIntFilter;
  @Field(() => StringFilter, { nullable: true }) id?: StringFilter;
  @Field(() => AuditCategoryFilter, { nullable: true }) category?: AuditCategoryFilter;
  @Field(() => StringFilter, { nullable: true }) event?: StringFilter;
  @Field(() => AuditActionFilter, { nullable: true }) action?: AuditActionFilter;
  @Field(() => StringFilter, { nullable: true }) actor?: StringFilter;
  @Field(() => StringFilter, { nullable: true }) role?: StringFilter;
  @Field(() => StringFilter, { nullable: true, description: 'OK or an error code.' }) outcome?: StringFilter;
  @Field(() => StringFilter, { nullable: true }) ipAddress?: StringFilter;
  @Field(() => StringFilter, { nullable: true }) resource?: StringFilter;
  @Field(() => StringFilter, { nullable: true }) signalId?: StringFilter;
  @Field(() => StringFilter, { nullable: true }) requestId?: StringFilter;
  @Field(() => StringFilter, { nullable: true }) sessionId?: StringFilter;
  @Field(() => DateTimeFilter, { nullable: true, description: 'When it happened, by whoever reported it.' })
  occurredAt?: DateTimeFilter;

  @Field(() => DateTimeFilter, { nullable: true, description: 'When PostgreSQL recorded it; rises along the log.' })
  recordedAt?: DateTimeFilter;

  @Field(() => JSONSearchFilter, { nullable: true, description: 'Search in the details.' }) text?: JSONSearchFilter;
}

@ObjectType({
  simpleResolvers: true,
  description: 'A piece of the audit feed: all positions from `from` up to, not including, `cursor`.',
})
export class AuditFrame {
  @Field(() => [AuditEntry]) entries!: AuditEntry[];
  @Field(() => BigIntScalar, { description: 'The cursor this frame continues; equal to the last one you saw.' })
  from!: string;
  @Field(() => BigIntScalar, { description: 'Resume with `after: cursor`.' }) cursor!: string;
  @Field(() => BigIntScalar, { description: 'Number of entries in the log.' }) head!: string;
}
