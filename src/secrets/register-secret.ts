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
  /** What everybody may see of that value. */
  readonly facts: Readonly<Record<string, unknown>>;
  readonly slot: string | null;
  /** What lets the rotator in at the target; null where it needs nothing. */
  readonly credential: Uint8Array | null;
  /** Where it is a matter of the secret and not of its type. */
  readonly zeroDowntime?: boolean;
  readonly origin: CallOrigin;
}

export interface RegistrationStore {
  readonly database: Queryable;
  readonly append: Append;
  readonly ring: KeyRing;
  readonly rotators: ReadonlyMap<SecretType, Rotator>;
}

/**
 * Registers a secret with the value it has now, so that it is rotated from here on. Secret, value and `SecretRegistered` entry
 * commit together. Throws BAD_USER_INPUT where there is no rotator for it or it is registered already.
 */
export async function registerSecret(store: RegistrationStore, registration: Registration): Promise<SecretRow> {
  const { type, name, settings, origin } = registration;
  const rotator = store.rotators.get(type);
  if (rotator === undefined) throw new DaybookError('BAD_USER_INPUT', `this node rotates no ${type} secrets`);
  if (name.length < 1 || name.length > 200 || !name.isWellFormed() || name.includes('\0')) {
    throw new DaybookError('BAD_USER_INPUT', 'secretName must have 1 to 200 characters');
  }
  const id = randomUUID();
  const zeroDowntime = registration.zeroDowntime ?? rotator.zeroDowntime;
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
        const { value, facts, slot, credential } = registration;
        await insertVersion(client, store.ring, {
          secretId: id,
          generation: 1,
          label: 'CURRENT',
          slot,
          facts,
          value,
        });
        if (credential !== null) await storeCredential(client, store.ring, id, credential);
      },
    });
  } catch (error) {
    if (sqlState((error as Error).cause) !== uniqueViolation) throw error;
    throw new DaybookError('BAD_USER_INPUT', `${type} secret ${name} is registered already`, { cause: error });
  }
  return getSecret(store.database, type, name);
}
