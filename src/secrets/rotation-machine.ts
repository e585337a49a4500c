import { randomUUID } from 'node:crypto';
import type { RotationStatus, RotationTarget, Rotator, SecretVersion } from '../core/rotation.js';
import { DaybookError } from '../errors.js';
import {
  readRotation,
  releaseRotation,
  rereadRotation,
  takeRotation,
  waitForGrace,
  type HeldRotation,
  type RotationRow,
} from './rotation-rows.js';
import { serviceSecretOrigin, stepEntries } from './secret-entries.js';
import type { SecretServices } from './secret-services.js';
import { insertVersion, markRevoked, readSecrets, readVersion, type SecretRow } from './secret-store.js';

/** Attempts at one step before somebody has to look. */
const attemptsMax = 5;
const retrySeconds = 5;
/** How often a rotation whose previous value is still in use is looked at. */
const inUseSeconds = 60;
const noteCharactersMax = 500;
/** An effect outside that takes longer is one of unknown outcome; shorter than the lease. */
const effectTimeoutMs = 30_000;

/** What a rotation is about. */
interface Subject {
  readonly secret: SecretRow;
  readonly target: RotationTarget;
  readonly rotator: Rotator;
}

/** A value given by a caller for one rotation; the machine stages it and forgets it. */
export interface GivenValue {
  readonly rotationId: string;
  readonly value: Uint8Array;
}

/**
 * Takes steps of rotations: each is durable before the next begins, and the intent of an effect outside is committed before the
 * effect. A crash anywhere is found by whoever takes the rotation next: in APPLYING nobody knows whether the effect came about,
 * and the target is asked.
 */
export class RotationMachine {
  constructor(private readonly services: SecretServices) {}

  /** Takes every step that is due, of all rotations, and returns how many rotations were worked on. */
  async runDue(signal: AbortSignal): Promise<number> {
    let worked = 0;
    while (!signal.aborted) {
      const held = await takeRotation(this.services.database, this.services.node, null);
      if (held === null) break;
      worked += 1;
      await this.#work(held, null, signal);
    }
    await this.#discardAbandoned(signal);
    return worked;
  }

  /** Works on one rotation as far as it gets now: to the beginning of its grace period where all goes well. */
  async runOne(id: string, given: GivenValue | null, signal: AbortSignal): Promise<void> {
    const held = await takeRotation(this.services.database, this.services.node, id);
    if (held !== null) await this.#work(held, given, signal);
  }

  async #work(taken: HeldRotation, given: GivenValue | null, signal: AbortSignal): Promise<void> {
    const subject = await this.#subjectOf(taken);
    let held: HeldRotation | null = taken;
    try {
      while (held !== null && !signal.aborted) {
        if (!(await this.#step(subject, held, given))) return;
        held = await rereadRotation(this.services.database, held);
      }
    } catch (error) {
      if (isLeaseLost(error)) return;
      this.services.log.error({ err: error, rotation: taken.id }, 'a step of a rotation failed: it is tried again');
      if (held !== null) {
        const pauseSeconds = retrySeconds * 2 ** Math.min(held.failures, 6);
        await releaseRotation(this.services.database, held, { pauseSeconds, failed: true });
      }
      return;
    }
    if (held !== null) await releaseRotation(this.services.database, held, { pauseSeconds: 0, failed: false });
  }

  async #subjectOf({ secretId }: HeldRotation): Promise<Subject> {
    const secret = (await readSecrets(this.services.database)).find(({ id }) => id === secretId);
    const rotator = secret && this.services.rotators.get(secret.type);
    if (secret === undefined || rotator === undefined) throw new TypeError(`no rotator for the secret ${secretId}`);
    return { secret, rotator, target: { id: secret.id, name: secret.name, settings: secret.settings } };
  }

