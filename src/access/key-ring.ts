import { createSecretKey, randomBytes, randomUUID, type KeyObject } from 'node:crypto';
import { openSecret, sealSecret } from '../core/sealed-secret.js';
import { sqlState } from '../db/admin-connection.js';
import { DaybookError } from '../errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { Rewrapping, RootKey, WrappedKeys } from './root-key.js';

const keyBytes = 32;
const nonceBytes = 12;
const uniqueViolation = '23505';

/** A value as it is stored. */
export interface Sealed {
  /** Hex. */
  readonly sealedValue: string;
  readonly dataKey: DataKey;
}

/** A data key, wrapped by the encryption key of its generation. */
export interface DataKey {
  readonly id: string;
  readonly generation: number;
  /** Hex. */
  readonly wrapped: string;
}

export interface Sealer {
  /** Seals a value for one place, which `context` names. The data key has to be stored together with the value, before it. */
  seal(value: Uint8Array, context: string): Sealed;
}

/** How long things may be, in milliseconds. */
export interface KeyRingTimes {
  /** An encryption key is forgotten so long after it was unwrapped, and unwrapped again where it is needed. */
  readonly keyMemoryMs: number;
  /** So long a node may seal with a key that another node has replaced: what it seals then is wrapped anew by the rotation's end. */
  readonly freshMs: number;
}

const defaultTimes: KeyRingTimes = { keyMemoryMs: 300_000, freshMs: 1_000 };

interface KeyRow {
  readonly wrapped: string | null;
  readonly rootKeyId: string;
}

/**
 * Seals values, each with a data key of its own. Data keys are wrapped by the newest encryption key, whichever node made it; when
 * that rotates, they are wrapped anew and the values stay as they are. Encryption keys are unwrapped when they are needed, held
 * outside the heap, and forgotten after minutes; data keys are there for the moment of their use.
 */
export class KeyRing implements WrappedKeys {
  readonly #database: Queryable;
  readonly #root: RootKey;
  readonly #times: KeyRingTimes;
  /** Of one generation there is one unwrapping under way, whoever waits for it. */
  readonly #keys = new Map<number, Promise<KeyObject>>();
  #newest = 0;
  #readAtMs = -Infinity;

  private constructor(database: Queryable, root: RootKey, times: KeyRingTimes) {
    this.#database = database;
    this.#root = root;
    this.#times = times;
  }

  /** Makes the first encryption key where there is none. */
  static async open(database: Queryable, root: RootKey, times: Partial<KeyRingTimes> = {}): Promise<KeyRing> {
    const ring = new KeyRing(database, root, { ...defaultTimes, ...times });
    await ring.refresh();
    if (ring.#newest === 0) await ring.#makeFirst();
    return ring;
  }

  /** Generation of the key that wraps new data keys, as this node last saw it. */
  get newest(): number {
    return this.#newest;
  }

  /** Looks which keys there are: another node may have made or destroyed some. What was destroyed is forgotten here too. */
  async refresh(): Promise<void> {
    const readAtMs = performance.now();
    const found = await this.#database.query<{ generation: number; isThere: boolean }>(
      'SELECT generation, wrapped IS NOT NULL AS "isThere" FROM public.encryption_keys ORDER BY generation',
    );
    for (const { generation } of found.rows.filter(({ isThere }) => !isThere)) this.#keys.delete(generation);
    this.#newest = Math.max(this.#newest, found.rows.at(-1)?.generation ?? 0);
    this.#readAtMs = readAtMs;
  }

  /** A new encryption key, wrapped by the root key, to be stored as `generation`. Hex. */
  async wrapNewKey(generation: number): Promise<{ readonly wrapped: string; readonly rootKeyId: string }> {
    const key = randomBytes(keyBytes);
    try {
      const { wrapped, rootKeyId } = await this.#root.wrap(key, contextOfGeneration(generation));
      return { wrapped: Buffer.from(wrapped).toString('hex'), rootKeyId };
    } finally {
      key.fill(0);
    }
  }

