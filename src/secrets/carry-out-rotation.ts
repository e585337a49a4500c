import { RotationMachine } from './rotation-machine.js';
import { readRotation, type RotationRow } from './rotation-rows.js';
import type { SecretServices } from './secret-services.js';

/** What a caller gives for a rotation, as text; both null where the service, or the target, makes it. */
export interface GivenTexts {
  readonly value: string | null;
  readonly credential: string | null;
}

/**
 * Carries out a planned rotation on this node as far as it gets now, and returns it as it is then. Whoever planned it said whether
 * something is given.
 */
export async function carryOut(
  services: SecretServices,
  rotation: RotationRow,
  { value, credential }: GivenTexts,
  signal: AbortSignal,
): Promise<RotationRow> {
  const given = { rotationId: rotation.id, value: bytesOf(value), credential: bytesOf(credential) };
  try {
    await new RotationMachine(services).runOne(rotation.id, given, signal);
  } finally {
    given.value?.fill(0);
    given.credential?.fill(0);
  }
  return (await readRotation(services.database, rotation.id)) ?? rotation;
}

function bytesOf(text: string | null): Uint8Array | null {
  return text === null ? null : Buffer.from(text);
}
