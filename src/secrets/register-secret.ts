import { randomUUID } from 'node:crypto';
import type { Append } from '../access/request-calls.js';
import type { KeyRing } from '../access/key-ring.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import type { Rotator, SecretType } from '../core/rotation.js';
import { sqlState } from '../db/admin-connection.js';
import { DaybookError } from '../errors.js';
import { serviceEntry, type CallOrigin } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { getSecret, insertVersion, storeCredential, type SecretRow } from './secret-store.js';

const uniqueViolation = '23505';

export interface Registration {
  readonly type: SecretType;
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
  /** The value that is current now; null where it is kept elsewhere. */
  readonly value: Uint8Array | null;
  /** What lets the rotator in at the target; null where it needs nothing. */
  readonly credential: Uint8Array | null;
  readonly origin: CallOrigin;
}

export interface RegistrationStore {
  readonly database: Queryable;
  readonly append: Append;
  readonly ring: KeyRing;
  readonly rotators: ReadonlyMap<SecretType, Rotator>;
}

/**
 * Registers a secret with the value it has now, so that it is rotated from here on, after its rotator has looked at it. Secret,
 * value and `SecretRegistered` entry commit together. Throws BAD_USER_INPUT where there is no rotator for it or it is registered
 * already, and what the rotator's `adopt` throws.
 */
export async function registerSecret(store: RegistrationStore, registration: Registration): Promise<SecretRow> {
  const { type, name, settings, origin } = registration;
  const rotator = store.rotators.get(type);
  if (rotator === undefined) throw new DaybookError('BAD_USER_INPUT', `this node rotates no ${type} secrets`);
  if (name.length < 1 || name.length > 200 || !name.isWellFormed() || name.includes('\0')) {
    throw new DaybookError('BAD_USER_INPUT', 'secretName must have 1 to 200 characters');
  }
  // Before the target is asked, which may replace the credential by it: then that has to be kept.
  if (await isRegistered(store.database, type, name)) throw alreadyRegistered(type, name);
  const sealer = await store.ring.openSealer();
  const given = { value: registration.value, credential: registration.credential };
  const adopted = await rotator.adopt({ name, settings, ...given });
  if (given.credential !== null && adopted.credential === undefined) {
    throw new DaybookError('BAD_USER_INPUT', `a ${type} secret takes no credential`);
  }
  const { facts, slot, value = given.value, credential, zeroDowntime = rotator.zeroDowntime } = adopted;
  const id = randomUUID();
  const entry = serviceEntry({
    ...origin,
    category: 'SECRET',
    event: 'SecretRegistered',
    action: 'CREATE',
    resource: `secret/${type}/${name}`,
    details: encodeCanonicalJson({ settings, zeroDowntime }),
  });
  try {
    await store.append({
      entries: [entry],
      alongside: async (client) => {
        await client.query(
          `INSERT INTO public.secrets (id, type, name, settings, zero_downtime, registered_by) VALUES ($1, $2, $3, $4, $5, $6)`,
          [id, type, name, JSON.stringify(settings), zeroDowntime, origin.actor ?? 'unknown'],
        );
        await insertVersion(client, sealer, {
          secretId: id,
          generation: 1,
          label: 'CURRENT',
          slot,
          facts,
          value,
        });
        if (credential !== undefined) await storeCredential(client, sealer, id, credential);
      },
    });
  } catch (error) {
    if (sqlState((error as Error).cause) !== uniqueViolation) throw error;
    throw alreadyRegistered(type, name, error);
  }
  return getSecret(store.database, type, name);
}

async function isRegistered(database: Queryable, type: SecretType, name: string): Promise<boolean> {
  const found = await database.query('SELECT FROM public.secrets WHERE type = $1 AND name = $2', [type, name]);
  return found.rowCount === 1;
}

function alreadyRegistered(type: SecretType, name: string, cause?: unknown): DaybookError {
  return new DaybookError('BAD_USER_INPUT', `${type} secret ${name} is registered already`, { cause });
}
