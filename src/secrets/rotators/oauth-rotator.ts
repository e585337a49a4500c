import type {
  AdoptedSecret,
  NewSecret,
  ProbeAnswer,
  RotationTarget,
  RotationWork,
  Rotator,
  SecretVersion,
} from '../../core/rotation.js';
import { DaybookError } from '../../errors.js';
import { isRefusal, targetTimeoutMsDefault } from './call-target.js';
import { OauthClient, type ClientRegistration, type ClientUse } from './oauth-client.js';

/**
 * Rotates the secret of an OAuth client by RFC 7592: the provider makes it, in answer to an update of the client's registration.
 * There is one at a time, so that the one before is refused from that moment on. The credential is the registration access token,
 * which each answer may replace.
 */
export class OauthRotator implements Rotator {
  readonly type = 'OAUTH';
  readonly zeroDowntime = false;

  constructor(private readonly timeoutMs = targetTimeoutMsDefault) {}

  nextSlot(): null {
    return null;
  }

  async adopt({ settings, value, credential }: NewSecret): Promise<AdoptedSecret> {
    if (value === null || credential === null) {
      throw new DaybookError(
        'BAD_USER_INPUT',
        'OAUTH needs the client secret as its value and the registration access token as its credential',
      );
    }
    const client = new OauthClient(settings, this.timeoutMs);
    const { status, registration } = await client.read(textOf(credential));
    if (registration === null) {
      if (status !== 200 && !isRefusal(status)) throw unavailable(`the registration answers ${status}`);
      throw new DaybookError(
        'BAD_USER_INPUT',
        `the registration access token does not open the registration of this client (${status})`,
      );
    }
    const { outcome, why } = await client.trySecret(textOf(value), registration.use);
    if (outcome === 'UNKNOWN') throw unavailable(why);
    if (outcome === 'REFUSED') throw new DaybookError('BAD_USER_INPUT', 'the provider refuses the client secret');
    return { slot: null, facts: factsOf(registration), credential, ...credentialOf(registration) };
  }

  /** A value is given where it was changed at the provider; otherwise the provider makes it when it is applied. */
  create(_target: RotationTarget, given: Uint8Array | null) {
    return Promise.resolve({ value: given, facts: { isGiven: given !== null } });
  }

  async apply(target: RotationTarget, pending: SecretVersion, work: RotationWork): Promise<void> {
    const client = new OauthClient(target.settings, this.timeoutMs);
    if (pending.facts.isGiven === true) return this.#checkGiven(client, pending, work);
    const before = await client.read(textOf(target.credential));
    if (before.registration === null) throw refusedOrUnavailable(before.status, 'the registration cannot be read');
    await work.keep({ facts: factsOf(before.registration), ...credentialOf(before.registration) });
    const accessToken = before.registration.accessToken ?? textOf(target.credential);
    const { status, registration } = await client.update(accessToken, before.registration.metadata);
    if (registration === null) throw refusedOrUnavailable(status, 'the update of the registration is not taken');
    const { clientSecret } = registration;
    if (clientSecret === null || clientSecret === readText(work.current?.value)) {
      await work.keep(credentialOf(registration));
      throw new DaybookError(
        'SECRET_REFUSED',
        'the provider makes no new client secret when a registration is updated, which RFC 7592 leaves to it: have it do so, ' +
          'or change the secret there and rotate again, which takes it from the registration',
      );
    }
    const isTakenOver = clientSecret === before.registration.clientSecret;
    // In one transaction: a token that was replaced opens nothing any more.
    await work.keep({ value: Buffer.from(clientSecret), facts: { isTakenOver }, ...credentialOf(registration) });
  }

  async probe(target: RotationTarget, pending: SecretVersion, work: RotationWork): Promise<ProbeAnswer> {
    const client = new OauthClient(target.settings, this.timeoutMs);
    if (pending.value !== null) {
      const { outcome } = await client.trySecret(textOf(pending.value), useOf(pending, work.current));
      if (outcome === 'REFUSED' && pending.facts.isGiven === true) return 'ABSENT';
      return outcome === 'WORKS' ? 'WORKS' : 'UNKNOWN';
    }
    const { status, registration } = await client.read(textOf(target.credential));
    if (registration === null) throw await this.#lost(client, work.current, `the registration answers ${status}`);
    const { clientSecret } = registration;
    if (clientSecret === readText(work.current?.value)) {
      await work.keep(credentialOf(registration));
      return 'ABSENT';
    }
    if (clientSecret === null) {
      await work.keep(credentialOf(registration));
      throw await this.#lost(client, work.current, 'the registration does not say the client secret');
    }
    await work.keep({ value: Buffer.from(clientSecret), ...credentialOf(registration) });
    return 'WORKS';
  }

