import type { Append } from '../access/request-calls.js';
import type { KeyRing } from '../access/key-ring.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import type { SecretType } from '../core/rotation.js';
import { DaybookError } from '../errors.js';
import { serviceEntry, type CallOrigin } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { getSecret, readVersion } from './secret-store.js';

const reasonCharacters = { min: 10, max: 1_000 };

export interface DisclosedSecret {
  readonly generation: number;
  /** Null where the value is kept elsewhere. */
  readonly value: string | null;
  /** What belongs to the value, such as the role that logs in with it. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/**
 * The current value of a secret as text: that of a signing key is its PKCS #8 form in base64. The SecretRead entry is durable
 * before the value is returned. Throws NOT_FOUND, and BAD_USER_INPUT without a reason.
 */
export async function disclose(
  { database, append, ring }: { readonly database: Queryable; readonly append: Append; readonly ring: KeyRing },
  { type, name, reason }: { readonly type: SecretType; readonly name: string; readonly reason: string },
  origin: CallOrigin,
): Promise<DisclosedSecret> {
  const { min, max } = reasonCharacters;
  if (reason.length < min || reason.length > max || !reason.isWellFormed() || reason.includes('\0')) {
    throw new DaybookError('BAD_USER_INPUT', `reason must have ${min} to ${max} characters: it goes on the record`);
  }
  const secret = await getSecret(database, type, name);
  const version = await readVersion(database, ring, secret.id, { label: 'CURRENT' });
  if (version === null) throw new DaybookError('NOT_FOUND', `${name} has no current value`);
  const entry = serviceEntry({
    ...origin,
    category: 'SECRET',
    event: 'SecretRead',
    action: 'READ',
    resource: `secret/${type}/${name}`,
    details: encodeCanonicalJson({ generation: version.generation, reason }),
  });
  await append({ entries: [entry] });
  const value = version.value === null ? null : Buffer.from(version.value).toString(encodingOf(type));
  version.value?.fill(0);
  return { generation: version.generation, value, facts: version.facts };
}

function encodingOf(type: SecretType): BufferEncoding {
  return type === 'SIGNING_KEY' ? 'base64' : 'utf8';
}
