import { randomUUID } from 'node:crypto';
import { expect } from '@jest/globals';
import type { SecretType } from '../../src/core/rotation.js';
import { requestRotation } from '../../src/secrets/request-rotation.js';
import { RotationMachine } from '../../src/secrets/rotation-machine.js';
import { serviceSecretOrigin } from '../../src/secrets/secret-entries.js';
import type { TestService } from './test-service.js';
import { waitUntil } from './wait-until.js';

const never = new AbortController().signal;
const reason = 'asked for by the test';

export interface Rotation {
  readonly id: string;
  readonly status: string;
  readonly generation: number;
  readonly steps: readonly { readonly status: string; readonly note: string | null }[];
}

/** What tests of rotations do with one service. Effects outside have `effectTimeoutMs`. */
export class RotationBed {
  constructor(
    readonly service: TestService,
    private readonly effectTimeoutMs = 5_000,
  ) {}

  /** Takes whatever is due, and makes everything due before where `atOnce`. */
  async runDue(atOnce = true): Promise<void> {
    const { secrets } = this.service.context.services;
    if (atOnce) {
      await secrets.database.query(
        `UPDATE public.rotations SET next_attempt_at = clock_timestamp()
         WHERE status NOT IN ('ROTATED', 'REVOKED', 'FAILED', 'ROLLED_BACK')`,
      );
    }
    await new RotationMachine(secrets, this.effectTimeoutMs).runDue(never);
  }

  async register(input: Record<string, unknown>): Promise<string | undefined> {
    const { errors } = await this.service.call(
      `mutation ($input: RegisterSecretInput!) { registerSecret(input: $input) { schedule { status zeroDowntime } } }`,
      { input },
    );
    return errors?.[0]?.extensions.code;
  }

  /** By the API: with the time that effects have in production. */
  async rotate(input: Record<string, unknown>): Promise<Rotation> {
    const { data, errors } = await this.service.call(
      `mutation ($input: RotateSecretInput!) { rotateSecret(input: $input) {
         rotation { id status generation steps { status note } } } }`,
      { input: { reason, ...input } },
    );
    expect(errors).toBeUndefined();
    return (data?.rotateSecret as { rotation: Rotation }).rotation;
  }

  /** Plans a rotation and carries nothing out; `isValueGiven`: as for somebody who has a value for it. */
  async plan(type: SecretType, name: string, isValueGiven = false): Promise<string> {
    const { secrets } = this.service.context.services;
    const origin = serviceSecretOrigin(randomUUID());
    const { id } = await requestRotation(secrets, {
      type,
      name,
      reason,
      requestedBy: 'the test',
      isValueGiven,
      origin,
    });
    return id;
  }

  async read(id: string): Promise<Rotation> {
    const { data } = await this.service.call(
      '{ rotationHistory(first: 100) { nodes { id status generation steps { status note } } } }',
    );
    const found = (data?.rotationHistory.nodes as Rotation[]).find((node) => node.id === id);
    if (found === undefined) throw new Error(`no rotation ${id}`);
    return found;
  }

  /** The current value, as its users get it. */
  async value(secretType: string, secretName: string): Promise<string | null> {
    const { data } = await this.service.call(
      'mutation ($input: ReadSecretInput!) { readSecret(input: $input) { value } }',
      { input: { secretType, secretName, reason } },
    );
    return data?.readSecret.value as string | null;
  }

  /** Takes whatever is due until the rotation is where it is expected, with its grace period cut short. */
  async becomes(id: string, expected: string): Promise<void> {
    await waitUntil(`the rotation is ${expected}`, async () => {
      const { database } = this.service.context.services.secrets;
      await database.query(
        `UPDATE public.rotations SET grace_ends_at = clock_timestamp(), next_attempt_at = clock_timestamp()
         WHERE id = $1 AND status = 'ROTATED'`,
        [id],
      );
      await this.runDue();
      return (await this.read(id)).status === expected;
    });
  }

  /** Events of the alerts about one rotation, in order. */
  async alerts(rotation: string): Promise<string[]> {
    const found = await this.service.context.services.database.query<{ event: string }>(
      `SELECT event FROM public.audit_entries WHERE category = 'ALERT' AND details ->> 'rotation' = $1 ORDER BY chain_index`,
      [rotation],
    );
    return found.rows.map(({ event }) => event);
  }
}