  /** Whether the provider still takes the secret; one that says no for another reason has said nothing. */
  async probeCurrent(target: RotationTarget, current: SecretVersion): Promise<ProbeAnswer> {
    const client = new OauthClient(target.settings, this.timeoutMs);
    const { outcome } = await client.trySecret(textOf(current.value), useOf(current, null));
    if (outcome === 'WORKS') return 'WORKS';
    return outcome === 'REFUSED' ? 'ABSENT' : 'UNKNOWN';
  }

  /** The registration is compared too, for the record: to go back is not possible any more. */
  async verify(target: RotationTarget, pending: SecretVersion, work: RotationWork): Promise<string | void> {
    const client = new OauthClient(target.settings, this.timeoutMs);
    const use = useOf(pending, work.current);
    const { outcome, why } = await client.trySecret(textOf(pending.value), use);
    if (outcome !== 'WORKS') {
      const { current } = work;
      const before = current?.value ? await client.trySecret(textOf(current.value), use) : null;
      if (outcome === 'REFUSED' && before?.outcome === 'WORKS') {
        throw new DaybookError('SECRET_REFUSED', 'the provider refuses the new client secret and takes the one before');
      }
      throw unavailable(outcome === 'REFUSED' ? 'the provider refuses the new client secret' : why);
    }
    const { status, registration } = await client.read(textOf(target.credential)).catch(() => noAnswer);
    if (registration === null) return `the registration could not be read afterwards (${status || 'no answer'})`;
    await work.keep(credentialOf(registration));
    const expected = pending.facts.registration;
    if (expected !== undefined && expected !== registration.fingerprint) {
      return 'the registration is not as it was before the update: compare it at the provider';
    }
    if (pending.facts.isTakenOver === true) return 'the provider had another client secret already, which was taken';
  }

  promoted(): Promise<void> {
    return Promise.resolve();
  }

  /** The provider has one secret: nobody gets in with another. */
  isInUse(): Promise<boolean> {
    return Promise.resolve(false);
  }

  /** By evidence: the provider must refuse it. It has no call that makes one secret of a client invalid. */
  async revoke(target: RotationTarget, version: SecretVersion, current: SecretVersion | null): Promise<void> {
    if (version.value === null) return;
    const client = new OauthClient(target.settings, this.timeoutMs);
    const { outcome, why } = await client.trySecret(textOf(version.value), useOf(version, current));
    if (outcome === 'REFUSED') return;
    throw unavailable(outcome === 'WORKS' ? 'the provider still takes this client secret' : why);
  }

  async #checkGiven(client: OauthClient, pending: SecretVersion, { current }: RotationWork): Promise<void> {
    const secret = textOf(pending.value);
    if (secret === readText(current?.value)) {
      throw new DaybookError('SECRET_REFUSED', 'the client secret that was given is the current one');
    }
    const { outcome, why } = await client.trySecret(secret, useOf(pending, current));
    if (outcome === 'WORKS') return;
    if (outcome === 'UNKNOWN') throw unavailable(why);
    throw new DaybookError(
      'SECRET_REFUSED',
      'client secrets are chosen by the provider: give none, or one that it has already',
    );
  }

  /** The provider may have made a secret whose answer never came here, together with a token that opens the registration. */
  async #lost(client: OauthClient, current: SecretVersion | null, what: string): Promise<DaybookError> {
    const trial = current?.value ? await client.trySecret(textOf(current.value), useOf(current, null)) : null;
    const stands =
      trial?.outcome === 'WORKS'
        ? 'the current client secret still works'
        : trial?.outcome === 'REFUSED'
          ? 'the current client secret is refused: clients are locked out'
          : 'whether the current client secret works is unknown';
    return unavailable(
      `${what}, and ${stands}. Have the provider make a new secret and registration access token, and rotate with them as ` +
        'newValue and newCredential',
    );
  }
}

const noAnswer = { status: 0, registration: null } as const;

function factsOf({ fingerprint, use }: ClientRegistration): Readonly<Record<string, unknown>> {
  return { registration: fingerprint, use };
}

function credentialOf({ accessToken }: ClientRegistration): { readonly credential?: Uint8Array } {
  return accessToken === null ? {} : { credential: Buffer.from(accessToken) };
}

/** As it was when the version was made, or the one before it. */
function useOf(version: SecretVersion, other: SecretVersion | null): ClientUse {
  const use = version.facts.use ?? other?.facts.use;
  if (use === undefined) throw new TypeError('no version says how the client logs in');
  return use as ClientUse;
}

function textOf(bytes: Uint8Array | null): string {
  if (bytes === null) throw new TypeError('what is needed to log in is not there');
  return Buffer.from(bytes).toString();
}

function readText(bytes: Uint8Array | null | undefined): string | null {
  return bytes ? textOf(bytes) : null;
}

function refusedOrUnavailable(status: number, what: string): DaybookError {
  const note = `${what}: the provider answers ${status}`;
  return isRefusal(status) ? new DaybookError('SECRET_REFUSED', note) : unavailable(note);
}

function unavailable(note: string): DaybookError {
  return new DaybookError('SECRET_UNAVAILABLE', note);
}
