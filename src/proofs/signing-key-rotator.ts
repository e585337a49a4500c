import { sign, verify, createPublicKey } from 'node:crypto';
import { probeKey } from '../access/root-key.js';
import type { RotationTarget, Rotator, SecretVersion } from '../core/rotation.js';
import { encodeVerifierKey, parseVerifierKey, type VerifierKey } from '../core/verifier-key.js';
import { DaybookError } from '../errors.js';
import { logNames, type LogName } from '../ledger/rows.js';
import { openPrivateKey, type SigningKeys } from './signing-keys.js';

/**
 * Rotates the key that signs a log's checkpoints. From its application to the end of the grace period checkpoints carry both
 * signatures, so that whoever has pinned the old key can pin the new one; afterwards the old key signs no more, and what it
 * signed stays good.
 */
export class SigningKeyRotator implements Rotator {
  readonly type = 'SIGNING_KEY';
  readonly zeroDowntime = true;

  constructor(private readonly keys: SigningKeys) {}

  nextSlot(): null {
    return null;
  }

  adopt({ name }: Pick<RotationTarget, 'name'>) {
    const log = logNames.find((each) => each === name);
    const key = log === undefined ? undefined : this.keys.verifiersOf(log).at(-1);
    if (key === undefined) return Promise.reject(new DaybookError('NOT_FOUND', `no log is called ${name}`));
    return Promise.resolve({ slot: null, facts: { keyId: key.keyId, verifierKey: encodeVerifierKey(key) } });
  }

  create(target: RotationTarget, given: Uint8Array | null) {
    if (given !== null) {
      return Promise.reject(new DaybookError('SECRET_REFUSED', 'signing keys are made by the service: give no value'));
    }
    const { key, pkcs8 } = this.keys.makeKey(logOf(target));
    return Promise.resolve({ value: pkcs8, facts: { keyId: key.keyId, verifierKey: encodeVerifierKey(key) } });
  }

  async apply(target: RotationTarget, pending: SecretVersion): Promise<void> {
    await this.keys.store(logOf(target), verifierOf(pending), valueOf(pending), pending.generation);
  }

  async probe(target: RotationTarget, pending: SecretVersion): Promise<'WORKS' | 'ABSENT'> {
    await this.keys.refresh();
    return this.#isSigning(target, pending) ? 'WORKS' : 'ABSENT';
  }

  /** ABSENT where the key was ended, or what is stored of it was altered. */
  async probeCurrent(target: RotationTarget, current: SecretVersion): Promise<'WORKS' | 'ABSENT' | 'UNKNOWN'> {
    await this.keys.refresh();
    if (!this.#isSigning(target, current)) return 'ABSENT';
    return probeKey(this.keys.checkStored(verifierOf(current).keyId));
  }

  async verify(target: RotationTarget, pending: SecretVersion): Promise<void> {
    await this.keys.refresh();
    const text = Buffer.from(`${target.name}\nrotation probe\n`);
    const privateKey = openPrivateKey(valueOf(pending));
    const signature = sign(null, text, privateKey);
    const { keyId } = verifierOf(pending);
    const isRight = this.#isSigning(target, pending) && verify(null, text, createPublicKey(privateKey), signature);
    if (!isRight) throw new DaybookError('SECRET_REFUSED', `the signing key ${keyId} is not stored as it was made`);
  }

  async promoted(): Promise<void> {
    await this.keys.refresh();
  }

  isInUse(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async revoke(_target: RotationTarget, version: SecretVersion): Promise<void> {
    const { name, keyId } = verifierOf(version);
    await this.keys.end(keyId, name);
  }

  #isSigning(target: RotationTarget, version: SecretVersion): boolean {
    return this.keys.isSigning(logOf(target), verifierOf(version).keyId);
  }
}

function logOf({ name }: RotationTarget): LogName {
  const log = logNames.find((each) => each === name);
  if (log === undefined) throw new TypeError(`${name} is no log`);
  return log;
}

function verifierOf({ facts }: SecretVersion): VerifierKey {
  return parseVerifierKey(String(facts.verifierKey));
}

function valueOf({ value }: SecretVersion): Uint8Array {
  if (value === null) throw new TypeError('the version has no private key');
  return value;
}
