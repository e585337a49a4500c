import { withTimeout } from './rotation-effects.js';
import { readAbandoned, releaseAbandoned, takeAbandoned, type AbandonedValue } from './rotation-rows.js';
import { getSubject, withTarget, withVersion } from './rotation-subject.js';
import type { SecretServices } from './secret-services.js';
import { markRevoked } from './secret-store.js';

/**
 * Values of rotations that failed or were rolled back may be valid at their targets: they are revoked there, the latest first.
 * That of a secret which is being rotated waits.
 */
export async function discardAbandoned(
  services: SecretServices,
  effectTimeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  for (const id of await readAbandoned(services.database)) {
    signal.throwIfAborted();
    await discardOne(services, id, effectTimeoutMs);
  }
}

/** The same for one rotation; nothing where it goes on, or has left nothing. */
export async function discardOne(services: SecretServices, id: string, effectTimeoutMs: number): Promise<void> {
  const abandoned = await takeAbandoned(services.database, services.node, id);
  if (abandoned === null) return;
  try {
    await discard(services, abandoned, effectTimeoutMs);
  } catch (error) {
    const named = { err: error, secret: abandoned.secretId, generation: abandoned.generation };
    services.log.warn(named, 'an abandoned value could not be revoked: tried again');
  } finally {
    await releaseAbandoned(services.database, abandoned);
  }
}

async function discard(
  services: SecretServices,
  { secretId, generation, isOverwritten }: AbandonedValue,
  effectTimeoutMs: number,
): Promise<void> {
  const { secret, rotator } = await getSubject(services, secretId);
  // In the place of a later value there is nothing of this one, and whatever is done to the place is done to that.
  if (!isOverwritten) {
    await withTarget(services, secret, (target) =>
      withVersion(services, secretId, { generation }, (version) =>
        withVersion(services, secretId, { label: 'CURRENT' }, async (current) => {
          if (version !== null) await withTimeout(rotator.revoke(target, version, current), effectTimeoutMs);
        }),
      ),
    );
  }
  await services.append({ alongside: (client) => markRevoked(client, secretId, generation) });
}
