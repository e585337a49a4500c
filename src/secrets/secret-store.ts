import type pg from 'pg';
import type { Learned, SecretType, SecretVersion } from '../core/rotation.js';
import { DaybookError } from '../errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import { insertDataKey, type DataKey, type KeyRing, type Sealer } from '../access/key-ring.js';

export type VersionLabel = 'PENDING' | 'CURRENT' | 'PREVIOUS';

/** A secret as it is registered; times are canonical. */
export interface SecretRow {
  readonly id: string;
  readonly type: SecretType;
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly zeroDowntime: boolean;
  readonly registeredAt: string;
  readonly registeredBy: string;
}

interface VersionRow {
  readonly generation: number;
  readonly label: VersionLabel | null;
  readonly slot: string | null;
  readonly facts: string;
  readonly sealedValue: string | null;
  readonly keyId: string | null;
  readonly keyGeneration: number | null;
  readonly wrapped: string | null;
}

const secretColumns = `id, type, name, settings, zero_downtime AS "zeroDowntime", registered_at AS "registeredAt",
  registered_by AS "registeredBy"`;

/** Secrets by type and name. */
export async function readSecrets(database: Queryable): Promise<SecretRow[]> {
  const found = await database.query<Omit<SecretRow, 'settings'> & { settings: string }>(
    `SELECT ${secretColumns} FROM public.secrets ORDER BY type, name`,
  );
  return found.rows.map((row) => ({ ...row, settings: parseObject(row.settings) }));
}

/** Throws NOT_FOUND. */
export async function getSecret(database: Queryable, type: SecretType, name: string): Promise<SecretRow> {
  const found = await database.query<Omit<SecretRow, 'settings'> & { settings: string }>(
    `SELECT ${secretColumns} FROM public.secrets WHERE type = $1 AND name = $2`,
    [type, name],
  );
  const [row] = found.rows;
  if (row === undefined) throw new DaybookError('NOT_FOUND', `no ${type} secret ${name} is registered: registerSecret`);
  return { ...row, settings: parseObject(row.settings) };
}

/** What a new version consists of; `value` is sealed on its way in. */
export interface NewVersion {
  readonly secretId: string;
  readonly generation: number;
  readonly label: 'PENDING' | 'CURRENT';
  readonly slot: string | null;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly value: Uint8Array | null;
}

/** Stores a version in the caller's transaction; `sealer` was opened before that. */
export async function insertVersion(
  client: Pick<pg.Client, 'query'>,
  sealer: Sealer,
  version: NewVersion,
): Promise<void> {
  const { secretId, generation, label, slot, facts, value } = version;
  const sealed = value === null ? null : sealer.seal(value, contextOf(secretId, generation));
  if (sealed !== null) await insertDataKey(client, sealed.dataKey);
  await client.query(
    `INSERT INTO public.secret_versions (secret, generation, label, slot, facts, sealed_value, data_key, current_from)
     VALUES ($1, $2, $3, $4, $5, decode($6, 'hex'), $7, CASE WHEN $3 = 'CURRENT' THEN clock_timestamp() END)`,
    [secretId, generation, label, slot, JSON.stringify(facts), sealed?.sealedValue ?? null, sealed?.dataKey.id ?? null],
  );
}

/** A version with its value, by label or generation; null where there is none. The caller overwrites the value after use. */
export async function readVersion(
  database: Queryable,
  ring: KeyRing,
  secretId: string,
  by: { readonly label: VersionLabel } | { readonly generation: number },
): Promise<(SecretVersion & { readonly label: VersionLabel | null }) | null> {
  const [condition, value] =
    'label' in by ? ['version.label = $2', by.label] : ['version.generation = $2', by.generation];
  const found = await database.query<VersionRow>(
    `SELECT version.generation, version.label, version.slot, version.facts, version.sealed_value AS "sealedValue",
       key.id AS "keyId", key.generation AS "keyGeneration", key.wrapped
     FROM public.secret_versions AS version LEFT JOIN public.data_keys AS key ON key.id = version.data_key
     WHERE version.secret = $1 AND ${condition}`,
    [secretId, value],
  );
  const [row] = found.rows;
  if (row === undefined) return null;
  const { generation, label, slot } = row;
  return { generation, label, slot, facts: parseObject(row.facts), value: await openValue(ring, secretId, row) };
}

