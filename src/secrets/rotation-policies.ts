import type { Append } from '../access/request-calls.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import type { ChangeWindow } from '../core/change-window.js';
import { parseChangeWindow } from '../core/change-window.js';
import type { SecretType } from '../core/rotation.js';
import { DaybookError } from '../errors.js';
import { serviceEntry, type CallOrigin } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { getSecret } from './secret-store.js';

export interface PolicyRow {
  readonly secretType: SecretType;
  /** Null: of the type. */
  readonly secretName: string | null;
  readonly rotationIntervalDays: number;
  readonly graceSeconds: number;
  readonly autoRotate: boolean;
  readonly window: ChangeWindow;
}

interface StoredPolicy extends Omit<PolicyRow, 'window'> {
  readonly window: string;
}

const columns = `policy.type AS "secretType", secret.name AS "secretName", policy.interval_days AS "rotationIntervalDays",
  extract(epoch FROM policy.grace)::float8 AS "graceSeconds", policy.auto_rotate AS "autoRotate",
  policy.change_window AS window`;
const source = 'public.rotation_policies AS policy LEFT JOIN public.secrets AS secret ON secret.id = policy.secret';

/** Those of types first, then those of single secrets. */
export async function readPolicies(database: Queryable): Promise<PolicyRow[]> {
  const found = await database.query<StoredPolicy>(
    `SELECT ${columns} FROM ${source} ORDER BY secret.name NULLS FIRST, policy.type`,
  );
  return found.rows.map(toPolicy);
}

/** The policy of a secret: its own, or that of its type. */
export async function readPolicy(
  database: Queryable,
  secret: { readonly id: string; readonly type: SecretType },
): Promise<PolicyRow> {
  const found = await database.query<StoredPolicy>(
    `SELECT ${columns} FROM ${source} WHERE policy.type = $1 AND (policy.secret IS NULL OR policy.secret = $2)
     ORDER BY policy.secret NULLS LAST LIMIT 1`,
    [secret.type, secret.id],
  );
  const [row] = found.rows;
  if (row === undefined) throw new TypeError(`there is no policy for ${secret.type}`);
  return toPolicy(row);
}

/** What to change; absent: stays as it is. */
export interface PolicyChange {
  readonly secretType: SecretType;
  /** Null: of the type. */
  readonly secretName: string | null;
  readonly rotationIntervalDays?: number | undefined;
  readonly graceSeconds?: number | undefined;
  readonly autoRotate?: boolean | undefined;
  readonly window?: unknown;
}

/** Sets a policy, with its RotationPolicyChanged entry. Throws BAD_USER_INPUT, NOT_FOUND. */
export async function updatePolicy(
  { database, append }: { readonly database: Queryable; readonly append: Append },
  change: PolicyChange,
  origin: CallOrigin,
): Promise<PolicyRow> {
  const { secretType, secretName } = change;
  const secretId = secretName === null ? null : (await getSecret(database, secretType, secretName)).id;
  const before = await readPolicy(database, {
    id: secretId ?? '00000000-0000-0000-0000-000000000000',
    type: secretType,
  });
  const after = {
    rotationIntervalDays: change.rotationIntervalDays ?? before.rotationIntervalDays,
    graceSeconds: change.graceSeconds ?? before.graceSeconds,
    autoRotate: change.autoRotate ?? before.autoRotate,
    window: change.window === undefined ? before.window : parseWindow(change.window),
  };
  assertRange('rotationIntervalDays', after.rotationIntervalDays, 1, 3_650);
  assertRange('gracePeriodDays', after.graceSeconds / 86_400, 0, 3_650);
  const entry = serviceEntry({
    ...origin,
    category: 'CONFIG',
    event: 'RotationPolicyChanged',
    action: 'UPDATE',
    resource: `rotation-policy/${secretType}${secretName === null ? '' : `/${secretName}`}`,
    details: encodeCanonicalJson({ after: told(after), before: told(before) }),
  });
  await append({
    entries: [entry],
    alongside: async (client) => {
      await client.query(
        `INSERT INTO public.rotation_policies (type, secret, interval_days, grace, auto_rotate, change_window, set_by)
         VALUES ($1, $2, $3, $4 * interval '1 second', $5, $6, $7)
         ON CONFLICT (type, secret) DO UPDATE SET interval_days = EXCLUDED.interval_days, grace = EXCLUDED.grace,
           auto_rotate = EXCLUDED.auto_rotate, change_window = EXCLUDED.change_window, set_at = clock_timestamp(),
           set_by = EXCLUDED.set_by`,
        [
          secretType,
          secretId,
          after.rotationIntervalDays,
          after.graceSeconds,
          after.autoRotate,
          JSON.stringify(after.window),
          origin.actor ?? 'unknown',
        ],
      );
    },
  });
  return { secretType, secretName, ...after };
}

/** Seconds as text: what is hashed has whole numbers alone. */
function told({ graceSeconds, ...policy }: Omit<PolicyRow, 'secretType' | 'secretName'>): object {
  return { ...policy, graceSeconds: String(graceSeconds) };
}

function parseWindow(value: unknown): ChangeWindow {
  try {
    return parseChangeWindow(value);
  } catch (error) {
    if (error instanceof SyntaxError) throw new DaybookError('BAD_USER_INPUT', `window ${error.message}`);
    throw error;
  }
}

function assertRange(name: string, value: number, min: number, max: number): void {
  if (value >= min && value <= max) return;
  throw new DaybookError('BAD_USER_INPUT', `${name} must lie between ${min} and ${max}`);
}

function toPolicy(row: StoredPolicy): PolicyRow {
  return { ...row, window: JSON.parse(row.window) as ChangeWindow };
}
