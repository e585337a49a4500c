import { randomUUID } from 'node:crypto';
import type { Queryable } from '../../ledger/read-entries.js';
import type { Append } from '../../access/request-calls.js';
import { insertApiKey, markApiKeyRevoked, newSecret, type ApiKeyStore } from '../../access/api-key-store.js';
import type { Role } from '../../access/principal.js';
import { encodeCanonicalJson } from '../../core/canonical-json.js';
import type { RotationTarget, Rotator, SecretVersion } from '../../core/rotation.js';
import { DaybookError } from '../../errors.js';
import { serviceEntry } from '../../ledger/new-entries.js';

/** A key that was used so recently is in use, in seconds, unless the secret's settings say otherwise. */
const quietSecondsDefault = 900;

interface KeyRow {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly expiresAt: string | null;
  readonly prefix: string;
}

/** Rotates an API key of this service: both are valid until the old one is no longer used and its grace period is over. */
export class ApiKeyRotator implements Rotator {
  readonly type = 'API_KEY';
  readonly zeroDowntime = true;

  constructor(
    private readonly services: { readonly database: Queryable; readonly append: Append; readonly apiKeys: ApiKeyStore },
  ) {}

  nextSlot(): null {
    return null;
  }

  async adopt({ name, settings }: Pick<RotationTarget, 'name' | 'settings'>) {
    const { quietSeconds } = settings;
    if (quietSeconds !== undefined && !(typeof quietSeconds === 'string' && /^\d{1,9}$/.test(quietSeconds))) {
      throw new DaybookError('BAD_USER_INPUT', 'quietSeconds is a whole number of seconds');
    }
    const { id, prefix } = await this.#readNewest(name);
    return { slot: null, facts: { keyId: id, prefix } };
  }

  create(_target: RotationTarget, given: Uint8Array | null) {
    if (given !== null) {
      return Promise.reject(new DaybookError('SECRET_REFUSED', 'API keys are made by the service: give no value'));
    }
    const { secret, prefix } = newSecret();
    return Promise.resolve({ value: Buffer.from(secret), facts: { keyId: randomUUID(), prefix } });
  }

  async apply(target: RotationTarget, pending: SecretVersion): Promise<void> {
    if ((await this.#read(keyIdOf(pending))) !== null) return;
    const current = await this.#readNewest(target.name);
    const { hash, prefix } = newSecret(textOf(pending));
    const key = {
      ...current,
      id: keyIdOf(pending),
      prefix,
      hash,
      createdBy: 'daybook',
      generation: pending.generation,
    };
    await this.services.append({
      entries: [keyEntry('ApiKeyCreated', 'CREATE', key)],
      alongside: (client) => insertApiKey(client, key),
    });
    this.services.apiKeys.forgetLookups();
  }

  async probe(_target: RotationTarget, pending: SecretVersion): Promise<'WORKS' | 'ABSENT'> {
    return (await this.#read(keyIdOf(pending))) === null ? 'ABSENT' : 'WORKS';
  }

  async verify(target: RotationTarget, pending: SecretVersion): Promise<void> {
    const principal = await this.services.apiKeys.authenticate(textOf(pending));
    if (principal?.name === target.name) return;
    throw new DaybookError('SECRET_REFUSED', `the new API key of ${target.name} does not open the service`);
  }

  promoted(): Promise<void> {
    return Promise.resolve();
  }

  async isInUse(target: RotationTarget, previous: SecretVersion): Promise<boolean> {
    const quietSeconds = Number(target.settings.quietSeconds ?? quietSecondsDefault);
    const used = await this.services.database.query(
      `SELECT FROM public.api_keys WHERE id = $1 AND revoked_at IS NULL
         AND last_used_at > clock_timestamp() - $2 * interval '1 second'`,
      [keyIdOf(previous), quietSeconds],
    );
    return used.rowCount === 1;
  }

  async revoke(_target: RotationTarget, version: SecretVersion): Promise<void> {
    const key = await this.#read(keyIdOf(version));
    if (key === null) return;
    await this.services.append({
      entries: [keyEntry('ApiKeyRevoked', 'DELETE', key)],
      alongside: (client) => markApiKeyRevoked(client, key.id, 'daybook'),
    });
    this.services.apiKeys.forgetLookups();
  }

  /** A valid key by its id. */
  async #read(id: string): Promise<KeyRow | null> {
    const found = await this.services.database.query<KeyRow>(
      `SELECT id, name, role, expires_at AS "expiresAt", prefix FROM public.api_keys WHERE id = $1 AND revoked_at IS NULL`,
      [id],
    );
    return found.rows[0] ?? null;
  }

  async #readNewest(name: string): Promise<KeyRow> {
    const found = await this.services.database.query<KeyRow>(
      `SELECT id, name, role, expires_at AS "expiresAt", prefix FROM public.api_keys
       WHERE name = $1 AND revoked_at IS NULL ORDER BY generation DESC LIMIT 1`,
      [name],
    );
    const [key] = found.rows;
    if (key === undefined) throw new DaybookError('SECRET_REFUSED', `no valid API key is called ${name}`);
    return key;
  }
}

function keyEntry(event: 'ApiKeyCreated' | 'ApiKeyRevoked', action: 'CREATE' | 'DELETE', key: KeyRow) {
  return serviceEntry({
    category: 'ADMIN',
    event,
    action,
    resource: `api-key/${key.id}`,
    details: encodeCanonicalJson({
      expiresAt: key.expiresAt ?? undefined,
      keyRole: key.role,
      name: key.name,
      prefix: key.prefix,
    }),
  });
}

function keyIdOf({ facts }: SecretVersion): string {
  return String(facts.keyId);
}

function textOf({ value }: SecretVersion): string {
  if (value === null) throw new TypeError('the version has no value');
  return Buffer.from(value).toString();
}