  /** Takes one step. False where the rotation was let go of. */
  async #step(subject: Subject, held: HeldRotation, given: GivenValue | null): Promise<boolean> {
    switch (held.status) {
      case 'PLANNED':
        return this.#stage(subject, held, given);
      case 'STAGED':
        return this.#apply(subject, held);
      case 'APPLYING':
        return this.#move(subject, held, 'UNKNOWN', 'the node that applied the value ended before it knew the outcome');
      case 'UNKNOWN':
        return this.#probe(subject, held);
      case 'APPLIED':
        return this.#verify(subject, held);
      case 'VERIFIED':
        return this.#promote(subject, held);
      case 'ROTATED':
        return this.#endGrace(subject, held);
      case 'REVOKING':
        return this.#revoke(subject, held);
      case 'HELD':
        return this.#lookAtHeld(subject, held);
      case 'REVOKED':
      case 'FAILED':
      case 'ROLLED_BACK':
        return false;
    }
  }

  async #stage({ secret, target, rotator }: Subject, held: HeldRotation, given: GivenValue | null): Promise<boolean> {
    const { database, ring } = this.services;
    const current = await readVersion(database, ring, secret.id, { label: 'CURRENT' });
    current?.value?.fill(0);
    const value = given?.rotationId === held.id ? given.value : null;
    const made = await rotator.create(target, value);
    try {
      const slot = rotator.nextSlot(current?.slot ?? null);
      await this.#commit({ secret, held, to: 'STAGED', note: null }, async (client) => {
        await client.query("UPDATE public.secret_versions SET label = NULL WHERE secret = $1 AND label = 'PENDING'", [
          secret.id,
        ]);
        const version = { secretId: secret.id, generation: held.generation, label: 'PENDING' as const, slot };
        await insertVersion(client, ring, { ...version, facts: made.facts, value: made.value });
      });
    } finally {
      made.value?.fill(0);
    }
    return true;
  }

  /** The intent commits before the effect: whoever finds it without an outcome asks the target. */
  async #apply(subject: Subject, held: HeldRotation): Promise<boolean> {
    await this.#move(subject, held, 'APPLYING', null);
    const applying = { ...held, status: 'APPLYING' as const };
    const outcome = await this.#tryEffect(subject, held, (pending) => subject.rotator.apply(subject.target, pending));
    if (outcome === null) return this.#move(subject, applying, 'APPLIED', null);
    if (isRefused(outcome)) return this.#move(subject, applying, 'FAILED', noteOf(outcome));
    return this.#move(subject, applying, 'UNKNOWN', noteOf(outcome));
  }

  async #probe(subject: Subject, held: HeldRotation): Promise<boolean> {
    let found: 'WORKS' | 'ABSENT' | 'UNKNOWN' = 'UNKNOWN';
    const failure = await this.#tryEffect(subject, held, async (pending) => {
      found = await subject.rotator.probe(subject.target, pending);
    });
    // TypeScript does not see the assignment above.
    const answer = found as 'WORKS' | 'ABSENT' | 'UNKNOWN';
    if (failure === null && answer === 'WORKS') {
      return this.#move(subject, held, 'APPLIED', 'the target has the new value');
    }
    if (held.failures + 1 >= attemptsMax) {
      const reason = failure === null ? `the target says ${answer}` : noteOf(failure);
      return this.#hold(subject, held, `nobody can tell whether the new value is valid: ${reason}`);
    }
    if (failure === null && answer === 'ABSENT') {
      await this.#move(subject, held, 'STAGED', 'the target does not have the new value: it is applied again');
      return this.#pause({ ...held, status: 'STAGED' }, retrySeconds);
    }
    return this.#pause(held, retrySeconds * 2 ** held.failures);
  }

  async #verify(subject: Subject, held: HeldRotation): Promise<boolean> {
    const failure = await this.#tryEffect(subject, held, (pending) => subject.rotator.verify(subject.target, pending));
    if (failure === null) return this.#move(subject, held, 'VERIFIED', null);
    if (isRefused(failure)) return this.#move(subject, held, 'FAILED', noteOf(failure));
    return this.#move(subject, held, 'UNKNOWN', noteOf(failure));
  }

  async #promote({ secret, target, rotator }: Subject, held: HeldRotation): Promise<boolean> {
    await this.#commit({ secret, held, to: 'ROTATED', note: null }, async (client) => {
      await client.query('SELECT daybook.promote_version($1, $2)', [secret.id, held.generation]);
    });
    await this.#announce(secret, target, rotator);
    return true;
  }

  async #announce(secret: SecretRow, target: RotationTarget, rotator: Rotator): Promise<void> {
    const current = await readVersion(this.services.database, this.services.ring, secret.id, { label: 'CURRENT' });
    if (current === null) return;
    try {
      await rotator.promoted(target, current);
    } catch (error) {
      // Both values are valid: whoever uses the secret finds the current one by itself.
      this.services.log.error({ err: error, secret: secret.name }, 'a new value could not be taken into use at once');
    } finally {
      current.value?.fill(0);
    }
  }

  /** Revocation is by evidence, then by time: a value that is still used is held, and somebody is told. */
  async #endGrace(subject: Subject, held: HeldRotation): Promise<boolean> {
    if (!held.isGraceOver) {
      await waitForGrace(this.services.database, held);
      return false;
    }
    const inUse = await this.#isPreviousInUse(subject);
    if (inUse)
      return this.#hold(subject, held, 'the value before is still in use after its grace period', inUseSeconds);
    return this.#move(subject, held, 'REVOKING', null);
  }

  async #isPreviousInUse({ secret, target, rotator }: Subject): Promise<boolean> {
    const previous = await readVersion(this.services.database, this.services.ring, secret.id, { label: 'PREVIOUS' });
    if (previous === null) return false;
    try {
      return await rotator.isInUse(target, previous);
    } finally {
      previous.value?.fill(0);
    }
  }

  async #revoke({ secret, target, rotator }: Subject, held: HeldRotation): Promise<boolean> {
    const previous = await readVersion(this.services.database, this.services.ring, secret.id, { label: 'PREVIOUS' });
    try {
      if (previous !== null) await withTimeout(rotator.revoke(target, previous));
    } catch (error) {
      if (held.failures + 1 < attemptsMax) throw error;
      return await this.#hold(
        { secret, target, rotator },
        held,
        `the value before could not be revoked: ${noteOf(error)}`,
      );
    } finally {
      previous?.value?.fill(0);
    }
    await this.#commit({ secret, held, to: 'REVOKED', note: null }, async (client) => {
      if (previous !== null) await markRevoked(client, secret.id, previous.generation);
    });
    return false;
  }

  /** A rotation that is held after its promotion goes on by itself when the value before is no longer used. */
  async #lookAtHeld(subject: Subject, held: HeldRotation): Promise<boolean> {
    const current = await readVersion(this.services.database, this.services.ring, subject.secret.id, {
      label: 'CURRENT',
    });
    current?.value?.fill(0);
    const isPromoted = current?.generation === held.generation;
    if (isPromoted && !(await this.#isPreviousInUse(subject))) {
      return this.#move(subject, held, 'ROTATED', 'the value before is no longer in use');
    }
    return this.#pause(held, inUseSeconds);
  }

  async #hold(subject: Subject, held: HeldRotation, note: string, seconds = inUseSeconds): Promise<boolean> {
    await this.#move(subject, held, 'HELD', note);
    return this.#pause({ ...held, status: 'HELD' }, seconds);
  }

  async #pause(held: HeldRotation, pauseSeconds: number): Promise<boolean> {
    await releaseRotation(this.services.database, held, { pauseSeconds, failed: held.status === 'UNKNOWN' });
    return false;
  }

  /** What the effect threw, null where nothing. */
  async #tryEffect(
    { secret }: Subject,
    held: HeldRotation,
    effect: (pending: SecretVersion) => Promise<void>,
  ): Promise<unknown> {
    const by = { generation: held.generation };
    const pending = await readVersion(this.services.database, this.services.ring, secret.id, by);
    if (pending === null) throw new TypeError(`version ${held.generation} of ${secret.name} is not there`);
    try {
      await withTimeout(effect(pending));
      return null;
    } catch (error) {
      return error ?? new Error('the effect failed without a reason');
    } finally {
      pending.value?.fill(0);
    }
  }

  async #move({ secret }: Subject, held: HeldRotation, to: RotationStatus, note: string | null): Promise<boolean> {
    await this.#commit({ secret, held, to, note });
    return to !== 'FAILED';
  }

  /** The status, its step, its entry and what belongs to it commit together, or not at all where the lease was lost. */
  async #commit(
    step: {
      readonly secret: SecretRow;
      readonly held: HeldRotation;
      readonly to: RotationStatus;
      readonly note: string | null;
    },
    alongside: (
      client: Parameters<NonNullable<Parameters<SecretServices['append']>[0]['alongside']>>[0],
    ) => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    const { secret, held, to } = step;
    const note = step.note?.slice(0, noteCharactersMax) ?? null;
    await this.services.append({
      entries: stepEntries(secret, held, to, note, serviceSecretOrigin(randomUUID())),
      alongside: async (client) => {
        await client.query('SELECT daybook.step_rotation($1, $2, $3, $4, $5)', [
          held.id,
          held.fence,
          held.status,
          to,
          note,
        ]);
        await alongside(client);
      },
    });
  }

  /** Values of rotations that failed or were rolled back may be valid at their targets: they are revoked there. */
  async #discardAbandoned(signal: AbortSignal): Promise<void> {
    const found = await this.services.database.query<{ secretId: string; generation: number }>(
      `SELECT version.secret AS "secretId", version.generation
       FROM public.secret_versions AS version
         JOIN public.rotations AS rotation ON rotation.secret = version.secret AND rotation.generation = version.generation
       WHERE version.revoked_at IS NULL AND rotation.status IN ('FAILED', 'ROLLED_BACK')
         AND version.label IS DISTINCT FROM 'CURRENT' AND version.label IS DISTINCT FROM 'PREVIOUS'`,
    );
    for (const { secretId, generation } of found.rows) {
      signal.throwIfAborted();
      await this.#discard(secretId, generation);
    }
  }

  async #discard(secretId: string, generation: number): Promise<void> {
    const { database, ring, append, log } = this.services;
    const subject = await this.#subjectOf({ secretId } as HeldRotation);
    const version = await readVersion(database, ring, secretId, { generation });
    try {
      if (version !== null) await withTimeout(subject.rotator.revoke(subject.target, version));
      await append({ alongside: (client) => markRevoked(client, secretId, generation) });
    } catch (error) {
      log.warn({ err: error, secret: subject.secret.name }, 'an abandoned value could not be revoked: tried again');
    } finally {
      version?.value?.fill(0);
    }
  }
}

