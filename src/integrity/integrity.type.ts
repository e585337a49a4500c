import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql';
import { connectionType } from '../graphql/connection.js';
import { BigIntScalar, DateTimeScalar, DecimalScalar, JSONObjectScalar } from '../graphql/scalars.js';

export const IntegrityCheckKind = { SAMPLE: 'SAMPLE', RECENT: 'RECENT', FULL: 'FULL' } as const;
registerEnumType(IntegrityCheckKind, {
  name: 'IntegrityCheckKind',
  description:
    'What a check of the ledger covers. Each kind compares the catalogue of the database with its baseline too.',
  valuesConfig: {
    SAMPLE: { description: 'Entries drawn at random from both logs, and what was recorded in the last minutes.' },
    RECENT: { description: 'What was recorded in the last minutes.' },
    FULL: { description: 'Every entry, the trees, checkpoints and anchors, and each refused modification.' },
  },
});

const IntegrityCheckResult = { OK: 'OK', FAILED: 'FAILED', ERROR: 'ERROR' } as const;
registerEnumType(IntegrityCheckResult, {
  name: 'IntegrityCheckResult',
  valuesConfig: {
    OK: { description: 'Nothing contradicts.' },
    FAILED: { description: 'Something contradicts.' },
    ERROR: { description: 'The check could not run to its end.' },
  },
});

const IntegrityArea = { SIGNALS: 'signals', AUDIT: 'audit', CATALOGUE: 'catalogue' } as const;
registerEnumType(IntegrityArea, {
  name: 'IntegrityArea',
  description: "One of the logs, or the database's own catalogue of triggers, functions, tables and roles.",
});

const IncidentKind = {
  INTEGRITY: 'INTEGRITY',
  SIGNER: 'SIGNER',
  ANCHOR: 'ANCHOR',
  OPERATOR: 'OPERATOR',
} as const;
registerEnumType(IncidentKind, {
  name: 'IncidentKind',
  valuesConfig: {
    INTEGRITY: { description: 'A check found contradictions.' },
    SIGNER: { description: 'The signer refused to sign.' },
    ANCHOR: { description: "A day's root could not be anchored in time, or its anchor contradicts it." },
    OPERATOR: { description: 'Somebody reported it.' },
  },
});

const IncidentStatus = { OPEN: 'OPEN', ACKNOWLEDGED: 'ACKNOWLEDGED', CLOSED: 'CLOSED' } as const;
registerEnumType(IncidentStatus, { name: 'IncidentStatus' });

@ObjectType({ simpleResolvers: true, description: 'Which entries of a log a check looked at.' })
export class IntegrityRange {
  @Field(() => IntegrityArea) area!: string;
  @Field(() => BigIntScalar) first!: string;
  @Field(() => BigIntScalar) last!: string;
  @Field(() => BigIntScalar, { description: 'How many entries from first to last were verified.' }) checked!: string;
}

@ObjectType({ simpleResolvers: true, description: 'One contradiction.' })
export class IntegrityBreak {
  @Field(() => IntegrityArea) area!: string;
  @Field(() => String, { description: 'One of the codes in docs/format.md.' }) code!: string;
  @Field(() => BigIntScalar, { nullable: true, description: 'The entry it shows at; null where it concerns none.' })
  index!: string | null;

  @Field(() => String, { description: 'What was expected and what is there.' }) message!: string;
}

@ObjectType({ simpleResolvers: true, description: 'One run of the integrity monitor.' })
export class IntegrityCheck {
  @Field(() => ID) id!: string;
  @Field(() => IntegrityCheckKind) kind!: string;
  @Field(() => String) requestedBy!: string;
  @Field(() => DateTimeScalar) startedAt!: string;
  @Field(() => DateTimeScalar) endedAt!: string;
  @Field(() => DecimalScalar) durationMs!: string;
  @Field(() => [IntegrityRange]) ranges!: IntegrityRange[];
  @Field(() => BigIntScalar) entriesChecked!: string;
  @Field(() => IntegrityCheckResult) result!: string;
  @Field(() => BigIntScalar, { description: 'How many contradictions it found in all.' }) failedVerifications!: string;
  @Field(() => [IntegrityBreak], { description: 'The first 20 of each area.' }) breaks!: IntegrityBreak[];
  @Field(() => String, { nullable: true, description: 'Why it could not run to its end: a code, then a message.' })
  error!: string | null;
}

@ObjectType({ simpleResolvers: true, description: 'Something that a person has to look at.' })
export class Incident {
  @Field(() => ID) id!: string;
  @Field(() => IncidentKind) kind!: string;
  @Field(() => String) title!: string;
  @Field(() => JSONObjectScalar) details!: string;
  @Field(() => DateTimeScalar) openedAt!: string;
  @Field(() => String) openedBy!: string;
  @Field(() => BigIntScalar, { description: 'How often the fault was seen since the incident was opened.' })
  occurrences!: string;

  @Field(() => DateTimeScalar) lastSeenAt!: string;
  @Field(() => IncidentStatus) status!: string;
  @Field(() => DateTimeScalar, { nullable: true }) acknowledgedAt!: string | null;
  @Field(() => String, { nullable: true }) acknowledgedBy!: string | null;
  @Field(() => String, { nullable: true }) acknowledgementNote!: string | null;
  @Field(() => DateTimeScalar, { nullable: true }) closedAt!: string | null;
  @Field(() => String, { nullable: true }) closedBy!: string | null;
  @Field(() => String, { nullable: true }) closingNote!: string | null;
}

export const IntegrityCheckConnection = connectionType('IntegrityCheck', IntegrityCheck);
export const IncidentConnection = connectionType('Incident', Incident);

@InputType()
export class RunIntegrityCheckInput {
  @Field(() => IntegrityCheckKind, { defaultValue: IntegrityCheckKind.SAMPLE })
  kind!: (typeof IntegrityCheckKind)[keyof typeof IntegrityCheckKind];

  @Field(() => Int, { nullable: true, description: 'Entries that a SAMPLE draws: 1 to 100,000, 1,000 when absent.' })
  sampleSize?: number;
}

@ObjectType({ simpleResolvers: true })
export class RunIntegrityCheckPayload {
  @Field(() => IntegrityCheck) check!: IntegrityCheck;
}

@InputType()
export class OpenIncidentInput {
  @Field(() => String, { description: '1 to 500 characters.' }) title!: string;
  @Field(() => String, { nullable: true, description: '1 to 2,000 characters.' }) note?: string;
}

@InputType()
export class AcknowledgeIncidentInput {
  @Field(() => ID) id!: string;
  @Field(() => String, { description: 'Who looks after it and how: 1 to 2,000 characters.' }) note!: string;
}

@InputType()
export class CloseIncidentInput {
  @Field(() => ID) id!: string;
  @Field(() => String, { description: 'What it was and what was done: 1 to 2,000 characters.' }) note!: string;
}

@ObjectType({ simpleResolvers: true })
export class IncidentPayload {
  @Field(() => Incident) incident!: Incident;
}
