import { randomUUID } from 'node:crypto';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { isOpen } from '../core/change-window.js';
import {
  daysUntil,
  dueNotice,
  nextRotationMs,
  scheduleStatus,
  type RotationStatus,
  type ScheduleStatus,
  type SecretType,
} from '../core/rotation.js';
import { timestampFromMs } from '../core/timestamp.js';
import { DaybookError } from '../errors.js';
import { serviceEntry } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { requestRotation } from './request-rotation.js';
import { readPolicy, type PolicyRow } from './rotation-policies.js';
import { serviceSecretOrigin } from './secret-entries.js';
import type { SecretServices } from './secret-services.js';
import { readSecrets, type SecretRow } from './secret-store.js';

/** Where a secret stands; times are canonical. */
export interface ScheduleEntry {
  readonly secretType: SecretType;
  readonly secretName: string;
  readonly lastRotated: string;
  readonly nextRotation: string;
  readonly daysUntilRotation: number;
  readonly status: ScheduleStatus;
  readonly zeroDowntime: boolean;
  /** Since when the current value has not worked at its target; null where it does, as far as is known. */
  readonly driftDetectedAt: string | null;
}

interface Standing {
  readonly secret: SecretRow;
  readonly policy: PolicyRow;
  readonly generation: number;
  readonly lastRotatedMs: number;
  readonly nextMs: number;
  readonly openStatus: RotationStatus | null;
  readonly driftDetectedAt: string | null;
}

/** Every secret with when it is due, the most urgent first. */
export async function readSchedule(database: Queryable, nowMs: number): Promise<ScheduleEntry[]> {
  const standings = await readStandings(database);
  return standings
    .sort((one, other) => one.nextMs - other.nextMs)
    .map(({ secret, policy, lastRotatedMs, nextMs, openStatus, driftDetectedAt }) => ({
      secretType: secret.type,
      secretName: secret.name,
      lastRotated: timestampFromMs(lastRotatedMs),
      nextRotation: timestampFromMs(nextMs),
      daysUntilRotation: daysUntil(nextMs, nowMs),
      status: scheduleStatus({ lastRotatedMs, intervalDays: policy.rotationIntervalDays, nowMs, openStatus }),
      zeroDowntime: secret.zeroDowntime,
      driftDetectedAt,
    }));
}

async function readStandings(database: Queryable): Promise<Standing[]> {
  const secrets = await readSecrets(database);
  const found = await database.query<{
    secret: string;
    generation: number;
    lastRotatedMs: number;
    openStatus: RotationStatus | null;
    driftDetectedAt: string | null;
  }>(
    `SELECT version.secret, version.generation, version.drift_detected_at AS "driftDetectedAt", extract(epoch FROM version.current_from)::float8 * 1000 AS "lastRotatedMs",
       (SELECT status FROM public.rotations AS rotation WHERE rotation.secret = version.secret
          AND status NOT IN ('REVOKED', 'FAILED', 'ROLLED_BACK')) AS "openStatus"
     FROM public.secret_versions AS version WHERE label = 'CURRENT'`,
  );
  const current = new Map(found.rows.map((row) => [row.secret, row]));
  const standings: Standing[] = [];
  for (const secret of secrets) {
    const version = current.get(secret.id);
    if (version === undefined) continue;
    const policy = await readPolicy(database, secret);
    const lastRotatedMs = Math.floor(version.lastRotatedMs);
    const nextMs = nextRotationMs(lastRotatedMs, policy.rotationIntervalDays);
    standings.push({ ...version, secret, policy, lastRotatedMs, nextMs });
  }
  return standings;
}

/**
 * Gives the notices that are due, and begins rotations that are overdue where the policy lets the schedule do so now. Each
 * notice is given once, however often and on how many nodes this runs. Returns what it did.
 */
export async function runSchedule(
  services: SecretServices,
  signal: AbortSignal,
): Promise<{ readonly notices: number; readonly begun: number }> {
  const nowMs = services.clock.nowMs();
  let [notices, begun] = [0, 0];
  for (const standing of await readStandings(services.database)) {
    signal.throwIfAborted();
    if (await giveNotice(services, standing, nowMs)) notices += 1;
    const { policy, nextMs, openStatus, secret } = standing;
    if (!policy.autoRotate || nowMs < nextMs || openStatus !== null || !isOpen(policy.window, nowMs)) continue;
    try {
      const request = { type: secret.type, name: secret.name, reason: 'overdue by its policy', requestedBy: null };
      await requestRotation(services, { ...request, origin: serviceSecretOrigin(randomUUID()) });
      begun += 1;
    } catch (error) {
      // Another node was faster.
      if (!(error instanceof DaybookError && error.code === 'ROTATION_CONFLICT')) throw error;
    }
  }
  return { notices, begun };
}

async function giveNotice(services: SecretServices, standing: Standing, nowMs: number): Promise<boolean> {
  const { secret, generation, nextMs } = standing;
  const threshold = dueNotice(nextMs, nowMs);
  if (threshold === null) return false;
  const values = [secret.id, generation, threshold];
  const known = await services.database.query(
    'SELECT FROM public.rotation_notices WHERE secret = $1 AND generation = $2 AND threshold = $3',
    values,
  );
  if (known.rowCount === 1) return false;
  const days = daysUntil(nextMs, nowMs);
  const entry = serviceEntry({
    ...serviceSecretOrigin(randomUUID()),
    category: 'ALERT',
    event: days < 0 ? 'SecretRotationOverdue' : 'SecretRotationDue',
    action: 'EXECUTE',
    resource: `secret/${secret.type}/${secret.name}`,
    details: encodeCanonicalJson({
      daysUntilRotation: days,
      generation,
      nextRotation: timestampFromMs(nextMs),
      severity: days < 0 ? 'ERROR' : 'WARNING',
      threshold,
    }),
  });
  try {
    await services.append({
      entries: [entry],
      alongside: async (client) => {
        await client.query(
          'INSERT INTO public.rotation_notices (secret, generation, threshold) VALUES ($1, $2, $3)',
          values,
        );
      },
    });
    return true;
  } catch (error) {
    // The key of the table: another node gave it at the same time, and nothing of this one is recorded.
    if (error instanceof DaybookError && error.code === 'BAD_USER_INPUT') return false;
    throw error;
  }
}
