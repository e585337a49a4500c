import { setTimeout as delay } from 'node:timers/promises';
import { Arg, Args, Ctx, ID, Mutation, Query, Resolver, Root, Subscription } from 'type-graphql';
import { Audited, auditReaders, currentCall } from '../access/audited.js';
import { Role } from '../access/principal.js';
import type { RequestContext } from '../access/request-context.js';
import type { RotationStatus, SecretType } from '../core/rotation.js';
import { DaybookError } from '../errors.js';
import { openEvents, type EventSource } from '../graphql/open-events.js';
import { ForwardPageArgs, numberedConnection, type Connection } from '../graphql/connection.js';
import { carryOut } from './carry-out-rotation.js';
import { disclose, type DisclosedSecret } from './disclose-secret.js';
import { registerSecret } from './register-secret.js';
import { requestRotation, rollBackRotation } from './request-rotation.js';
import { readPolicies, updatePolicy, type PolicyRow } from './rotation-policies.js';
import { readRotation, readRotations, type RotationRow } from './rotation-rows.js';
import { readSchedule, type ScheduleEntry } from './run-schedule.js';
import {
  ReadSecretInput,
  ReadSecretPayload,
  RegisterSecretInput,
  RegisterSecretPayload,
  RollBackRotationInput,
  RotateSecretInput,
  RotateSecretPayload,
  RotationPolicy,
  RotationRecord,
  RotationRecordConnection,
  RotationScheduleEntry,
  SecretTypeEnum,
  UpdateRotationPolicyInput,
  UpdateRotationPolicyPayload,
} from './secret.type.js';

/** Between two looks at a rotation that somebody follows, in milliseconds. */
const lookIntervalMs = 500;
const ended: ReadonlySet<RotationStatus> = new Set<RotationStatus>(['REVOKED', 'FAILED', 'ROLLED_BACK']);
const daySeconds = 86_400;

@Resolver()
export class SecretResolver {
  @Query(() => [RotationScheduleEntry], {
    description: 'Every secret with when it is rotated next, the most urgent first.',
  })
  @Audited('READ', auditReaders)
  rotationSchedule(@Ctx() { services }: RequestContext): Promise<ScheduleEntry[]> {
    return readSchedule(services.database, services.clock.nowMs());
  }

  @Query(() => RotationRecordConnection, { description: 'Rotations, newest first.' })
  @Audited('READ', auditReaders)
  async rotationHistory(
    @Arg('secretType', () => SecretTypeEnum, { nullable: true }) type: SecretType | undefined,
    @Arg('secretName', () => String, { nullable: true }) name: string | undefined,
    @Args(() => ForwardPageArgs) page: ForwardPageArgs,
    @Ctx() { services }: RequestContext,
  ): Promise<Connection> {
    const request = { ...page, type: type ?? null, name: name ?? null };
    return numberedConnection(await readRotations(services.database, request));
  }

  @Query(() => [RotationPolicy], { description: 'Policies of types, then those of single secrets.' })
  @Audited('READ', auditReaders)
  async rotationPolicies(@Ctx() { services }: RequestContext): Promise<object[]> {
    return (await readPolicies(services.database)).map(shownPolicy);
  }

  @Mutation(() => RotateSecretPayload, {
    description: 'Rotates a secret now; answers when the new value is current, or why not.',
  })
  @Audited('EXECUTE', [Role.ADMIN])
  async rotateSecret(
    @Arg('input', () => RotateSecretInput) input: RotateSecretInput,
    @Ctx() context: RequestContext,
  ): Promise<{ rotation: RotationRow }> {
    const { secrets, shutdown } = context.services;
    const rotation = await requestRotation(recordedWith(context), {
      type: input.secretType as SecretType,
      name: input.secretName,
      reason: input.reason ?? null,
      requestedBy: context.calls.origin.actor ?? 'unknown',
      isValueGiven: isGiven(input.newValue) || isGiven(input.newCredential),
      origin: context.calls.origin,
    });
    const given = { value: input.newValue ?? null, credential: input.newCredential ?? null };
    return { rotation: await carryOut(secrets, rotation, given, shutdown) };
  }

  @Mutation(() => RotateSecretPayload, { description: 'Goes back to the value before, while it is valid.' })
  @Audited('EXECUTE', [Role.ADMIN])
  async rollBackRotation(
    @Arg('input', () => RollBackRotationInput) { rotationId, reason }: RollBackRotationInput,
    @Ctx() context: RequestContext,
  ): Promise<{ rotation: RotationRow }> {
    const request = { rotationId, reason, origin: context.calls.origin };
    return { rotation: await rollBackRotation(recordedWith(context), request) };
  }

