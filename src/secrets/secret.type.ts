import { Field, Float, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql';
import { rotationStatuses, secretTypes } from '../core/rotation.js';
import { Sensitive } from '../access/sensitive.js';
import { connectionType } from '../graphql/connection.js';
import { DateTimeScalar, JSONObjectScalar } from '../graphql/scalars.js';

const SecretTypeEnum = Object.fromEntries(secretTypes.map((type) => [type, type]));
registerEnumType(SecretTypeEnum, { name: 'SecretType', description: 'Kinds of secrets that rotate.' });
const RotationStatusEnum = Object.fromEntries(rotationStatuses.map((status) => [status, status]));
registerEnumType(RotationStatusEnum, {
  name: 'RotationStatus',
  valuesConfig: {
    UNKNOWN: { description: 'An effect outside may or may not have come about: the target is being asked.' },
    ROTATED: { description: 'The new value is current, the one before is valid until the end of its grace period.' },
    REVOKED: { description: 'The value before is not valid any more: done.' },
    HELD: { description: 'Somebody has to look, or the value before is still in use.' },
  },
});
const ScheduleStatusEnum = { ACTIVE: 'ACTIVE', DUE: 'DUE', OVERDUE: 'OVERDUE', ROTATING: 'ROTATING', HELD: 'HELD' };
registerEnumType(ScheduleStatusEnum, { name: 'RotationScheduleStatus' });
export { SecretTypeEnum };

@ObjectType({ simpleResolvers: true, description: 'When a secret was rotated and when it is next.' })
export class RotationScheduleEntry {
  @Field(() => SecretTypeEnum) secretType!: string;
  @Field(() => String) secretName!: string;
  @Field(() => DateTimeScalar) lastRotated!: string;
  @Field(() => DateTimeScalar) nextRotation!: string;
  @Field(() => Int, { description: 'Whole days that are left, rounded down; negative when it is overdue.' })
  daysUntilRotation!: number;

  @Field(() => ScheduleStatusEnum) status!: string;
  @Field(() => Boolean, { description: 'Whether old and new value are valid at once.' }) zeroDowntime!: boolean;
  @Field(() => DateTimeScalar, {
    nullable: true,
    description: 'Since when the current value has not worked at its target; null where it does, as far as is known.',
  })
  driftDetectedAt!: string | null;
}

@ObjectType({ simpleResolvers: true })
class RotationStep {
  @Field(() => RotationStatusEnum) status!: string;
  @Field(() => DateTimeScalar) at!: string;
  @Field(() => String, { nullable: true }) note!: string | null;
}

@ObjectType({ simpleResolvers: true, description: 'Data keys that a new encryption key wraps, of how many.' })
class RotationProgress {
  @Field(() => Int) done!: number;
  @Field(() => Int) total!: number;
}

@ObjectType({ simpleResolvers: true, description: 'One rotation of one secret, with every step it took.' })
export class RotationRecord {
  @Field(() => ID) id!: string;
  @Field(() => SecretTypeEnum) secretType!: string;
  @Field(() => String) secretName!: string;
  @Field(() => Int) generation!: number;
  @Field(() => RotationStatusEnum) status!: string;
  @Field(() => DateTimeScalar, { nullable: true, description: 'When the new value became current.' })
  rotatedAt!: string | null;

  @Field(() => String, { nullable: true, description: 'Who asked for it; null: the schedule.' })
  rotatedBy!: string | null;

  @Field(() => String, { nullable: true }) reason!: string | null;
  @Field(() => [RotationStep]) steps!: RotationStep[];
  @Field(() => DateTimeScalar, { nullable: true }) graceEndsAt!: string | null;
  @Field(() => RotationProgress, {
    nullable: true,
    description: 'How far an encryption key is; null for other secrets, and for rotations that have ended.',
  })
  progress!: RotationProgress | null;
}

export const RotationRecordConnection = connectionType('RotationRecord', RotationRecord);

@ObjectType({ simpleResolvers: true, description: 'How often secrets of a type, or one of them, are rotated.' })
export class RotationPolicy {
  @Field(() => SecretTypeEnum) secretType!: string;
  @Field(() => String, { nullable: true, description: 'Null: of the type.' }) secretName!: string | null;
  @Field(() => Int) rotationIntervalDays!: number;
  @Field(() => Float) gracePeriodDays!: number;
  @Field(() => Boolean) autoRotate!: boolean;
  @Field(() => JSONObjectScalar, { description: 'When the schedule may rotate: docs/rotation.md.' }) window!: object;
}

@InputType({
  description: 'Hours of some days, by clocks of the time zone; over midnight where `to` is not after `from`.',
})
export class TimeRangeInput {
  @Field(() => [Int], { description: '1 is Monday, 7 Sunday.' }) days!: number[];
  @Field(() => String, { description: 'HH:MM' }) from!: string;
  @Field(() => String, { description: 'HH:MM, exclusive.' }) to!: string;
}

@InputType({ description: 'When the schedule may rotate; without `open` at any time but in `blackouts`.' })
export class ChangeWindowInput {
  @Field(() => String, { nullable: true, description: 'IANA name; UTC where it is absent.' }) timeZone?: string;
  @Field(() => [TimeRangeInput], { nullable: true }) open?: TimeRangeInput[];
  @Field(() => [TimeRangeInput], { nullable: true, description: 'Such as hours of trading.' })
  blackouts?: TimeRangeInput[];
}

@InputType()
export class SecretSettingInput {
  @Field(() => String) name!: string;
  @Field(() => String) value!: string;
}

@InputType()
export class RotateSecretInput {
  @Field(() => SecretTypeEnum) secretType!: string;
  @Field(() => String) secretName!: string;
  @Sensitive()
  @Field(() => String, {
    nullable: true,
    description: 'The new value, where it is not made by the service. It is in no log and no answer.',
  })
  newValue?: string;

  @Sensitive()
  @Field(() => String, {
    nullable: true,
    description: 'What lets the service in at the target from now on, such as a registration access token.',
  })
  newCredential?: string;

  @Field(() => String, { nullable: true }) reason?: string;
}

@InputType()
export class RollBackRotationInput {
  @Field(() => ID) rotationId!: string;
  @Field(() => String, { description: 'Goes on the record.' }) reason!: string;
}

@InputType()
export class UpdateRotationPolicyInput {
  @Field(() => SecretTypeEnum) secretType!: string;
  @Field(() => String, { nullable: true, description: 'Absent: of the type.' }) secretName?: string;
  @Field(() => Int, { nullable: true }) rotationIntervalDays?: number;
  @Field(() => Float, { nullable: true }) gracePeriodDays?: number;
  @Field(() => Boolean, { nullable: true }) autoRotate?: boolean;
  @Field(() => ChangeWindowInput, { nullable: true }) window?: ChangeWindowInput;
}

@InputType()
export class RegisterSecretInput {
  @Field(() => SecretTypeEnum) secretType!: string;
  @Field(() => String) secretName!: string;
  @Field(() => [SecretSettingInput], {
    nullable: true,
    description: 'What the rotator needs and everybody may see: docs/rotation.md.',
  })
  settings?: SecretSettingInput[];

  @Sensitive()
  @Field(() => String, { nullable: true, description: 'Its value now.' })
  value?: string;

  @Sensitive()
  @Field(() => String, {
    nullable: true,
    description:
      'What lets the service in at the target and is no value of the secret: a registration access token, a key that signs calls.',
  })
  credential?: string;
}

@InputType()
export class ReadSecretInput {
  @Field(() => SecretTypeEnum) secretType!: string;
  @Field(() => String) secretName!: string;
  @Field(() => String, { description: 'At least 10 characters; goes on the record.' }) reason!: string;
}

@ObjectType({ simpleResolvers: true })
export class RotateSecretPayload {
  @Field(() => RotationRecord) rotation!: RotationRecord;
}

@ObjectType({ simpleResolvers: true })
export class UpdateRotationPolicyPayload {
  @Field(() => RotationPolicy) policy!: RotationPolicy;
}

@ObjectType({ simpleResolvers: true })
export class RegisterSecretPayload {
  @Field(() => RotationScheduleEntry) schedule!: RotationScheduleEntry;
}

@ObjectType({ simpleResolvers: true })
export class ReadSecretPayload {
  @Field(() => Int) generation!: number;
  @Field(() => String, {
    nullable: true,
    description: 'Null where the value is kept elsewhere; of a signing key its PKCS #8 form in base64.',
  })
  value!: string | null;

  @Field(() => JSONObjectScalar, { description: 'What belongs to this value: of a DATABASE secret the role.' })
  facts!: object;
}
