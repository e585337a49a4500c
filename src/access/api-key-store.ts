import { hash, randomBytes } from 'node:crypto';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Clock } from '../clock.js';
import { timestampFromMs } from '../core/timestamp.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { Principal, Role } from './principal.js';

/** A key is this prefix and 256 random bits in base64url; the prefix lets scanners find keys in texts. */
const keyPrefix = 'daybook_';
/** Characters of a key that are shown, to tell keys apart. */
const shownPrefixLength = 16;
/** How long a key that was looked up is believed: the longest a revoked key still works on another node. */
const cacheMs = 1_000;
const cachedKeysMax = 10_000;
const lastUsedIntervalMs = 10_000;

/** A key as stored and shown; the secret itself is kept nowhere. */
export interface ApiKeyRow {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly prefix: string;
  readonly createdAt: string;
  readonly createdBy: string | null;
  readonly expiresAt: string | null;
  readonly revokedAt: string | null;
  readonly revokedBy: string | null;
  readonly lastUsedAt: string | null;
}

const selectKeys = `SELECT id, name, role, prefix, created_at AS "createdAt", created_by AS "createdBy",
  expires_at AS "expiresAt", revoked_at AS "revokedAt", revoked_by AS "revokedBy", last_used_at AS "lastUsedAt"
  FROM public.api_keys`;

/** A new key's secret, the hash that is stored for it and the prefix that is shown. */
export function newSecret(secret = keyPrefix + randomBytes(32).toString('base64url')): {
  secret: string;
  hash: Buffer;
  prefix: string;
} {
  return { secret, hash: hashSecret(secret), prefix: secret.slice(0, shownPrefixLength) };
}

function hashSecret(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

/** Looks keys up, remembers when each was last used, and writes them inside a transaction of the ledger's. */
export class ApiKeyStore implements AsyncDisposable {
  readonly #database: Queryable;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #cache = new Map<string, { found: ApiKeyRow | null; atMs: number }>();
  readonly #used = new Set<string>();
  readonly #timer: NodeJS.Timeout;

  constructor(database: Queryable, clock: Clock, log: Logger) {
    this.#database = database;
    this.#clock = clock;
    this.#log = log;
    this.#timer = setInterval(() => void this.#writeLastUsed(), lastUsedIntervalMs);
    this.#timer.unref();
  }

  /** Whose key this is; null when it is unknown, revoked or expired. */
  async authenticate(secret: string): Promise<Principal | null> {
    const row = await this.#lookUp(secret);
    const nowMs = this.#clock.nowMs();
    if (row === null || row.revokedAt !== null) return null;
    if (row.expiresAt !== null && row.expiresAt <= timestampFromMs(nowMs)) return null;
    this.#used.add(row.id);
    return { keyId: row.id, name: row.name, role: row.role, expiresAt: row.expiresAt };
  }

  /** True for a key that was issued here, also when it is expired or revoked. */
  async isKnown(secret: string): Promise<boolean> {
    return (await this.#lookUp(secret)) !== null;
  }

  /** True while the key may still be used: asked again and again for connections that stay open. */
  async isValid(keyId: string): Promise<boolean> {
    const found = await this.#database.query(
      'SELECT FROM public.api_keys WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())',
      [keyId],
    );
    return found.rowCount === 1;
  }

  async list(): Promise<ApiKeyRow[]> {
    return (await this.#database.query<ApiKeyRow>(`${selectKeys} ORDER BY created_at, id`)).rows;
  }

  async read(id: string): Promise<ApiKeyRow | null> {
    return (await this.#database.query<ApiKeyRow>(`${selectKeys} WHERE id = $1`, [id])).rows[0] ?? null;
  }

  /** Forgets what was looked up, so that a key revoked on this node is refused at once. */
  forgetLookups(): void {
    this.#cache.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#writeLastUsed();
  }

  async #lookUp(secret: string): Promise<ApiKeyRow | null> {
    const keyHash = hashSecret(secret);
    const name = keyHash.toString('base64');
    const nowMs = this.#clock.nowMs();
    const known = this.#cache.get(name);
    if (known !== undefined && nowMs - known.atMs <= cacheMs) return known.found;
    const rows = await this.#database.query<ApiKeyRow>(`${selectKeys} WHERE key_hash = $1`, [keyHash]);
    const found = rows.rows[0] ?? null;
    if (this.#cache.size >= cachedKeysMax) this.#cache.clear();
    this.#cache.set(name, { found, atMs: nowMs });
    return found;
  }

  async #writeLastUsed(): Promise<void> {
    const ids = [...this.#used];
    this.#used.clear();
    if (ids.length === 0) return;
    try {
      await this.#database.query(
        'UPDATE public.api_keys SET last_used_at = clock_timestamp() WHERE id = ANY ($1::uuid[])',
        [ids],
      );
    } catch (error) {
      ids.forEach((id) => this.#used.add(id));
      this.#log.warn({ err: error }, 'could not write when API keys were last used: tried again later');
    }
  }
}

/** Inserts a key within the caller's transaction. */
export async function insertApiKey(
  client: pg.Client,
  key: {
    readonly id: string;
    readonly name: string;
    readonly role: Role;
    readonly prefix: string;
    readonly hash: Buffer;
    readonly createdBy: string | null;
    readonly expiresAt: string | null;
    /** 1 for a new key, higher for one that rotation makes beside it. */
    readonly generation?: number;
  },
): Promise<void> {
  await client.query(
    `INSERT INTO public.api_keys (id, name, role, prefix, key_hash, created_by, expires_at, generation)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [key.id, key.name, key.role, key.prefix, key.hash, key.createdBy, key.expiresAt, key.generation ?? 1],
  );
}

/** Marks a key revoked within the caller's transaction. */
export async function markApiKeyRevoked(client: pg.Client, id: string, revokedBy: string | null): Promise<void> {
  await client.query(
    'UPDATE public.api_keys SET revoked_at = clock_timestamp(), revoked_by = $2 WHERE id = $1 AND revoked_at IS NULL',
    [id, revokedBy],
  );
}
