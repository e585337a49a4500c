import type { Append } from '../access/request-calls.js';
import type { RotationStatus } from '../core/rotation.js';
import type { CallOrigin } from '../ledger/new-entries.js';
import { stepEntries } from './secret-entries.js';
import type { SecretRow } from './secret-store.js';

const noteCharactersMax = 500;

type Client = Parameters<NonNullable<Parameters<Append>[0]['alongside']>>[0];

/** One step of a rotation. */
export interface RotationStep {
  readonly secret: Pick<SecretRow, 'type' | 'name'>;
  /** As it was read: the step is refused where its status or its fence is another by now. */
  readonly rotation: {
    readonly id: string;
    readonly generation: number;
    readonly status: RotationStatus;
    readonly fence: string;
    readonly requestedBy: string | null;
  };
  readonly to: RotationStatus;
  readonly note: string | null;
  readonly origin: CallOrigin;
  /** Commits with the step. */
  readonly alongside?: (client: Client) => Promise<void>;
}

/** The status, its step, its entry and what belongs to it commit together. Throws ROTATION_CONFLICT where somebody else has it. */
export async function stepRotation(append: Append, step: RotationStep): Promise<void> {
  await commitStep(append, step, (_client, fence) => Promise.resolve(fence));
}

/** The same by somebody who does not hold the rotation: whoever holds it changes nothing any more. */
export async function seizeAndStep(append: Append, step: RotationStep): Promise<void> {
  await commitStep(append, step, async (client, fence) => {
    await client.query(
      'UPDATE public.rotations SET fence = fence + 1, holder = NULL, leased_until = NULL WHERE id = $1 AND fence = $2',
      [step.rotation.id, fence],
    );
    return (BigInt(fence) + 1n).toString();
  });
}

async function commitStep(
  append: Append,
  { secret, rotation, to, note: wholeNote, origin, alongside }: RotationStep,
  takeFence: (client: Client, fence: string) => Promise<string>,
): Promise<void> {
  const note = wholeNote?.slice(0, noteCharactersMax) ?? null;
  await append({
    entries: stepEntries(secret, rotation, to, note, origin),
    alongside: async (client) => {
      const fence = await takeFence(client, rotation.fence);
      await client.query('SELECT daybook.step_rotation($1, $2, $3, $4, $5)', [
        rotation.id,
        fence,
        rotation.status,
        to,
        note,
      ]);
      await alongside?.(client);
    },
  });
}
