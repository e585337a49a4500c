import type { RotationTarget, Rotator, SecretVersion } from '../core/rotation.js';
import type { SecretServices } from './secret-services.js';
import { readCredential, readSecrets, readVersion, type SecretRow, type VersionLabel } from './secret-store.js';

/** What a rotation is about. */
export interface RotationSubject {
  readonly secret: SecretRow;
  readonly rotator: Rotator;
}

/** Throws TypeError where the secret is not there, or this node has no rotator for it. */
export async function getSubject(
  { database, rotators }: Pick<SecretServices, 'database' | 'rotators'>,
  secretId: string,
): Promise<RotationSubject> {
  const secret = (await readSecrets(database)).find(({ id }) => id === secretId);
  const rotator = secret && rotators.get(secret.type);
  if (secret === undefined || rotator === undefined) throw new TypeError(`no rotator for the secret ${secretId}`);
  return { secret, rotator };
}

/** Does something with a secret as its rotator sees it, and overwrites its credential afterwards. */
export async function withTarget<Result>(
  { database, ring }: Pick<SecretServices, 'database' | 'ring'>,
  { id, name, settings }: SecretRow,
  use: (target: RotationTarget) => Promise<Result>,
): Promise<Result> {
  const credential = await readCredential(database, ring, id);
  try {
    return await use({ id, name, settings, credential });
  } finally {
    credential?.fill(0);
  }
}

/** Does something with a version, null where there is none, and overwrites its value afterwards. */
export async function withVersion<Result>(
  { database, ring }: Pick<SecretServices, 'database' | 'ring'>,
  secretId: string,
  by: { readonly label: VersionLabel } | { readonly generation: number },
  use: (version: SecretVersion | null) => Promise<Result> | Result,
): Promise<Result> {
  const version = await readVersion(database, ring, secretId, by);
  try {
    return await use(version);
  } finally {
    version?.value?.fill(0);
  }
}
