import { withTimeout } from './rotation-effects.js';
import { getSubject, withVersion } from './rotation-subject.js';
import type { SecretServices } from './secret-services.js';
import { markRevoked } from './secret-store.js';

/** Values of rotations that failed or were rolled back may be valid at their targets: they are revoked there. */
export async function discardAbandoned(
  services: SecretServices,
  effectTimeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const found = await services.database.query<{ secretId: string; generation: number }>(
    `SELECT version.secret AS "secretId", version.generation
     FROM public.secret_versions AS version
       JOIN public.rotations AS rotation ON rotation.secret = version.secret AND rotation.generation = version.generation
     WHERE version.revoked_at IS NULL AND rotation.status IN ('FAILED', 'ROLLED_BACK')
       AND version.label IS DISTINCT FROM 'CURRENT' AND version.label IS DISTINCT FROM 'PREVIOUS'`,
  );
  for (const { secretId, generation } of found.rows) {
    signal.throwIfAborted();
    await discard(services, secretId, generation, effectTimeoutMs);
  }
}

async function discard(
  services: SecretServices,
  secretId: string,
  generation: number,
  effectTimeoutMs: number,
): Promise<void> {
  try {
    const { rotator, target } = await getSubject(services, secretId);
    await withVersion(services, secretId, { generation }, async (version) => {
      if (version !== null) await withTimeout(rotator.revoke(target, version), effectTimeoutMs);
    });
    await services.append({ alongside: (client) => markRevoked(client, secretId, generation) });
  } catch (error) {
    const named = { err: error, secret: secretId, generation };
    services.log.warn(named, 'an abandoned value could not be revoked: tried again');
  }
}