  /**
   * What seals values now, without waiting for anything more: to be opened before the transaction that stores them, as the root key
   * may be far away, and dropped after it. Throws what the root key throws.
   */
  async openSealer(): Promise<Sealer> {
    if (performance.now() - this.#readAtMs > this.#times.freshMs) await this.refresh();
    const generation = this.#newest;
    const encryptionKey = await this.#get(generation);
    return { seal: (value, context) => sealValue(value, context, generation, encryptionKey) };
  }

  /** Seals one value, as `openSealer` has it. */
  async seal(value: Uint8Array, context: string): Promise<Sealed> {
    const sealer = await this.openSealer();
    return sealer.seal(value, context);
  }

  /**
   * The value; the caller overwrites it when it is done. Throws SIGNING_UNAVAILABLE where its encryption key was destroyed or another
   * root key wrapped that, LEDGER_BROKEN for an altered one, and what the root key throws.
   */
  async open({ sealedValue, dataKey }: Sealed, context: string): Promise<Uint8Array> {
    const key = await this.#unwrap(dataKey);
    try {
      const opened = openSecret({ key, context, sealed: Buffer.from(sealedValue, 'hex') });
      if (opened === null)
        throw new DaybookError('LEDGER_BROKEN', 'a sealed value was altered, or is of another place');
      return opened;
    } finally {
      key.fill(0);
    }
  }

  /** The data key wrapped by the encryption key of a generation. */
  async rewrap(dataKey: DataKey, generation: number): Promise<DataKey> {
    const encryptionKey = await this.#get(generation);
    const key = await this.#unwrap(dataKey);
    try {
      return wrapDataKey(dataKey.id, key, generation, encryptionKey);
    } finally {
      key.fill(0);
    }
  }

  /**
   * Unwraps a stored encryption key now, whatever this node holds in memory. Throws SIGNING_UNAVAILABLE where it was destroyed,
   * LEDGER_BROKEN where it was altered.
   */
  async check(generation: number): Promise<void> {
    this.#keys.delete(generation);
    await this.#get(generation);
  }

  async rewrapAll(): Promise<readonly Rewrapping[]> {
    const to = await this.#root.id();
    const found = await this.#database.query<{ generation: number } & KeyRow>(
      `SELECT generation, wrapped, root_key_id AS "rootKeyId" FROM public.encryption_keys
       WHERE wrapped IS NOT NULL AND root_key_id <> $1 ORDER BY generation`,
      [to],
    );
    const rewrapped: Rewrapping[] = [];
    for (const { generation, wrapped, rootKeyId } of found.rows) {
      const key = await this.#unwrapWithRoot(generation, { wrapped, rootKeyId });
      try {
        const fresh = await this.#root.wrap(key, contextOfGeneration(generation));
        rewrapped.push({
          key: `encryption-key/${generation}`,
          from: rootKeyId,
          to: fresh.rootKeyId,
          store: async (client) => {
            const { rowCount } = await client.query(
              `UPDATE public.encryption_keys SET wrapped = decode($1, 'hex'), root_key_id = $2
               WHERE generation = $3 AND root_key_id = $4 AND wrapped = decode($5, 'hex')`,
              [Buffer.from(fresh.wrapped).toString('hex'), fresh.rootKeyId, generation, rootKeyId, wrapped],
            );
            return rowCount === 1;
          },
        });
      } finally {
        key.fill(0);
      }
    }
    return rewrapped;
  }

  async #unwrap({ id, generation, wrapped }: DataKey): Promise<Uint8Array> {
    const key = await this.#get(generation);
    const opened = openSecret({ key, context: `data-key ${id}`, sealed: Buffer.from(wrapped, 'hex') });
    if (opened === null) throw new DaybookError('LEDGER_BROKEN', `the data key ${id} was altered`);
    return opened;
  }

  #get(generation: number): Promise<KeyObject> {
    const known = this.#keys.get(generation);
    if (known !== undefined) return known;
    const loading = this.#load(generation);
    const forget = () => {
      if (this.#keys.get(generation) === loading) this.#keys.delete(generation);
    };
    this.#keys.set(generation, loading);
    // A key that could not be had is asked for again by whoever needs it next.
    loading.then(() => setTimeout(forget, this.#times.keyMemoryMs).unref(), forget);
    return loading;
  }

  async #load(generation: number): Promise<KeyObject> {
    const found = await this.#database.query<KeyRow>(
      'SELECT wrapped, root_key_id AS "rootKeyId" FROM public.encryption_keys WHERE generation = $1',
      [generation],
    );
    const key = await this.#unwrapWithRoot(generation, found.rows[0] ?? { wrapped: null, rootKeyId: '' });
    try {
      return createSecretKey(key);
    } finally {
      key.fill(0);
    }
  }

  #unwrapWithRoot(generation: number, { wrapped, rootKeyId }: KeyRow): Promise<Uint8Array> {
    if (wrapped !== null) {
      const stored = { wrapped: Buffer.from(wrapped, 'hex'), rootKeyId };
      return this.#root.unwrap(stored, contextOfGeneration(generation));
    }
    const message = `the encryption key of generation ${generation} was destroyed: what it sealed is sealed by its successor`;
    return Promise.reject(new DaybookError('SIGNING_UNAVAILABLE', message));
  }

  /** Nodes that start together make one. */
  async #makeFirst(): Promise<void> {
    const { wrapped, rootKeyId } = await this.wrapNewKey(1);
    try {
      await this.#database.query(
        "INSERT INTO public.encryption_keys (generation, wrapped, root_key_id) VALUES (1, decode($1, 'hex'), $2)",
        [wrapped, rootKeyId],
      );
    } catch (error) {
      if (sqlState(error) !== uniqueViolation) throw error;
    }
    await this.refresh();
  }
}

function sealValue(value: Uint8Array, context: string, generation: number, encryptionKey: KeyObject): Sealed {
  const key = randomBytes(keyBytes);
  try {
    const sealed = sealSecret({ key, nonce: randomBytes(nonceBytes), context, secret: value });
    const dataKey = wrapDataKey(randomUUID(), key, generation, encryptionKey);
    return { sealedValue: Buffer.from(sealed).toString('hex'), dataKey };
  } finally {
    key.fill(0);
  }
}

function wrapDataKey(id: string, key: Uint8Array, generation: number, encryptionKey: KeyObject): DataKey {
  const context = `data-key ${id}`;
  const sealed = sealSecret({ key: encryptionKey, nonce: randomBytes(nonceBytes), context, secret: key });
  return { id, generation, wrapped: Buffer.from(sealed).toString('hex') };
}

/** Stores a data key in the caller's transaction, before the value that it seals. */
export async function insertDataKey(client: Queryable, { id, generation, wrapped }: DataKey): Promise<void> {
  await client.query("INSERT INTO public.data_keys (id, generation, wrapped) VALUES ($1, $2, decode($3, 'hex'))", [
    id,
    generation,
    wrapped,
  ]);
}

function contextOfGeneration(generation: number): string {
  return `encryption-key ${generation}`;
}