  @Mutation(() => UpdateRotationPolicyPayload, { description: 'Changes a policy; what is not given stays as it is.' })
  @Audited('UPDATE', [Role.ADMIN])
  async updateRotationPolicy(
    @Arg('input', () => UpdateRotationPolicyInput) input: UpdateRotationPolicyInput,
    @Ctx() context: RequestContext,
  ): Promise<{ policy: object }> {
    const policy = await updatePolicy(
      recordedWith(context),
      {
        secretType: input.secretType as SecretType,
        secretName: input.secretName ?? null,
        rotationIntervalDays: input.rotationIntervalDays ?? undefined,
        graceSeconds: isGiven(input.gracePeriodDays) ? input.gracePeriodDays * daySeconds : undefined,
        autoRotate: input.autoRotate ?? undefined,
        window: input.window ?? undefined,
      },
      context.calls.origin,
    );
    return { policy: shownPolicy(policy) };
  }

  @Mutation(() => RegisterSecretPayload, {
    description: 'Registers a secret with the value it has now, to be rotated.',
  })
  @Audited('CREATE', [Role.ADMIN])
  async registerSecret(
    @Arg('input', () => RegisterSecretInput) input: RegisterSecretInput,
    @Ctx() context: RequestContext,
  ): Promise<{ schedule: ScheduleEntry | undefined }> {
    const { secrets, clock, database } = context.services;
    const type = input.secretType as SecretType;
    const store = { ...secrets, ...recordedWith(context) };
    await registerSecret(store, {
      type,
      name: input.secretName,
      settings: Object.fromEntries((input.settings ?? []).map(({ name, value }) => [name, value])),
      value: isGiven(input.value) ? Buffer.from(input.value) : null,
      credential: isGiven(input.credential) ? Buffer.from(input.credential) : null,
      origin: context.calls.origin,
    });
    const schedule = await readSchedule(database, clock.nowMs());
    return { schedule: schedule.find((one) => one.secretType === type && one.secretName === input.secretName) };
  }

  @Mutation(() => ReadSecretPayload, {
    description: 'The current value of a secret. Each reading is on the record with its reason.',
  })
  @Audited('READ', [Role.ADMIN])
  readSecret(
    @Arg('input', () => ReadSecretInput) input: ReadSecretInput,
    @Ctx() context: RequestContext,
  ): Promise<DisclosedSecret> {
    const { secrets } = context.services;
    const request = { type: input.secretType as SecretType, name: input.secretName, reason: input.reason };
    return disclose({ ...secrets, ...recordedWith(context) }, request, context.calls.origin);
  }

  @Subscription(() => RotationRecord, {
    description: 'A rotation each time it takes a step or comes further, until it has ended.',
    subscribe: ({ args, context }) => progress(context as RequestContext, args as Record<string, unknown>),
  })
  rotationProgress(@Root() rotation: RotationRow, @Arg('rotationId', () => ID) _rotationId: string): RotationRow {
    return rotation;
  }
}

/** Inputs that are not given are absent, or null. */
function isGiven<Value>(value: Value | null | undefined): value is Value {
  return value !== null && value !== undefined;
}

/** What is changed and the call's own entry commit together. */
function recordedWith(context: RequestContext) {
  const call = currentCall(context);
  return {
    database: context.services.database,
    append: (request: Parameters<typeof context.calls.appendWithCall>[1]) =>
      context.calls.appendWithCall(call, request),
  };
}

function shownPolicy({ graceSeconds, ...policy }: PolicyRow): object {
  return { ...policy, gracePeriodDays: graceSeconds / daySeconds };
}

/** What a subscriber is told of one rotation: each state of it that is new. */
function progress(context: RequestContext, args: Readonly<Record<string, unknown>>) {
  const { database } = context.services;
  let seen = '';
  let status: RotationStatus | null = null;
  const read = async () => {
    const rotation = await readRotation(database, String(args.rotationId));
    if (rotation !== null) return rotation;
    throw new DaybookError('NOT_FOUND', 'there is no such rotation: rotationHistory lists them');
  };
  const source: EventSource<RotationRow> = {
    field: 'rotationProgress',
    roles: auditReaders,
    begin: async () => void (await read()),
    readNext: async () => {
      const rotation = await read();
      const state = `${rotation.status} ${rotation.steps.length} ${rotation.progress?.done}`;
      const isNew = state !== seen;
      seen = state;
      status = rotation.status;
      return isNew ? [rotation] : [];
    },
    hasEnded: () => status !== null && ended.has(status),
    changed: (signal) => delay(lookIntervalMs, undefined, { signal }).catch(() => undefined),
  };
  return openEvents(context, source, args);
}
