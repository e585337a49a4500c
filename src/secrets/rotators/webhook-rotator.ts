import { randomBytes, randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '../../clock.js';
import { timestampFromMs } from '../../core/timestamp.js';
import { decodeWebhookKey, signWebhook } from '../../core/webhook-signature.js';
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
import { callTarget, isRefusal, isSuccess, parseTargetUrl, targetTimeoutMsDefault } from './call-target.js';

/** Length of a value that the service makes. */
const valueBytes = 32;
const valueCharactersMax = 8_192;
const referenceCharactersMax = 200;

const yesOrNo = z.enum(['true', 'false']);
const settingsForm = z.strictObject({
  url: z.string(),
  zeroDowntime: yesOrNo.optional(),
  makesValues: yesOrNo.optional(),
  reportsUse: yesOrNo.optional(),
  reference: z.string().max(referenceCharactersMax).optional(),
});

/** What the other side is asked to do. */
type Step = 'create' | 'set' | 'test' | 'finish' | 'usage' | 'revoke';

interface Call {
  readonly step: Step;
  readonly generation: number;
  /** How the target calls the value, where it said so. */
  readonly reference?: unknown;
  /** Only where the step cannot do without. */
  readonly value?: Uint8Array | null;
  /** Tells calls of one step and generation apart that are not about the same: the generation that was given up. */
  readonly after?: number;
}

/** They are asked anew each time. */
const questions: ReadonlySet<Step> = new Set(['test', 'usage']);

/**
 * Rotates what is elsewhere, by calls to an address that whoever runs the target provides: docs/rotation.md is their contract. Calls
 * are signed as Standard Webhooks says; the credential is the key. The id of a call that changes something names secret, generation
 * and step: the same id asks for the same end again.
 */
export class WebhookRotator implements Rotator {
  readonly type = 'WEBHOOK';
  readonly zeroDowntime = true;

  constructor(
    private readonly clock: Clock,
    private readonly timeoutMs = targetTimeoutMsDefault,
  ) {}

  nextSlot(): null {
    return null;
  }

  adopt({ settings, value, credential }: NewSecret): Promise<AdoptedSecret> {
    const { zeroDowntime, reference } = parseSettings(settings);
    if (credential === null || decodeWebhookKey(Buffer.from(credential).toString()) === null) {
      throw new DaybookError(
        'BAD_USER_INPUT',
        'WEBHOOK needs a key of at least 16 bytes as its credential, to sign calls',
      );
    }
    if (!zeroDowntime && value === null) {
      throw new DaybookError(
        'BAD_USER_INPUT',
        'a target with one place needs the value it has, to be able to go back to it',
      );
    }
    return Promise.resolve({
      slot: null,
      facts: reference === undefined ? {} : { reference },
      credential,
      zeroDowntime,
    });
  }

  async create(target: RotationTarget, given: Uint8Array | null, generation: number) {
    if (given !== null) return { value: given, facts: {} };
    if (!parseSettings(target.settings).makesValues) {
      return { value: Buffer.from(randomBytes(valueBytes).toString('base64url')), facts: {} };
    }
    const { status, json } = await this.#call(target, { step: 'create', generation });
    if (isRefusal(status)) throw refused('create', status);
    const value = isSuccess(status) ? valueOf(json) : null;
    if (value === null) throw unavailable('create', status);
    return { value, facts: factsOf(json) };
  }

  async apply(target: RotationTarget, pending: SecretVersion, work: RotationWork): Promise<void> {
    const { status, json } = await this.#call(target, { step: 'set', ...pending, reference: pending.facts.reference });
    if (isRefusal(status)) throw refused('set', status);
    if (!isSuccess(status)) throw unavailable('set', status);
    await work.keep({ facts: factsOf(json) });
  }

  async probe(target: RotationTarget, pending: SecretVersion): Promise<ProbeAnswer> {
    const works = await this.#test(target, pending);
    return works ? 'WORKS' : 'ABSENT';
  }

  async verify(target: RotationTarget, pending: SecretVersion): Promise<void> {
    if (await this.#test(target, pending)) return;
    throw new DaybookError('SECRET_REFUSED', 'the target took the new value, and its test says that it does not work');
  }

  /** A hint: it comes again before the value before is revoked. */
  async promoted(target: RotationTarget, current: SecretVersion): Promise<void> {
    await this.#do(target, 'finish', current);
  }

  async isInUse(target: RotationTarget, previous: SecretVersion): Promise<boolean> {
    if (!parseSettings(target.settings).reportsUse) return false;
    const { generation, facts } = previous;
    const { status, json } = await this.#call(target, { step: 'usage', generation, reference: facts.reference });
    if (!isSuccess(status) || typeof json.inUse !== 'boolean') throw unavailable('usage', status);
    return json.inUse;
  }

  /** By evidence: the test with the value must say that it does not work, and that of the current one that it does. */
  async revoke(target: RotationTarget, version: SecretVersion, current: SecretVersion | null): Promise<void> {
    const isBefore = current !== null && current.generation > version.generation;
    if (isBefore) await this.#do(target, 'finish', current);
    if (parseSettings(target.settings).zeroDowntime) {
      await this.#do(target, 'revoke', version);
    } else if (!isBefore && current !== null) {
      // One place, which may have the value that was given up: the current one is put back.
      const { status } = await this.#call(target, {
        step: 'set',
        ...current,
        reference: current.facts.reference,
        after: version.generation,
      });
      if (!isSuccess(status)) throw unavailable('set', status);
      if (!(await this.#test(target, current))) throw stillOther();
    }
    if (version.value !== null && (await this.#test(target, version))) {
      throw new DaybookError('SECRET_UNAVAILABLE', 'the test of the target says that the value still works');
    }
  }

  /** Whether the value works, as the target says. Throws SECRET_UNAVAILABLE where it does not say. */
  async #test(target: RotationTarget, version: SecretVersion): Promise<boolean> {
    const { status, json } = await this.#call(target, { step: 'test', ...version, reference: version.facts.reference });
    if (!isSuccess(status) || typeof json.works !== 'boolean') throw unavailable('test', status);
    return json.works;
  }

  async #do(target: RotationTarget, step: 'finish' | 'revoke', { generation, facts }: SecretVersion): Promise<void> {
    const { status } = await this.#call(target, { step, generation, reference: facts.reference });
    if (!isSuccess(status)) throw unavailable(step, status);
  }

  async #call(target: RotationTarget, { step, generation, reference, value, after }: Call) {
    const { url } = parseSettings(target.settings);
    const key = target.credential && decodeWebhookKey(Buffer.from(target.credential).toString());
    if (!key)
      throw new DaybookError('SECRET_UNAVAILABLE', 'the key that signs calls is missing, or shorter than 16 bytes');
    const nowMs = this.clock.nowMs();
    const distinction = questions.has(step) ? randomUUID() : after;
    const id = ['rotation', target.id, generation, step, distinction].filter((part) => part !== undefined).join('_');
    const data = {
      step,
      secretType: this.type,
      secretName: target.name,
      generation,
      ...(typeof reference === 'string' ? { reference } : {}),
      ...(value ? { value: Buffer.from(value).toString() } : {}),
    };
    const body = JSON.stringify({ type: 'secret.rotation', timestamp: timestampFromMs(nowMs), data });
    const timestamp = Math.floor(nowMs / 1_000);
    const headers = {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': signWebhook(key, id, timestamp, body),
    };
    return callTarget({ url, method: 'POST', headers, body, timeoutMs: this.timeoutMs });
  }
}

