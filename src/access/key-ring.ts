import { randomBytes, randomUUID } from 'node:crypto';
import type pg from 'pg';
import { openSecret, sealSecret } from '../core/sealed-secret.js';
import { sqlState } from '../db/admin-connection.js';
import { DaybookError } from '../errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { RootKey } from './root-key.js';

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

/**
 * Seals values, each with a data key of its own. Data keys are wrapped by the newest encryption key; when that rotates, they are
 * wrapped anew and the values stay as they are. Encryption keys are held in memory for as long as the node runs, others for
 * the moment of their use.
 */
export class KeyRing {
  readonly #database: Queryable;
  readonly #root: RootKey;
  #keys = new Map<number, Uint8Array>();
  #newest = 0;

  private constructor(database: Queryable, root: RootKey) {
    this.#database = database;
    this.#root = root;
  }

  /** Reads the encryption keys and makes the first one. */
  static async open(database: Queryable, root: RootKey): Promise<KeyRing> {
    const ring = new KeyRing(database, root);
    await ring.refresh();
    if (ring.#newest === 0) await ring.#makeFirst();
    return ring;
  }

  /** Generation of the key that wraps new data keys. */
  get newest(): number {
    return this.#newest;
  }

  /** Reads the keys anew: another node may have made or destroyed some. */
  async refresh(): Promise<void> {
    const found = await this.#database.query<{ generation: number; wrapped: string | null }>(
      'SELECT generation, wrapped FROM public.encryption_keys ORDER BY generation',
    );
    const keys = new Map<number, Uint8Array>();
    for (const { generation, wrapped } of found.rows) {
      if (wrapped === null) continue;
      const key = this.#keys.get(generation) ?? (await this.#unwrapKey(generation, wrapped));
      if (key !== null) keys.set(generation, key);
    }
    this.#keys = keys;
    this.#newest = found.rows.at(-1)?.generation ?? 0;
  }

  /** Null where another root key wrapped it: such a node serves, but reads and rotates no secrets. */
  async #unwrapKey(generation: number, wrapped: string): Promise<Uint8Array | null> {
    try {
      return await this.#root.unwrap(Buffer.from(wrapped, 'hex'), contextOfGeneration(generation));
    } catch (error) {
      if (error instanceof DaybookError && error.code === 'SIGNING_UNAVAILABLE') return null;
      throw error;
    }
  }

  /** A new encryption key, wrapped by the root key, to be stored as `generation`. Hex. */
  async wrapNewKey(generation: number): Promise<{ readonly wrapped: string; readonly rootKeyId: string }> {
    const key = randomBytes(keyBytes);
    const wrapped = await this.#root.wrap(key, contextOfGeneration(generation));
    key.fill(0);
    return { wrapped: Buffer.from(wrapped).toString('hex'), rootKeyId: this.#root.id };
  }

  /** Seals a value for one place, which `context` names. The data key has to be stored together with the value. */
  seal(value: Uint8Array, context: string): Sealed {
    const key = randomBytes(keyBytes);
    const id = randomUUID();
    try {
      const sealed = sealSecret({ key, nonce: randomBytes(nonceBytes), context, secret: value });
      return { sealedValue: Buffer.from(sealed).toString('hex'), dataKey: this.#wrap(id, key, this.#newest) };
    } finally {
      key.fill(0);
    }
  }

  /** The value; the caller overwrites it when it is done. Throws SIGNING_UNAVAILABLE, LEDGER_BROKEN for an altered one. */
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

  /** The data key wrapped by the newest encryption key. */
  async rewrap(dataKey: DataKey): Promise<DataKey> {
    const key = await this.#unwrap(dataKey);
    try {
      return this.#wrap(dataKey.id, key, this.#newest);
    } finally {
      key.fill(0);
    }
  }

  #wrap(id: string, key: Uint8Array, generation: number): DataKey {
    const encryptionKey = this.#get(generation);
    const sealed = sealSecret({
      key: encryptionKey,
      nonce: randomBytes(nonceBytes),
      context: `data-key ${id}`,
      secret: key,
    });
    return { id, generation, wrapped: Buffer.from(sealed).toString('hex') };
  }

  async #unwrap({ id, generation, wrapped }: DataKey): Promise<Uint8Array> {
    if (!this.#keys.has(generation)) await this.refresh();
    const sealed = Buffer.from(wrapped, 'hex');
    const opened = openSecret({ key: this.#get(generation), context: `data-key ${id}`, sealed });
    if (opened === null) throw new DaybookError('LEDGER_BROKEN', `the data key ${id} was altered`);
    return opened;
  }

  #get(generation: number): Uint8Array {
    const key = this.#keys.get(generation);
    if (key !== undefined) return key;
    throw new DaybookError(
      'SIGNING_UNAVAILABLE',
      `the encryption key of generation ${generation} was destroyed, or this node has another root key`,
    );
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

/** Stores a data key in the caller's transaction, before the value that it seals. */
export async function insertDataKey(
  client: Pick<pg.Client, 'query'>,
  { id, generation, wrapped }: DataKey,
): Promise<void> {
  await client.query("INSERT INTO public.data_keys (id, generation, wrapped) VALUES ($1, $2, decode($3, 'hex'))", [
    id,
    generation,
    wrapped,
  ]);
}

function contextOfGeneration(generation: number): string {
  return `encryption-key ${generation}`;
}
