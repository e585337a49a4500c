import type {
  AdoptedSecret,
  NewSecret,
  ProbeAnswer,
  RotationTarget,
  RotationWork,
  Rotator,
  SecretVersion,
} from '../../core/rotation.js';
import { applicationLoginName } from '../application-login.js';
import { makePassword } from './database-logins.js';
import type { OwnLoginRotator } from './own-login-rotator.js';
import { RemoteLoginRotator } from './remote-login-rotator.js';

/** Rotates logins at PostgreSQL, which have two roles each: the service's own by its name, and those of other databases. */
export class DatabaseRotator implements Rotator {
  readonly type = 'DATABASE';
  readonly zeroDowntime = true;
  readonly #remote = new RemoteLoginRotator();

  constructor(private readonly own: OwnLoginRotator) {}

  nextSlot(current: string | null): string {
    return current === 'a' ? 'b' : 'a';
  }

  adopt(secret: NewSecret): Promise<AdoptedSecret> {
    return this.#rotatorOf(secret).adopt(secret);
  }

  create(_target: RotationTarget, given: Uint8Array | null) {
    return makePassword(given);
  }

  apply(target: RotationTarget, pending: SecretVersion, work: Pick<RotationWork, 'keep'>): Promise<void> {
    return this.#rotatorOf(target).apply(target, pending, work);
  }

  probe(target: RotationTarget, pending: SecretVersion): Promise<ProbeAnswer> {
    return this.#rotatorOf(target).probe(target, pending);
  }

  verify(target: RotationTarget, pending: SecretVersion): Promise<void> {
    return this.#rotatorOf(target).verify(target, pending);
  }

  promoted({ name }: RotationTarget): Promise<void> {
    return name === applicationLoginName ? this.own.promoted() : Promise.resolve();
  }

  isInUse(target: RotationTarget, previous: SecretVersion): Promise<boolean> {
    return this.#rotatorOf(target).isInUse(target, previous);
  }

  revoke(target: RotationTarget, version: SecretVersion, current: SecretVersion | null): Promise<void> {
    return this.#rotatorOf(target).revoke(target, version, current);
  }

  #rotatorOf({ name }: { readonly name: string }): OwnLoginRotator | RemoteLoginRotator {
    return name === applicationLoginName ? this.own : this.#remote;
  }
}