function parseSettings(settings: Readonly<Record<string, unknown>>) {
  const parsed = settingsForm.safeParse(settings);
  if (!parsed.success) {
    throw new DaybookError(
      'BAD_USER_INPUT',
      'settings of WEBHOOK: url; zeroDowntime, makesValues and reportsUse are true or false; reference of the value it has now',
    );
  }
  const { url, zeroDowntime, makesValues, reportsUse, reference } = parsed.data;
  return {
    url: parseTargetUrl(url, 'url'),
    zeroDowntime: zeroDowntime !== 'false',
    makesValues: makesValues === 'true',
    reportsUse: reportsUse === 'true',
    reference,
  };
}

function valueOf({ value }: Readonly<Record<string, unknown>>): Uint8Array | null {
  if (typeof value !== 'string' || value === '' || value.length > valueCharactersMax) return null;
  return Buffer.from(value);
}

function factsOf({ reference }: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (typeof reference !== 'string' || reference.length > referenceCharactersMax) return {};
  return { reference };
}

function refused(step: Step, status: number): DaybookError {
  return new DaybookError('SECRET_REFUSED', `the target refuses ${step} with ${status}`);
}

function unavailable(step: Step, status: number): DaybookError {
  return new DaybookError('SECRET_UNAVAILABLE', `the target answers ${step} with ${status} and nothing that is known`);
}

function stillOther(): DaybookError {
  return new DaybookError(
    'SECRET_UNAVAILABLE',
    'the current value was put back, and its test says that it does not work',
  );
}
