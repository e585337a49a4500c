import { expect } from '@jest/globals';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import type { TestService } from './test-service.js';
import { waitUntil } from './wait-until.js';

/** Why every rotation of a test is asked for. */
const rotationReason = 'asked for by the test';
const never = new AbortController().signal;

/** A rotation as the API shows it. */
export interface ShownRotation {
  readonly id: string;
  readonly status: string;
  readonly generation: number;
  readonly steps: readonly { readonly status: string; readonly note: string | null }[];
}

const shown = 'id status generation steps { status note }';

/** A value as the API discloses it. */
export interface ReadSecret {
  readonly generation: number;
  readonly value: string;
  readonly facts: Readonly<Record<string, string>>;
}

/** One secret, over the API of a node. */
export class RotatedSecret {
  constructor(
    private readonly node: Pick<TestService, 'call' | 'context'>,
    readonly type: string,
    readonly name: string,
  ) {}

  async setGrace(seconds: number): Promise<void> {
    await this.#get('updateRotationPolicy', 'UpdateRotationPolicyInput', 'policy { secretType }', {
      secretType: this.type,
      gracePeriodDays: seconds / 86_400,
    });
  }

  async rotate(newValue?: string): Promise<ShownRotation> {
    const input = { ...this.#secret, reason: rotationReason, ...(newValue === undefined ? {} : { newValue }) };
    const made = await this.#get('rotateSecret', 'RotateSecretInput', `rotation { ${shown} }`, input);
    return made.rotation as ShownRotation;
  }

  async rollBack(rotationId: string): Promise<ShownRotation> {
    const input = { rotationId, reason: rotationReason };
    const made = await this.#get('rollBackRotation', 'RollBackRotationInput', `rotation { ${shown} }`, input);
    return made.rotation as ShownRotation;
  }

  async read(): Promise<ReadSecret> {
    const input = { ...this.#secret, reason: rotationReason };
    const read = await this.#get('readSecret', 'ReadSecretInput', 'generation value facts', input);
    return read as unknown as ReadSecret;
  }

  async get(id: string): Promise<ShownRotation> {
    const { data } = await this.node.call(`{ rotationHistory(first: 100) { nodes { ${shown} } } }`);
    const found = (data?.rotationHistory.nodes as ShownRotation[]).find((rotation) => rotation.id === id);
    if (found === undefined) throw new Error(`there is no rotation ${id}`);
    return found;
  }

  /** Takes the steps that are due, as the job does each minute, whatever pause was put between them. */
  async runDue(): Promise<void> {
    await this.node.context.services.database.query(
      `UPDATE public.rotations SET next_attempt_at = clock_timestamp()
       WHERE next_attempt_at > clock_timestamp() AND (grace_ends_at IS NULL OR grace_ends_at <= clock_timestamp())`,
    );
    await new RotationMachine(this.node.context.services.secrets).runDue(never);
  }

  /** As though the time of grace were over. */
  async endGrace(id: string): Promise<void> {
    await this.node.context.services.database.query(
      'UPDATE public.rotations SET grace_ends_at = clock_timestamp(), next_attempt_at = clock_timestamp() WHERE id = $1',
      [id],
    );
  }

  async untilStatus(id: string, status: string): Promise<ShownRotation> {
    return waitUntil(`the rotation is ${status}`, async () => {
      await this.runDue();
      const rotation = await this.get(id);
      return rotation.status === status ? rotation : null;
    });
  }

  get #secret() {
    return { secretType: this.type, secretName: this.name };
  }

  async #get(field: string, type: string, selection: string, input: object): Promise<Record<string, unknown>> {
    const { data, errors } = await this.node.call(
      `mutation ($input: ${type}!) { ${field}(input: $input) { ${selection} } }`,
      { input },
    );
    expect(errors).toBeUndefined();
    return data?.[field] as Record<string, unknown>;
  }
}
