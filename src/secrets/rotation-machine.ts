import { randomUUID } from 'node:crypto';
import type { Learned, RotationStatus, RotationTarget, RotationWork, SecretVersion } from '../core/rotation.js';
import { DaybookError } from '../errors.js';
import { discardAbandoned, discardOne } from './abandoned-values.js';
import { effectTimeoutMsDefault, isLeaseLost, isRefused, noteOf, withTimeout } from './rotation-effects.js';
import {
  countSteps,
  releaseRotation,
  rereadRotation,
  takeRotation,
  waitForGrace,
  type HeldRotation,
} from './rotation-rows.js';
import { getSubject, withTarget, withVersion, type RotationSubject } from './rotation-subject.js';
import { serviceSecretOrigin } from './secret-entries.js';
import type { SecretServices } from './secret-services.js';
import { insertVersion, markRevoked, storeCredential, storeLearned } from './secret-store.js';
import { stepRotation, type RotationStep } from './step-rotation.js';

/** Attempts at one step before somebody has to look. */
const attemptsMax = 5;
const retrySeconds = 5;
const absentNote = 'the target does not have the new value: it is applied again';
/** How often a rotation whose previous value is still in use is looked at. */
const inUseSeconds = 60;
/** How often a value before is tried to be revoked that its target would not give up. */
const revokeSeconds = 900;

/** What a caller gives for one rotation; the machine stages it and forgets it. */
export interface GivenValue {
  readonly rotationId: string;
  readonly value: Uint8Array | null;
  /** What lets the rotator in at the target from now on. */
  readonly credential: Uint8Array | null;
}

/**
 * Takes steps of rotations: each is durable before the next begins, and the intent of an effect outside is committed before the
 * effect. A crash anywhere is found by whoever takes the rotation next: in APPLYING nobody knows whether the effect came about,
 * and the target is asked.
 */
export class RotationMachine {
  /** `effectTimeoutMs`: for one effect outside; 30 s where nothing is said. */
  constructor(
    private readonly services: SecretServices,
    private readonly effectTimeoutMs = effectTimeoutMsDefault,
  ) {}

  /** Takes every step that is due, of all rotations, and returns how many rotations were worked on. */
  async runDue(signal: AbortSignal): Promise<number> {
    let worked = 0;
    while (!signal.aborted) {
      const held = await takeRotation(this.services.database, this.services.node, null);
      if (held === null) break;
      worked += 1;
      await this.#work(held, null, signal);
    }
    await discardAbandoned(this.services, this.effectTimeoutMs, signal);
    return worked;
  }

  /**
   * Works on one rotation as far as it gets now: to the beginning of its grace period where all goes well. Does nothing where
   * another node has it, or it is not due.
   */
  async runOne(id: string, given: GivenValue | null, signal: AbortSignal): Promise<void> {
    const held = await takeRotation(this.services.database, this.services.node, id);
    if (held === null) return;
    await this.#work(held, given, signal);
    // At once, as a target with one place may have the value that failed.
    await discardOne(this.services, id, this.effectTimeoutMs);
  }

