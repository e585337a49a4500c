/** Kinds of secrets that rotate. */
export const secretTypes = ['DATABASE', 'ENCRYPTION_KEY', 'SIGNING_KEY', 'API_KEY', 'OAUTH', 'WEBHOOK'] as const;

export type SecretType = (typeof secretTypes)[number];

/**
 * Where a rotation is. Up to VERIFIED the current value is untouched; ROTATED: the new one is current, the one before still valid;
 * REVOKED: that one is valid no more. UNKNOWN: an effect outside may or may not have come about, and is being found out. HELD:
 * somebody has to look, or the value before is still in use.
 */
export const rotationStatuses = [
  'PLANNED',
  'STAGED',
  'APPLYING',
  'UNKNOWN',
  'APPLIED',
  'VERIFIED',
  'ROTATED',
  'REVOKING',
  'REVOKED',
  'FAILED',
  'HELD',
  'ROLLED_BACK',
] as const;

export type RotationStatus = (typeof rotationStatuses)[number];

/** A secret as its rotator sees it. */
export interface RotationTarget {
  readonly id: string;
  readonly name: string;
  /** What a rotator needs and everybody may see. */
  readonly settings: Readonly<Record<string, unknown>>;
  /**
   * What lets the rotator in at the target and is no value of the secret: a registration access token, a key that signs calls.
   * Sealed like a value, and disclosed to nobody. Null where there is none.
   */
  readonly credential: Uint8Array | null;
}

/** One value of a secret. */
export interface SecretVersion {
  readonly generation: number;
  /** Which of the target's places it has; null where there is one place. */
  readonly slot: string | null;
  /** What everybody may see of it. */
  readonly facts: Readonly<Record<string, unknown>>;
  /** Null where the value is kept elsewhere. */
  readonly value: Uint8Array | null;
}

/** What a target tells while it is changed or asked. */
export interface Learned {
  /** The value that the target made by itself: from now on that of the pending version. */
  readonly value?: Uint8Array;
  /** Added to the facts of the pending version. */
  readonly facts?: Readonly<Record<string, unknown>>;
  /** What the target lets the rotator in with from now on. */
  readonly credential?: Uint8Array;
}

/** What a rotator has beside the pending version. */
export interface RotationWork {
  /** The version that is current; null where there is none. */
  readonly current: SecretVersion | null;
  /**
   * Makes durable what the target told, and returns when it is. To be called at once, before anything else is asked of the
   * target: what only this process knows is lost with it. Throws ROTATION_CONFLICT where another node has taken over.
   */
  keep(learned: Learned): Promise<void>;
}

/** A secret that is being registered, with the value it has now where that is given. */
export interface NewSecret {
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly value: Uint8Array | null;
  readonly credential: Uint8Array | null;
}

export interface AdoptedSecret {
  readonly slot: string | null;
  readonly facts: Readonly<Record<string, unknown>>;
  /** Where the service has it, whatever was given. */
  readonly value?: Uint8Array;
  /** The one given, or what the target replaced it by when it was asked; absent where the rotator has no use for one. */
  readonly credential?: Uint8Array;
  /** Where it is a matter of the secret and not of its type. */
  readonly zeroDowntime?: boolean;
}

/**
 * What probing found out. PARTLY: application goes on where it ended, as often as that takes; ABSENT: it is applied again, a
 * few times.
 */
export type ProbeAnswer = 'WORKS' | 'PARTLY' | 'ABSENT' | 'UNKNOWN';

/**
 * Changes one kind of secret at its target. Every method may be called again after a crash, with the same version, and comes to
 * the same end; each ends within half a minute. Errors: SECRET_REFUSED where the target said no, so that nothing was changed;
 * any other leaves open whether something was.
 */