function isRefused(error: unknown): boolean {
  return error instanceof DaybookError && error.code === 'SECRET_REFUSED';
}

function isLeaseLost(error: unknown): boolean {
  return error instanceof DaybookError && error.code === 'ROTATION_CONFLICT';
}

/** Messages of this product's own errors hold no value; those of others may, and are not repeated. */
function noteOf(error: unknown): string {
  if (error instanceof DaybookError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.name : 'an unknown fault';
}

async function withTimeout<Value>(work: Promise<Value>): Promise<Value> {
  const timeout = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => timeout.reject(new DaybookError('SECRET_UNAVAILABLE', 'the target gave no answer in time')),
    effectTimeoutMs,
  );
  try {
    return await Promise.race([work, timeout.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Carries out a planned rotation on this node as far as it gets now, and returns it as it is then. */
export async function carryOut(
  services: SecretServices,
  rotation: RotationRow,
  newValue: string | null,
  signal: AbortSignal,
): Promise<RotationRow> {
  const given = newValue === null ? null : { rotationId: rotation.id, value: Buffer.from(newValue) };
  try {
    await new RotationMachine(services).runOne(rotation.id, given, signal);
  } finally {
    given?.value.fill(0);
  }
  return (await readRotation(services.database, rotation.id)) ?? rotation;
}
