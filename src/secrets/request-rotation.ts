import { randomUUID } from 'node:crypto';
import type { Append } from '../access/request-calls.js';
import type { RotationStatus, SecretType } from '../core/rotation.js';
import { DaybookError } from '../errors.js';
import type { CallOrigin } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { readPolicy } from './rotation-policies.js';
import { readRotation, type RotationRow } from './rotation-rows.js';
import { stepEntries } from './secret-entries.js';
import { getSecret, nextGeneration, type SecretRow } from './secret-store.js';
import { seizeAndStep } from './step-rotation.js';

export interface RotationRequest {
  readonly type: SecretType;
  readonly name: string;
  readonly reason: string | null;
  /** Null: by the schedule. */
  readonly requestedBy: string | null;
  /** Whether the caller has a value or a credential for it, and gives it to `carryOut`. */
  readonly isValueGiven?: boolean;
  readonly origin: CallOrigin;
}

interface OpenRotation {
  readonly id: string;
  readonly status: RotationStatus;
  readonly generation: number;
  readonly fence: string;
  readonly isPromoted: boolean;
  /** Whether the value before was to be made invalid: its target may have done so, whatever it said. */
  readonly wasRevoking: boolean;
}

const reasonCharactersMax = 1_000;

/**
 * Plans a rotation: from its commit on, some node carries it out. One that is stuck before its promotion makes way and ends as
 * FAILED; the current value was never touched by it. Throws NOT_FOUND, BAD_USER_INPUT, and ROTATION_CONFLICT while one is under
 * way, or the value before is still valid.
 */
export async function requestRotation(
  services: { readonly database: Queryable; readonly append: Append },
  request: RotationRequest,
): Promise<RotationRow> {
  if (request.reason !== null) assertReason(request.reason);
  const secret = await getSecret(services.database, request.type, request.name);
  const open = await readOpen(services.database, secret.id);
  if (open !== null) await makeWay(services, secret, open, request);
  return plan(services, secret, request);
}

function assertReason(reason: string): void {
  const { length } = reason;
  if (length >= 1 && length <= reasonCharactersMax && reason.isWellFormed() && !reason.includes('\0')) return;
  throw new DaybookError('BAD_USER_INPUT', `reason must have 1 to ${reasonCharactersMax} characters`);
}

async function plan(
  { database, append }: { readonly database: Queryable; readonly append: Append },
  secret: SecretRow,
  { reason, requestedBy, isValueGiven = false, origin }: RotationRequest,
): Promise<RotationRow> {
  const id = randomUUID();
  const generation = await nextGeneration(database, secret.id);
  const { graceSeconds } = await readPolicy(database, secret);
  const rotation = { id, generation, requestedBy };
  await append({
    entries: stepEntries(secret, rotation, 'PLANNED', reason, origin),
    alongside: async (client) => {
      const inserted = await client.query(
        `INSERT INTO public.rotations (id, secret, generation, requested_by, reason, grace, value_given)
         SELECT $1, $2, $3, $4, $5, $6 * interval '1 second', $7
         WHERE NOT EXISTS (SELECT FROM public.rotations WHERE secret = $2
                           AND (generation = $3 OR status NOT IN ('REVOKED', 'FAILED', 'ROLLED_BACK')))`,
        [id, secret.id, generation, requestedBy, reason, graceSeconds, isValueGiven],
      );
      // Raised by the database, so that nothing of this request stays and the others of its transaction do.
      if (inserted.rowCount === 0) await client.query('SELECT daybook.refuse_rotation($1)', [secret.name]);
      await client.query(
        "INSERT INTO public.rotation_steps (rotation, step, status, note) VALUES ($1, 1, 'PLANNED', $2)",
        [id, reason],
      );
    },
  });
  return getRotation(database, id);
}

async function makeWay(
  { append }: { readonly append: Append },
  secret: SecretRow,
  open: OpenRotation,
  { requestedBy, origin }: RotationRequest,
): Promise<void> {
  if (open.isPromoted) {
    throw new DaybookError(
      'ROTATION_CONFLICT',
      `${secret.name} was rotated and the value before is not revoked yet: wait for the end of its grace period`,
    );
  }
  if (open.status !== 'UNKNOWN' && open.status !== 'HELD') {
    throw new DaybookError('ROTATION_CONFLICT', `${secret.name} is being rotated: it is ${open.status}`);
  }
  await seizeAndStep(append, {
    secret,
    rotation: { ...open, requestedBy },
    to: 'FAILED',
    note: 'another rotation was asked for',
    origin,
  });
}

async function readOpen(database: Queryable, secretId: string): Promise<OpenRotation | null> {
  const found = await database.query<OpenRotation>(
    `SELECT id, status, generation, fence, rotated_at IS NOT NULL AS "isPromoted",
       EXISTS (SELECT FROM public.rotation_steps AS step WHERE step.rotation = id AND step.status = 'REVOKING') AS "wasRevoking"
     FROM public.rotations
     WHERE secret = $1 AND status NOT IN ('REVOKED', 'FAILED', 'ROLLED_BACK')`,
    [secretId],
  );
  return found.rows[0] ?? null;
}

export interface RollBackRequest {
  readonly rotationId: string;
  readonly reason: string;
  readonly origin: CallOrigin;
}

/**
 * Goes back to the value before, while it is valid. What was promoted is revoked at its target by the next run. Throws NOT_FOUND,
 * BAD_USER_INPUT, ROTATION_CONFLICT where the value before is valid no more.
 */
export async function rollBackRotation(
  { database, append }: { readonly database: Queryable; readonly append: Append },
  { rotationId, reason, origin }: RollBackRequest,
): Promise<RotationRow> {
  assertReason(reason);
  const rotation = await getRotation(database, rotationId);
  const secret = await getSecret(database, rotation.secretType, rotation.secretName);
  const open = await readOpen(database, secret.id);
  if (open?.id !== rotationId || !open.isPromoted || (open.status !== 'ROTATED' && open.status !== 'HELD')) {
    throw new DaybookError(
      'ROTATION_CONFLICT',
      `a rotation that is ${rotation.status} cannot be rolled back: the value before is not valid any more, or was never replaced`,
    );
  }
  if (open.wasRevoking) {
    throw new DaybookError(
      'ROTATION_CONFLICT',
      `the target of ${secret.name} was told to give up the value before, and may have done so: rotate it instead`,
    );
  }
  if (!secret.zeroDowntime) {
    throw new DaybookError(
      'ROTATION_CONFLICT',
      `${secret.name} has one place at its target, which has the new value: the one before is not valid. Rotate it instead`,
    );
  }
  await seizeAndStep(append, {
    secret,
    rotation: { ...open, requestedBy: origin.actor },
    to: 'ROLLED_BACK',
    note: reason,
    origin,
    alongside: async (client) => {
      await client.query('SELECT daybook.demote_version($1, $2)', [secret.id, open.generation]);
    },
  });
  return getRotation(database, rotationId);
}

async function getRotation(database: Queryable, id: string): Promise<RotationRow> {
  const rotation = await readRotation(database, id);
  if (rotation === null) throw new DaybookError('NOT_FOUND', 'there is no such rotation: rotationHistory lists them');
  return rotation;
}
