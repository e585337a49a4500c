import type pg from 'pg';
import type { DataKey, KeyRing } from '../../access/key-ring.js';
import type { RotationTarget, Rotator, SecretVersion } from '../../core/rotation.js';
import { probeKey } from '../../access/root-key.js';
import { DaybookError } from '../../errors.js';

/** Data keys wrapped anew in one transaction. */
const keysPerBatch = 1_000;
/** A batch is begun no later than this after the first, in milliseconds: what is left is for the next attempt. */
const workMs = 20_000;

/**
 * Rotates the key that wraps data keys. Values stay as they are; their data keys are wrapped anew, batch by batch, each durable,
 * so that whoever goes on after a crash begins where it ended. The old key is destroyed when it wraps nothing any more.
 */
export class EncryptionKeyRotator implements Rotator {
  readonly type = 'ENCRYPTION_KEY';
  readonly zeroDowntime = true;

  constructor(private readonly services: { readonly database: pg.Pool; readonly ring: KeyRing }) {}

  nextSlot(): null {
    return null;
  }

  adopt() {
    return Promise.resolve({ slot: null, facts: {} });
  }

  create(_target: RotationTarget, given: Uint8Array | null) {
    if (given !== null) {
      return Promise.reject(
        new DaybookError('SECRET_REFUSED', 'encryption keys are made by the service: give no value'),
      );
    }
    return Promise.resolve({ value: null, facts: {} });
  }

  async apply(_target: RotationTarget, { generation }: SecretVersion): Promise<void> {
    const { database, ring } = this.services;
    const { wrapped, rootKeyId } = await ring.wrapNewKey(generation);
    await database.query(
      `INSERT INTO public.encryption_keys (generation, wrapped, root_key_id)
       VALUES ($1, decode($2, 'hex'), $3) ON CONFLICT (generation) DO NOTHING`,
      [generation, wrapped, rootKeyId],
    );
    await ring.refresh();
    const left = await this.#rewrap(generation);
    if (left > 0) throw new DaybookError('SECRET_UNAVAILABLE', `${left} data keys are still to be wrapped anew`);
  }

  async probe(_target: RotationTarget, { generation }: SecretVersion): Promise<'WORKS' | 'PARTLY' | 'ABSENT'> {
    await this.services.ring.refresh();
    if (this.services.ring.newest < generation) return 'ABSENT';
    return (await this.#countOlder(generation)) === 0 ? 'WORKS' : 'PARTLY';
  }

  /** ABSENT where the key was destroyed or altered. That another one wraps data keys already is no fault of it. */
  async probeCurrent(_target: RotationTarget, { generation }: SecretVersion): Promise<'WORKS' | 'ABSENT' | 'UNKNOWN'> {
    const { database, ring } = this.services;
    const found = await database.query(
      'SELECT FROM public.encryption_keys WHERE generation = $1 AND wrapped IS NOT NULL',
      [generation],
    );
    if (found.rowCount === 0) return 'ABSENT';
    return probeKey(ring.check(generation));
  }

  async verify(_target: RotationTarget, { generation }: SecretVersion): Promise<void> {
    const { ring } = this.services;
    // Another node may have applied it.
    await ring.refresh();
    const probe = Buffer.from('what is sealed now opens again');
    const sealed = await ring.seal(probe, 'rotation probe');
    const opened = await ring.open(sealed, 'rotation probe');
    if (sealed.dataKey.generation === generation && probe.equals(opened)) return;
    throw new DaybookError(
      'SECRET_REFUSED',
      `the encryption key of generation ${generation} does not open what it sealed`,
    );
  }

  async promoted(): Promise<void> {
    await this.services.ring.refresh();
  }

  /** Nodes that have not noticed the new key yet go on using the old one. */
  async isInUse(): Promise<boolean> {
    await this.services.ring.refresh();
    const left = await this.#rewrap(this.services.ring.newest);
    return left > 0;
  }

  async revoke({ id }: RotationTarget, { generation }: SecretVersion): Promise<void> {
    const { database, ring } = this.services;
    // The table refuses it as long as a data key of this generation is there. Keys of rotations that failed, or were rolled back,
    // were the newest then and had to stay: they go along.
    await database.query(
      `UPDATE public.encryption_keys AS key SET wrapped = NULL, destroyed_at = clock_timestamp()
       WHERE wrapped IS NOT NULL AND generation < (SELECT max(generation) FROM public.encryption_keys)
         AND (generation = $1 OR NOT EXISTS (SELECT FROM public.data_keys AS sealed WHERE sealed.generation = key.generation)
           AND EXISTS (SELECT FROM public.rotations AS rotation WHERE rotation.secret = $2
             AND rotation.generation = key.generation AND rotation.status IN ('FAILED', 'ROLLED_BACK')))`,
      [generation, id],
    );
    await ring.refresh();
  }

  /** Wraps data keys of generations before `generation` anew and returns how many are left. */
  async #rewrap(generation: number): Promise<number> {
    const startedMs = performance.now();
    while (performance.now() - startedMs < workMs) {
      const done = await this.#rewrapBatch(generation);
      if (done === 0) return 0;
    }
    return this.#countOlder(generation);
  }

  async #rewrapBatch(generation: number): Promise<number> {
    const { database, ring } = this.services;
    const found = await database.query<DataKey>(
      'SELECT id, generation, wrapped FROM public.data_keys WHERE generation < $1 ORDER BY generation, id LIMIT $2',
      [generation, keysPerBatch],
    );
    if (found.rows.length === 0) return 0;
    const { newest } = ring;
    const keys: DataKey[] = [];
    for (const { id, generation: before, wrapped } of found.rows) {
      keys.push(await ring.rewrap({ id, generation: before, wrapped }, newest));
    }
    await database.query(
      `UPDATE public.data_keys AS key SET generation = fresh.generation, wrapped = decode(fresh.wrapped, 'hex')
       FROM unnest($1::uuid[], $2::integer[], $3::text[]) AS fresh (id, generation, wrapped)
       WHERE key.id = fresh.id AND key.generation < fresh.generation`,
      [keys.map(({ id }) => id), keys.map((key) => key.generation), keys.map(({ wrapped }) => wrapped)],
    );
    return keys.length;
  }

  async #countOlder(generation: number): Promise<number> {
    const found = await this.services.database.query<{ count: number }>(
      'SELECT count(*)::integer AS count FROM public.data_keys WHERE generation < $1',
      [generation],
    );
    return found.rows[0]?.count ?? 0;
  }
}
