import type { RotationStatus, SecretType } from '../core/rotation.js';
import { readNumberedPage, type NumberedPage, type NumberedPageRequest } from '../graphql/numbered-page.js';
import type { Queryable } from '../ledger/read-entries.js';

/** How long a node has a rotation to itself, in seconds: longer than any one step may take. */
const leaseSeconds = 90;

/** A value given by whoever asked comes with their call: nobody else begins a rotation of one before, in seconds. */
const givenSeconds = 60;
/** For a rotation whose secret somebody else works on. */
const otherSeconds = 2;

/** A rotation that this node holds. */
export interface HeldRotation {
  readonly id: string;
  readonly secretId: string;
  readonly generation: number;
  readonly status: RotationStatus;
  readonly fence: string;
  readonly failures: number;
  readonly requestedBy: string | null;
  /** True where its time of grace is over, or has not begun. */
  readonly isGraceOver: boolean;
  readonly graceSeconds: number;
  /** Whether it is about a value that whoever asked gave. */
  readonly isValueGiven: boolean;
}

const heldColumns = `id, secret AS "secretId", generation, status, fence, failures, requested_by AS "requestedBy",
  coalesce(grace_ends_at <= clock_timestamp(), true) AS "isGraceOver", extract(epoch FROM grace)::float8 AS "graceSeconds",
  value_given AS "isValueGiven"`;

/**
 * Takes the rotation whose next step has been due longest, or the one named; null where it is not due or another node has it.
 * Whoever held it before can change nothing from then on.
 */
export async function takeRotation(
  database: Queryable,
  holder: string,
  id: string | null,
): Promise<HeldRotation | null> {
  for (;;) {
    const taken = await database.query<HeldRotation>(
      `UPDATE public.rotations SET holder = $1, leased_until = clock_timestamp() + interval '${leaseSeconds} seconds',
         fence = fence + 1
       WHERE id = (
         SELECT id FROM public.rotations
         WHERE status NOT IN ('REVOKED', 'FAILED', 'ROLLED_BACK') AND ($2::uuid IS NULL OR id = $2)
           AND next_attempt_at <= clock_timestamp()
           AND (leased_until IS NULL OR leased_until <= clock_timestamp())
           AND ($2::uuid IS NOT NULL OR NOT value_given OR status <> 'PLANNED'
                OR planned_at < clock_timestamp() - interval '${givenSeconds} seconds')
         ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
       RETURNING ${heldColumns}`,
      [holder, id],
    );
    const [held] = taken.rows;
    if (held === undefined) return null;
    // Both sides write their lease before they look for the other's: one of them at least sees it.
    if (!(await isOtherLeased(database, held))) return held;
    await releaseRotation(database, held, { pauseSeconds: otherSeconds, failed: false });
  }
}

async function isOtherLeased(database: Queryable, { id, secretId }: { id: string; secretId: string }) {
  const other = await database.query(
    'SELECT FROM public.rotations WHERE secret = $1 AND id <> $2 AND leased_until > clock_timestamp() LIMIT 1',
    [secretId, id],
  );
  return other.rowCount === 1;
}

/** A value that may be valid at its target although its rotation failed or was rolled back. */
export interface AbandonedValue {
  readonly id: string;
  readonly secretId: string;
  readonly generation: number;
  readonly fence: string;
  /** Whether a later value has its place at the target. */
  readonly isOverwritten: boolean;
}

/**
 * Takes what rotations that ended have left, one by one; null where another node does, or the secret is being rotated: what the
 * target is told about a value of before must not arrive after the new one.
 */
export async function takeAbandoned(database: Queryable, holder: string, id: string): Promise<AbandonedValue | null> {
  const taken = await database.query<AbandonedValue>(
    `UPDATE public.rotations AS rotation SET holder = $1, fence = fence + 1,
       leased_until = clock_timestamp() + interval '${leaseSeconds} seconds'
     WHERE id = $2 AND status IN ('FAILED', 'ROLLED_BACK') AND (leased_until IS NULL OR leased_until <= clock_timestamp())
       AND EXISTS (SELECT FROM public.secret_versions AS version WHERE version.secret = rotation.secret
         AND version.generation = rotation.generation AND version.revoked_at IS NULL
         AND version.label IS DISTINCT FROM 'CURRENT' AND version.label IS DISTINCT FROM 'PREVIOUS')
     RETURNING id, secret AS "secretId", generation, fence,
       EXISTS (SELECT FROM public.secret_versions AS mine JOIN public.secret_versions AS later
                 ON later.secret = mine.secret AND later.slot = mine.slot AND later.generation > mine.generation
               WHERE mine.secret = rotation.secret AND mine.generation = rotation.generation
                 AND later.label IS NOT NULL) AS "isOverwritten"`,
    [holder, id],
  );
  const [value] = taken.rows;
  if (value === undefined) return null;
  const open = await database.query(
    `SELECT FROM public.rotations WHERE secret = $1 AND rotated_at IS NULL
       AND status NOT IN ('REVOKED', 'FAILED', 'ROLLED_BACK') LIMIT 1`,
    [value.secretId],
  );
  if (open.rowCount === 0 && !(await isOtherLeased(database, value))) return value;
  await releaseAbandoned(database, value);
  return null;
}

export async function releaseAbandoned(database: Queryable, { id, fence }: AbandonedValue): Promise<void> {
  await database.query('UPDATE public.rotations SET leased_until = NULL WHERE id = $1 AND fence = $2', [id, fence]);
}