  async #work(taken: HeldRotation, given: GivenValue | null, signal: AbortSignal): Promise<void> {
    let held: HeldRotation | null = taken;
    try {
      const subject = await getSubject(this.services, taken.secretId);
      while (held !== null && !signal.aborted) {
        if (!(await this.#step(subject, held, given))) return;
        held = await rereadRotation(this.services.database, held);
      }
    } catch (error) {
      if (!isLeaseLost(error)) {
        this.services.log.error({ err: error, rotation: taken.id }, 'a step of a rotation failed: it is tried again');
      }
      // Changes nothing where the lease is lost. The database refuses with the same code what came too late for another reason.
      if (held !== null) {
        const pauseSeconds = retrySeconds * 2 ** Math.min(held.failures, 6);
        await releaseRotation(this.services.database, held, { pauseSeconds, failed: true });
      }
      return;
    }
    if (held !== null) await releaseRotation(this.services.database, held, { pauseSeconds: 0, failed: false });
  }

  /** Takes one step. False where the rotation was let go of. */
  async #step(subject: RotationSubject, held: HeldRotation, given: GivenValue | null): Promise<boolean> {
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

  async #stage(subject: RotationSubject, held: HeldRotation, given: GivenValue | null): Promise<boolean> {
    const { ring } = this.services;
    const { secret, rotator } = subject;
    if (held.isValueGiven && given?.rotationId !== held.id) {
      await this.#commit({ secret, held, to: 'FAILED', note: 'what was given for it is lost: rotate again' });
      return false;
    }
    const { failure, made } = await this.#create(subject, held, given);
    if (made === null) {
      // What is given is forgotten now, so that there is nothing to try again with.
      if (isRefused(failure) || held.isValueGiven) return this.#move(subject, held, 'FAILED', noteOf(failure));
      return this.#tryLater(subject, held, `the new value could not be made: ${noteOf(failure)}`);
    }
    const before = await withVersion(this.services, secret.id, { label: 'CURRENT' }, (current) => current?.slot);
    try {
      const slot = rotator.nextSlot(before ?? null);
      const sealer = await ring.openSealer();
      await this.#commit({ secret, held, to: 'STAGED', note: null }, async (client) => {
        await client.query("UPDATE public.secret_versions SET label = NULL WHERE secret = $1 AND label = 'PENDING'", [
          secret.id,
        ]);
        const version = { secretId: secret.id, generation: held.generation, label: 'PENDING' as const, slot };
        await insertVersion(client, sealer, { ...version, facts: made.facts, value: made.value });
        if (given?.credential) await storeCredential(client, sealer, secret.id, given.credential);
      });
    } finally {
      made.value?.fill(0);
    }
    return true;
  }

  async #create({ secret, rotator }: RotationSubject, { generation }: HeldRotation, given: GivenValue | null) {
    try {
      const made = await withTarget(this.services, secret, (target) => {
        if (given?.credential && target.credential === null) {
          throw new DaybookError('SECRET_REFUSED', `a ${secret.type} secret takes no credential`);
        }
        const credential = given?.credential ?? target.credential;
        const made = rotator.create({ ...target, credential }, given?.value ?? null, generation);
        return withTimeout(made, this.effectTimeoutMs);
      });
      return { failure: null, made };
    } catch (error) {
      return { failure: error, made: null };
    }
  }

  /** The intent commits before the effect: whoever finds it without an outcome asks the target. */
  async #apply(subject: RotationSubject, held: HeldRotation): Promise<boolean> {
    await this.#move(subject, held, 'APPLYING', null);
    const applying = { ...held, status: 'APPLYING' as const };
    const { failure } = await this.#tryEffect(subject, held, (...effect) => subject.rotator.apply(...effect));
    if (failure === null) return this.#move(subject, applying, 'APPLIED', null);
    if (isRefused(failure)) return this.#move(subject, applying, 'FAILED', noteOf(failure));
    return this.#move(subject, applying, 'UNKNOWN', noteOf(failure));
  }

  async #probe(subject: RotationSubject, held: HeldRotation): Promise<boolean> {
    const { failure, answer } = await this.#tryEffect(subject, held, (...effect) => subject.rotator.probe(...effect));
    if (answer === 'WORKS') return this.#move(subject, held, 'APPLIED', 'the target has the new value');
    if (answer === 'PARTLY') return this.#applyAgain(subject, held, 'the target has a part: the rest is applied');
    if (answer === 'ABSENT') {
      if ((await countSteps(this.services.database, held, absentNote)) + 1 < attemptsMax) {
        return this.#applyAgain(subject, held, absentNote);
      }
      return this.#hold(subject, held, 'the target does not have the new value, however often it is applied');
    }
    const reason = failure === null ? 'it does not say' : noteOf(failure);
    return this.#tryLater(subject, held, `nobody can tell whether the target has the new value: ${reason}`);
  }

  async #applyAgain(subject: RotationSubject, held: HeldRotation, note: string): Promise<boolean> {
    await this.#move(subject, held, 'STAGED', note);
    return this.#pause({ ...held, status: 'STAGED' }, retrySeconds);
  }

  async #verify(subject: RotationSubject, held: HeldRotation): Promise<boolean> {
    const { failure, answer } = await this.#tryEffect(subject, held, (...effect) => subject.rotator.verify(...effect));
    if (failure === null) return this.#move(subject, held, 'VERIFIED', answer ?? null);
    if (isRefused(failure)) return this.#move(subject, held, 'FAILED', noteOf(failure));
    return this.#tryLater(subject, held, `the new value could not be tried: ${noteOf(failure)}`);
  }

  async #promote(subject: RotationSubject, held: HeldRotation): Promise<boolean> {
    const { secret } = subject;
    await this.#commit({ secret, held, to: 'ROTATED', note: null }, async (client) => {
      await client.query('SELECT daybook.promote_version($1, $2)', [secret.id, held.generation]);
    });
    await this.#announce(subject);
    return true;
  }

  async #announce({ secret, rotator }: RotationSubject): Promise<void> {
    try {
      await withTarget(this.services, secret, (target) =>
        withVersion(this.services, secret.id, { label: 'CURRENT' }, async (current) => {
          if (current !== null) await withTimeout(rotator.promoted(target, current), this.effectTimeoutMs);
        }),
      );
    } catch (error) {
      // Both values are valid: whoever uses the secret finds the current one by itself.
      this.services.log.error({ err: error, secret: secret.name }, 'a new value could not be taken into use at once');
    }
  }

  /** Revocation is by evidence, then by time: a value that is still used is held, and somebody is told. */
  async #endGrace(subject: RotationSubject, held: HeldRotation): Promise<boolean> {
    if (!held.isGraceOver) {
      await waitForGrace(this.services.database, held);
      return false;
    }
    const inUse = await this.#isPreviousInUse(subject);
    if (inUse)
      return this.#hold(subject, held, 'the value before is still in use after its grace period', inUseSeconds);
    return this.#move(subject, held, 'REVOKING', null);
  }

  async #isPreviousInUse({ secret, rotator }: RotationSubject): Promise<boolean> {
    return withTarget(this.services, secret, (target) =>
      withVersion(this.services, secret.id, { label: 'PREVIOUS' }, async (previous) =>
        previous === null ? false : withTimeout(rotator.isInUse(target, previous), this.effectTimeoutMs),
      ),
    );
  }

  async #revoke(subject: RotationSubject, held: HeldRotation): Promise<boolean> {
    const { secret, rotator } = subject;
    try {
      const revoked = await withTarget(this.services, secret, (target) =>
        withVersion(this.services, secret.id, { label: 'PREVIOUS' }, (previous) =>
          withVersion(this.services, secret.id, { label: 'CURRENT' }, async (current) => {
            if (previous !== null) await withTimeout(rotator.revoke(target, previous, current), this.effectTimeoutMs);
            return previous?.generation ?? null;
          }),
        ),
      );
      await this.#commit({ secret, held, to: 'REVOKED', note: null }, async (client) => {
        if (revoked !== null) await markRevoked(client, secret.id, revoked);
      });
      return false;
    } catch (error) {
      if (isLeaseLost(error) || held.failures + 1 < attemptsMax) throw error;
      return this.#hold(subject, held, `the value before could not be revoked: ${noteOf(error)}`, revokeSeconds);
    }
  }

  /** A rotation that is held after its promotion goes on by itself when the value before is no longer used. */
  async #lookAtHeld(subject: RotationSubject, held: HeldRotation): Promise<boolean> {
    const isPromoted = await withVersion(
      this.services,
      subject.secret.id,
      { label: 'CURRENT' },
      (current) => current?.generation === held.generation,
    );
    if (isPromoted && !(await this.#isPreviousInUse(subject))) {
      return this.#move(subject, held, 'ROTATED', 'the value before is no longer in use');
    }
    return this.#pause(held, inUseSeconds);
  }

  async #hold(subject: RotationSubject, held: HeldRotation, note: string, seconds = inUseSeconds): Promise<boolean> {
    await this.#move(subject, held, 'HELD', note);
    return this.#pause({ ...held, status: 'HELD' }, seconds);
  }

  /** Counts a failure of the step; after several somebody has to look. */
  async #tryLater(subject: RotationSubject, held: HeldRotation, note: string): Promise<boolean> {
    if (held.failures + 1 >= attemptsMax) return this.#hold(subject, held, note);
    await releaseRotation(this.services.database, held, {
      pauseSeconds: retrySeconds * 2 ** held.failures,
      failed: true,
    });
    return false;
  }

  async #pause(held: HeldRotation, pauseSeconds: number): Promise<boolean> {
    await releaseRotation(this.services.database, held, { pauseSeconds, failed: false });
    return false;
  }

  /** What the effect answered, or what it threw. What it has the machine keep is durable before it goes on. */
  async #tryEffect<Answer>(
    { secret }: RotationSubject,
    held: HeldRotation,
    effect: (target: RotationTarget, pending: SecretVersion, work: RotationWork) => Promise<Answer>,
  ): Promise<{ readonly failure: unknown; readonly answer: Answer | null }> {
    const { services, effectTimeoutMs } = this;
    const version = { secretId: secret.id, generation: held.generation };
    try {
      // Before the target makes a value: without the root key it could not be kept.
      const sealer = await services.ring.openSealer();
      const keep = async (learned: Learned) => {
        await services.append({
          alongside: async (client) => {
            await client.query('SELECT daybook.require_rotation_held($1, $2)', [held.id, held.fence]);
            await storeLearned(client, sealer, version, learned);
          },
        });
      };
      const answer = await withTarget(services, secret, (target) =>
        withVersion(services, secret.id, { label: 'CURRENT' }, (current) =>
          withVersion(services, secret.id, { generation: held.generation }, (pending) => {
            if (pending === null) throw new TypeError(`version ${held.generation} of ${secret.name} is not there`);
            return withTimeout(effect(target, pending, { current, keep }), effectTimeoutMs);
          }),
        ),
      );
      return { failure: null, answer };
    } catch (error) {
      return { failure: error ?? new Error('the effect failed without a reason'), answer: null };
    }
  }

  async #move(
    { secret }: RotationSubject,
    held: HeldRotation,
    to: RotationStatus,
    note: string | null,
  ): Promise<boolean> {
    await this.#commit({ secret, held, to, note });
    return to !== 'FAILED';
  }

  async #commit(
    { held, ...step }: Pick<RotationStep, 'secret' | 'to' | 'note'> & { readonly held: HeldRotation },
    alongside?: RotationStep['alongside'],
  ): Promise<void> {
    const origin = serviceSecretOrigin(randomUUID());
    await stepRotation(this.services.append, { ...step, rotation: held, origin, alongside });
  }
}