export interface Rotator {
  readonly type: SecretType;
  /** Whether old and new value are valid at once, so that nobody is refused in between. */
  readonly zeroDowntime: boolean;
  /** The place for the next version; `current` is that of the current one. */
  nextSlot(current: string | null): string | null;
  /**
   * What is known of the value that a secret has when it is registered. Throws NOT_FOUND where there is no such thing,
   * BAD_USER_INPUT where settings, value or credential are not what the rotator needs, and SECRET_REFUSED where it cannot rotate.
   */
  adopt(secret: NewSecret): Promise<AdoptedSecret>;
  /** Makes the value of a generation, or takes the one given; null where the target makes it. Changes nothing outside. */
  create(
    target: RotationTarget,
    given: Uint8Array | null,
    generation: number,
  ): Promise<{ readonly value: Uint8Array | null; readonly facts: Readonly<Record<string, unknown>> }>;
  /** Makes the value valid at the target, beside the current one where there are places for both. */
  apply(target: RotationTarget, pending: SecretVersion, work: RotationWork): Promise<void>;
  /** Finds out whether the value is valid at the target, and which it is where the target made it. */
  probe(target: RotationTarget, pending: SecretVersion, work: RotationWork): Promise<ProbeAnswer>;
  /**
   * Finds out whether the current value is still valid at the target. A rotator without this method is asked to `probe` it: for most
   * targets the two are one question.
   */
  probeCurrent?(target: RotationTarget, current: SecretVersion): Promise<ProbeAnswer>;
  /** Uses the value as its users will, and may return a remark for the record. Throws where it does not do what it has to. */
  verify(target: RotationTarget, pending: SecretVersion, work: RotationWork): Promise<string | void>;
  /** Called on the node that promoted a version, and on one that rolled back to it. Others find out by themselves. */
  promoted(target: RotationTarget, current: SecretVersion): Promise<void>;
  /** Whether somebody still uses a value that is current no more. */
  isInUse(target: RotationTarget, previous: SecretVersion): Promise<boolean>;
  /** Makes a value invalid that is not current. `current` is valid afterwards, also where the target has one place. */
  revoke(target: RotationTarget, version: SecretVersion, current: SecretVersion | null): Promise<void>;
}

/** What of a secret the schedule needs; times are milliseconds since the Unix epoch. */
export interface ScheduleInput {
  readonly lastRotatedMs: number;
  readonly intervalDays: number;
  readonly nowMs: number;
  readonly openStatus: RotationStatus | null;
}

export type ScheduleStatus = 'ACTIVE' | 'DUE' | 'OVERDUE' | 'ROTATING' | 'HELD';

const dayMs = 86_400_000;

/** Days are of 24 hours, whatever clocks on walls do: 90 days after 2025-10-09 is 2026-01-07. */
export function nextRotationMs(lastRotatedMs: number, intervalDays: number): number {
  return lastRotatedMs + intervalDays * dayMs;
}

/** Whole days that are left, rounded down: negative when it is overdue. */
export function daysUntil(nextMs: number, nowMs: number): number {
  return Math.floor((nextMs - nowMs) / dayMs);
}

/** DUE: on its last day. What is promoted and only waits for the end of its grace period is done as far as the schedule goes. */
export function scheduleStatus({ lastRotatedMs, intervalDays, nowMs, openStatus }: ScheduleInput): ScheduleStatus {
  if (openStatus === 'HELD') return 'HELD';
  if (openStatus !== null && !['ROTATED', 'REVOKING', 'REVOKED', 'FAILED', 'ROLLED_BACK'].includes(openStatus)) {
    return 'ROTATING';
  }
  const nextMs = nextRotationMs(lastRotatedMs, intervalDays);
  if (nowMs >= nextMs) return 'OVERDUE';
  return daysUntil(nextMs, nowMs) < 1 ? 'DUE' : 'ACTIVE';
}

/** Days before a rotation is due at which its owners are told. */
const noticeDays = [7, 3, 1] as const;

/** The notice that is due now, the latest one alone where several were missed; one a day from when it is overdue. Null: none. */
export function dueNotice(nextMs: number, nowMs: number): string | null {
  if (nowMs >= nextMs) return `OVERDUE:${Math.floor((nowMs - nextMs) / dayMs)}`;
  const reached = noticeDays.filter((days) => nextMs - nowMs <= days * dayMs).at(-1);
  return reached === undefined ? null : `DAYS:${reached}`;
}