async function openValue(ring: KeyRing, secretId: string, row: VersionRow): Promise<Uint8Array | null> {
  const { sealedValue, keyId, keyGeneration, wrapped, generation } = row;
  if (sealedValue === null || keyId === null || keyGeneration === null || wrapped === null) return null;
  const dataKey = { id: keyId, generation: keyGeneration, wrapped };
  return ring.open({ sealedValue, dataKey }, contextOf(secretId, generation));
}

/** The generation after the newest version or rotation there ever was. */
export async function nextGeneration(database: Queryable, secretId: string): Promise<number> {
  const found = await database.query<{ next: number }>(
    `SELECT 1 + greatest((SELECT max(generation) FROM public.secret_versions WHERE secret = $1),
       (SELECT max(generation) FROM public.rotations WHERE secret = $1), 0) AS next`,
    [secretId],
  );
  return found.rows[0]?.next ?? 1;
}

/** Marks a version as invalid and destroys its value, in the caller's transaction. */
export async function markRevoked(
  client: Pick<pg.Client, 'query'>,
  secretId: string,
  generation: number,
): Promise<void> {
  await client.query(
    `UPDATE public.secret_versions SET label = NULL, revoked_at = clock_timestamp(), sealed_value = NULL, data_key = NULL
     WHERE secret = $1 AND generation = $2 AND revoked_at IS NULL`,
    [secretId, generation],
  );
}

/**
 * Seals what the target told while it was changed: a value that it made becomes that of the pending version, facts are added to
 * it, a credential replaces the one before. In the caller's transaction.
 */
export async function storeLearned(
  client: Pick<pg.Client, 'query'>,
  sealer: Sealer,
  { secretId, generation }: { readonly secretId: string; readonly generation: number },
  { value, facts, credential }: Learned,
): Promise<void> {
  if (value !== undefined) {
    const { sealedValue, dataKey } = sealer.seal(value, contextOf(secretId, generation));
    await insertDataKey(client, dataKey);
    await client.query(
      `UPDATE public.secret_versions SET sealed_value = decode($3, 'hex'), data_key = $4
       WHERE secret = $1 AND generation = $2 AND label = 'PENDING'`,
      [secretId, generation, sealedValue, dataKey.id],
    );
  }
  if (facts !== undefined) {
    await client.query(
      `UPDATE public.secret_versions SET facts = (facts::jsonb || $3::jsonb)::json
       WHERE secret = $1 AND generation = $2 AND label = 'PENDING'`,
      [secretId, generation, JSON.stringify(facts)],
    );
  }
  if (credential !== undefined) await storeCredential(client, sealer, secretId, credential);
}

/** Seals what lets the rotator in at the target, in place of the one before, in the caller's transaction. */
export async function storeCredential(
  client: Pick<pg.Client, 'query'>,
  sealer: Sealer,
  secretId: string,
  credential: Uint8Array,
): Promise<void> {
  const { sealedValue, dataKey } = sealer.seal(credential, credentialContextOf(secretId));
  await insertDataKey(client, dataKey);
  await client.query(
    "UPDATE public.secrets SET sealed_credential = decode($2, 'hex'), credential_key = $3 WHERE id = $1",
    [secretId, sealedValue, dataKey.id],
  );
}

/** What lets the rotator in at the target; null where there is none. The caller overwrites it after use. */
export async function readCredential(database: Queryable, ring: KeyRing, secretId: string): Promise<Uint8Array | null> {
  const found = await database.query<{ sealedValue: string } & DataKey>(
    `SELECT secret.sealed_credential AS "sealedValue", key.id, key.generation, key.wrapped
     FROM public.secrets AS secret JOIN public.data_keys AS key ON key.id = secret.credential_key WHERE secret.id = $1`,
    [secretId],
  );
  const [row] = found.rows;
  if (row === undefined) return null;
  const { sealedValue, ...dataKey } = row;
  return ring.open({ sealedValue, dataKey }, credentialContextOf(secretId));
}

function credentialContextOf(secretId: string): string {
  return `credential ${secretId}`;
}

function contextOf(secretId: string, generation: number): string {
  return `secret ${secretId} ${generation}`;
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  return JSON.parse(text) as Readonly<Record<string, unknown>>;
}
