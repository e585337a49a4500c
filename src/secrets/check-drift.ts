import { randomUUID } from 'node:crypto';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import type { ProbeAnswer, RotationTarget, Rotator, SecretVersion } from '../core/rotation.js';
import { timestampFromMs } from '../core/timestamp.js';
import { DaybookError } from '../errors.js';
import { serviceEntry, type NewAuditEntry } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { withTimeout } from './rotation-effects.js';
import { withTarget, withVersion } from './rotation-subject.js';
import { serviceSecretOrigin } from './secret-entries.js';
import type { SecretServices } from './secret-services.js';
import { readSecrets, type SecretRow } from './secret-store.js';

type Answer = 'WORKS' | 'ABSENT' | 'UNKNOWN';

/** A target that takes longer has said nothing. */
const probeTimeoutMs = 30_000;

/** A current version whose turn it is. */
interface DueVersion {
  readonly secret: SecretRow;
  readonly generation: number;
  readonly isDrifted: boolean;
}

/** While a value is on its way to a target, nobody says which one that has: what is not promoted yet is left alone. */
const isBeingApplied = `EXISTS (SELECT FROM public.rotations AS rotation WHERE rotation.secret = version.secret
  AND rotation.generation > version.generation AND rotation.status NOT IN ('REVOKED', 'FAILED', 'ROLLED_BACK'))`;

/**
 * Asks the targets of secrets whether they have the current value, each as often as is configured. One that has not leaves a
 * `SecretDrifted` alert, once a day for each value however many nodes look, and shows in the schedule until the value works again or
 * another one is promoted. A target that says nothing leaves a line in the log. Returns how many were found drifted.
 */
export async function checkDrift(services: SecretServices, signal: AbortSignal): Promise<number> {
  const nowMs = services.clock.nowMs();
  let drifted = 0;
  for (const due of await readDue(services, nowMs)) {
    signal.throwIfAborted();
    const answer = await probe(services, due);
    if (answer === 'ABSENT') drifted += 1;
    await note(services, due, answer, nowMs);
  }
  return drifted;
}

async function readDue({ database, driftCheckMs }: SecretServices, nowMs: number): Promise<DueVersion[]> {
  const secrets = new Map((await readSecrets(database)).map((secret) => [secret.id, secret]));
  const found = await database.query<{ secretId: string; generation: number; isDrifted: boolean }>(
    `SELECT version.secret AS "secretId", version.generation, version.drift_detected_at IS NOT NULL AS "isDrifted"
     FROM public.secret_versions AS version
     WHERE version.label = 'CURRENT' AND NOT ${isBeingApplied}
       AND (version.drift_checked_at IS NULL OR version.drift_checked_at <= to_timestamp($1::float8 / 1000))
     ORDER BY version.drift_checked_at NULLS FIRST`,
    [nowMs - driftCheckMs],
  );
  return found.rows.flatMap(({ secretId, ...version }) => {
    const secret = secrets.get(secretId);
    return secret === undefined ? [] : [{ ...version, secret }];
  });
}

async function probe(services: SecretServices, { secret, generation }: DueVersion): Promise<Answer> {
  const { rotators, log } = services;
  const rotator = rotators.get(secret.type);
  const subject = { secret: `${secret.type}/${secret.name}`, generation };
  if (rotator === undefined) return 'UNKNOWN';
  try {
    const answer = await withTarget(services, secret, (target) =>
      withVersion(services, secret.id, { generation }, async (current) =>
        current === null ? 'UNKNOWN' : withTimeout(ask(rotator, target, current), probeTimeoutMs),
      ),
    );
    if (answer === 'WORKS' || answer === 'ABSENT') return answer;
    log.warn(subject, 'a target does not say whether it has the current value of a secret');
  } catch (error) {
    log.warn({ ...subject, err: error }, 'a target could not be asked about the current value of a secret');
  }
  return 'UNKNOWN';
}

function ask(rotator: Rotator, target: RotationTarget, current: SecretVersion): Promise<ProbeAnswer> {
  const keep = () => Promise.reject(new TypeError('a look at a value has nothing to keep'));
  return rotator.probeCurrent?.(target, current) ?? rotator.probe(target, current, { current, keep });
}

async function note(services: SecretServices, due: DueVersion, answer: Answer, nowMs: number): Promise<void> {
  if (answer === 'ABSENT' || (answer === 'WORKS' && due.isDrifted)) return tell(services, due, answer, nowMs);
  const { secret, generation } = due;
  await services.database.query(
    `UPDATE public.secret_versions AS version SET drift_checked_at = to_timestamp($3) ${whichOne}`,
    [secret.id, generation, nowMs / 1000],
  );
}

/** What the schedule shows, the notice and its entry commit together, or not at all where a rotation began in the meantime. */
async function tell(
  { database, append }: SecretServices,
  due: DueVersion,
  answer: 'WORKS' | 'ABSENT',
  nowMs: number,
): Promise<void> {
  const { secret, generation } = due;
  const isAbsent = answer === 'ABSENT';
  const notice = [secret.id, generation, `DRIFT:${timestampFromMs(nowMs).slice(0, 10)}`];
  const isNew = isAbsent ? !(await isGiven(database, notice)) : true;
  const since = isAbsent ? 'coalesce(drift_detected_at, to_timestamp($3))' : 'NULL';
  try {
    await append({
      entries: isNew ? [driftEntry(due, isAbsent)] : [],
      alongside: async (client) => {
        if (isNew && isAbsent) {
          const text = 'INSERT INTO public.rotation_notices (secret, generation, threshold) VALUES ($1, $2, $3)';
          await client.query(text, notice);
        }
        const noted = await client.query(
          `UPDATE public.secret_versions AS version SET drift_checked_at = to_timestamp($3), drift_detected_at = ${since}
           ${whichOne} AND version.label = 'CURRENT' AND NOT ${isBeingApplied}
             AND ($4 OR version.drift_detected_at IS NOT NULL)`,
          [secret.id, generation, nowMs / 1000, isAbsent],
        );
        if (noted.rowCount === 0) await client.query('SELECT daybook.refuse_rotation($1)', [secret.name]);
      },
    });
  } catch (error) {
    // Another node told of it at the same time: the key of the notices' table says so. Or a rotation began.
    const isLate = error instanceof DaybookError && ['BAD_USER_INPUT', 'ROTATION_CONFLICT'].includes(error.code);
    if (!isLate) throw error;
  }
}

async function isGiven(database: Queryable, notice: readonly unknown[]): Promise<boolean> {
  const text = 'SELECT FROM public.rotation_notices WHERE secret = $1 AND generation = $2 AND threshold = $3';
  return (await database.query(text, [...notice])).rowCount === 1;
}

const whichOne = 'WHERE version.secret = $1 AND version.generation = $2';

function driftEntry({ secret, generation }: DueVersion, isAbsent: boolean): NewAuditEntry {
  return serviceEntry({
    ...serviceSecretOrigin(randomUUID()),
    category: 'ALERT',
    event: isAbsent ? 'SecretDrifted' : 'SecretDriftEnded',
    action: 'EXECUTE',
    resource: `secret/${secret.type}/${secret.name}`,
    details: encodeCanonicalJson({ generation, severity: isAbsent ? 'ERROR' : 'INFO' }),
  });
}