/** Ids of rotations that ended and have left a value that is not revoked. */
export async function readAbandoned(database: Queryable): Promise<string[]> {
  const found = await database.query<{ id: string }>(
    `SELECT rotation.id FROM public.secret_versions AS version
       JOIN public.rotations AS rotation ON rotation.secret = version.secret AND rotation.generation = version.generation
     WHERE version.revoked_at IS NULL AND rotation.status IN ('FAILED', 'ROLLED_BACK')
       AND version.label IS DISTINCT FROM 'CURRENT' AND version.label IS DISTINCT FROM 'PREVIOUS'
     ORDER BY rotation.number DESC`,
  );
  return found.rows.map(({ id }) => id);
}

/** The same rotation as it is now; null where somebody else has taken it. */
export async function rereadRotation(database: Queryable, { id, fence }: HeldRotation): Promise<HeldRotation | null> {
  const found = await database.query<HeldRotation>(
    `SELECT ${heldColumns} FROM public.rotations WHERE id = $1 AND fence = $2`,
    [id, fence],
  );
  return found.rows[0] ?? null;
}

/** How many steps of a rotation have this note. */
export async function countSteps(database: Queryable, { id }: HeldRotation, note: string): Promise<number> {
  const found = await database.query<{ count: number }>(
    'SELECT count(*)::integer AS count FROM public.rotation_steps WHERE rotation = $1 AND note = $2',
    [id, note],
  );
  return found.rows[0]?.count ?? 0;
}

/** Lets go of a rotation, to be taken again after a pause. `failed` counts one more failure of its step. */
export async function releaseRotation(
  database: Queryable,
  { id, fence }: HeldRotation,
  { pauseSeconds, failed }: { readonly pauseSeconds: number; readonly failed: boolean },
): Promise<void> {
  await database.query(
    `UPDATE public.rotations SET leased_until = NULL, failures = failures + $4,
       next_attempt_at = clock_timestamp() + $3 * interval '1 second'
     WHERE id = $1 AND fence = $2`,
    [id, fence, pauseSeconds, failed ? 1 : 0],
  );
}

/** Lets go of a promoted rotation until its time of grace is over. */
export async function waitForGrace(database: Queryable, { id, fence }: HeldRotation): Promise<void> {
  await database.query(
    'UPDATE public.rotations SET leased_until = NULL, next_attempt_at = grace_ends_at WHERE id = $1 AND fence = $2',
    [id, fence],
  );
}

/** A rotation as readers see it; times are canonical. */
export interface RotationRow {
  readonly number: string;
  readonly id: string;
  readonly secretType: SecretType;
  readonly secretName: string;
  readonly generation: number;
  readonly status: RotationStatus;
  readonly rotatedAt: string | null;
  readonly rotatedBy: string | null;
  readonly reason: string | null;
  readonly plannedAt: string;
  readonly graceEndsAt: string | null;
  readonly steps: readonly { readonly status: RotationStatus; readonly at: string; readonly note: string | null }[];
  /** How many data keys a new encryption key wraps, of how many; null for other secrets, and for rotations that have ended. */
  readonly progress: { readonly done: number; readonly total: number } | null;
}

const rowColumns = `number, id, "secretType", "secretName", generation, status, "rotatedAt", "rotatedBy", reason, "plannedAt",
  "graceEndsAt", steps, progress`;

const rowSource = `(SELECT rotation.number, rotation.id, secret.type AS "secretType", secret.name AS "secretName",
    rotation.generation, rotation.status, rotation.rotated_at AS "rotatedAt", rotation.requested_by AS "rotatedBy",
    rotation.reason, rotation.planned_at AS "plannedAt", rotation.grace_ends_at AS "graceEndsAt",
    (SELECT coalesce(jsonb_agg(jsonb_build_object('status', step.status, 'note', step.note, 'at',
       to_char(step.at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) ORDER BY step.step), '[]')
     FROM public.rotation_steps AS step WHERE step.rotation = rotation.id) AS steps,
    CASE WHEN secret.type = 'ENCRYPTION_KEY' AND rotation.status NOT IN ('REVOKED', 'FAILED', 'ROLLED_BACK') THEN
      (SELECT jsonb_build_object('done', count(*) FILTER (WHERE key.generation >= rotation.generation), 'total', count(*))
       FROM public.data_keys AS key) END AS progress
  FROM public.rotations AS rotation JOIN public.secrets AS secret ON secret.id = rotation.secret) AS listed`;

/** Rotations, the newest first. */
export function readRotations(
  database: Queryable,
  request: NumberedPageRequest & { readonly type: SecretType | null; readonly name: string | null },
): Promise<NumberedPage<RotationRow>> {
  const conditions = ['($1::text IS NULL OR "secretType" = $1)', '($2::text IS NULL OR "secretName" = $2)'];
  const list = {
    name: 'rotations',
    columns: rowColumns,
    from: rowSource,
    conditions,
    values: [request.type, request.name],
  };
  return readNumberedPage(database, list, request);
}

export async function readRotation(database: Queryable, id: string): Promise<RotationRow | null> {
  const found = await database.query<RotationRow>(`SELECT ${rowColumns} FROM ${rowSource} WHERE id::text = $1`, [id]);
  return found.rows[0] ?? null;
}
