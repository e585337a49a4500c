import type pg from 'pg';
import { z } from 'zod';
import type {
  AdoptedSecret,
  NewSecret,
  ProbeAnswer,
  RotationTarget,
  RotationWork,
  SecretVersion,
} from '../../core/rotation.js';
import { canLogIn, describeServer, sqlState, withConnection, withCredentials } from '../../db/admin-connection.js';
import { closeRoleSql, endRoleSessions, listRoleSessions, openRoleSql } from '../../db/login-roles.js';
import { scramVerifier } from '../../db/scram.js';
import { DaybookError } from '../../errors.js';
import { describeSessions, textOf, untilNone } from './database-logins.js';

/** Sessions that are just ending are no use. */
const endingMs = 1_000;
/** Statements here are short; what takes longer waits for somebody. */
const statementTimeoutMs = 8_000;
/** What an administrator may not do, and roles that are not there. */
const refusedStates = ['42501', '42704'];

const roleForm = /^[A-Za-z_][A-Za-z0-9_$]{0,62}$/;
const settingsForm = z.strictObject({
  host: z.string().regex(/^[A-Za-z0-9._[\]:-]{1,253}$/),
  port: z
    .string()
    .regex(/^\d{1,5}$/)
    .default('5432'),
  database: z.string().min(1).max(63),
  /** The two login roles, with a comma between. */
  roles: z
    .string()
    .transform((text) => text.split(','))
    .pipe(z.tuple([z.string().regex(roleForm), z.string().regex(roleForm)])),
  administrator: z.string().min(1).max(63),
  sslmode: z.enum(['verify-full', 'disable']).default('verify-full'),
});

type Settings = z.infer<typeof settingsForm>;

interface RoleRow {
  readonly name: string;
  readonly isSuperuser: boolean;
  readonly groups: readonly string[];
}

/**
 * Rotates a login at another PostgreSQL: two login roles, members of the same groups, take turns. The credential is the password of
 * an administrator who may alter both. PostgreSQL is sent SCRAM verifiers, never passwords.
 */
export class RemoteLoginRotator {
  async adopt({ settings, value, credential }: NewSecret): Promise<AdoptedSecret> {
    const place = parseSettings(settings);
    if (value === null || credential === null) {
      const message = 'value has to be the password in force, and credential that of the administrator';
      throw new DaybookError('BAD_USER_INPUT', message);
    }
    await asAdministrator(place, credential, (admin) => assertAlike(admin, place));
    for (const slot of ['a', 'b']) {
      const role = roleOf(place, slot);
      if (await tryLogin(place, role, textOf({ value }))) return { slot, facts: { role }, credential };
    }
    throw new DaybookError('SECRET_REFUSED', `neither ${place.roles.join(' nor ')} logs in with this value`);
  }

  async apply(target: RotationTarget, pending: SecretVersion, { keep }: Pick<RotationWork, 'keep'>): Promise<void> {
    const place = parseSettings(target.settings);
    const role = roleOf(place, pending.slot);
    await asAdministrator(place, target.credential, async (admin) => {
      const users = await untilNone(() => listRoleSessions(admin, role), endingMs);
      if (users.length > 0) {
        throw new DaybookError('SECRET_REFUSED', `${role} has to be free and is used by ${describeSessions(users)}`);
      }
      // From here on the role may have the password; a node that was overtaken ends here.
      await keep({ facts: { role } });
      await admin.query(openRoleSql(role, scramVerifier(textOf(pending))));
    });
  }

  async probe(target: RotationTarget, pending: SecretVersion): Promise<ProbeAnswer> {
    const place = parseSettings(target.settings);
    return (await tryLogin(place, roleOf(place, pending.slot), textOf(pending))) ? 'WORKS' : 'ABSENT';
  }

  async verify(target: RotationTarget, pending: SecretVersion): Promise<void> {
    const place = parseSettings(target.settings);
    const role = roleOf(place, pending.slot);
    if (!(await tryLogin(place, role, textOf(pending)))) {
      throw new DaybookError('SECRET_REFUSED', `${role} does not log in with its new password`);
    }
    await asAdministrator(place, target.credential, (admin) => assertAlike(admin, place));
  }

  isInUse(target: RotationTarget, previous: SecretVersion): Promise<boolean> {
    const place = parseSettings(target.settings);
    const role = roleOf(place, previous.slot);
    return asAdministrator(
      place,
      target.credential,
      async (admin) => (await untilNone(() => listRoleSessions(admin, role), endingMs)).length > 0,
    );
  }

  /** Nothing where the role never got the password, or has a newer one. */
  async revoke(target: RotationTarget, version: SecretVersion, current: SecretVersion | null): Promise<void> {
    if (version.facts.role === undefined || version.slot === current?.slot) return;
    const place = parseSettings(target.settings);
    const role = roleOf(place, version.slot);
    await asAdministrator(place, target.credential, async (admin) => {
      await admin.query(closeRoleSql(role));
      await endRoleSessions(admin, role);
    });
  }
}

function parseSettings(settings: Readonly<Record<string, unknown>>): Settings {
  const parsed = settingsForm.safeParse(settings);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const what = `${issue?.path.join('.') || 'settings'}: ${issue?.message ?? 'not understood'}`;
    throw new DaybookError('BAD_USER_INPUT', `settings of a DATABASE secret: ${what} (docs/rotation.md lists them)`);
  }
  const { roles, administrator } = parsed.data;
  if (new Set([...roles, administrator]).size === 3) return parsed.data;
  throw new DaybookError('BAD_USER_INPUT', 'the two roles and the administrator have to be three');
}

function roleOf({ roles }: Settings, slot: string | null): string {
  return slot === 'a' ? roles[0] : roles[1];
}

function urlOf({ host, port, database, sslmode }: Settings, user: string, password: string): string {
  const url = `postgresql://${host}:${port}/${encodeURIComponent(database)}?sslmode=${sslmode}`;
  return withCredentials(url, user, password);
}

/** Whether the server lets the role in. Throws SECRET_UNAVAILABLE where it does not answer. */
async function tryLogin(place: Settings, role: string, password: string): Promise<boolean> {
  const url = urlOf(place, role, password);
  try {
    return await canLogIn(url);
  } catch (error) {
    throw targetError(url, error);
  }
}

async function asAdministrator<Result>(
  place: Settings,
  credential: Uint8Array | null,
  work: (admin: pg.Client) => Promise<Result>,
): Promise<Result> {
  const url = urlOf(place, place.administrator, textOf({ value: credential }));
  try {
    return await withConnection(url, async (admin) => {
      await admin.query(`SET statement_timeout = ${statementTimeoutMs}`);
      return work(admin);
    });
  } catch (error) {
    throw targetError(url, error);
  }
}

/** Throws SECRET_REFUSED unless both roles are there and may do the same. */
async function assertAlike(admin: pg.Client, { roles }: Settings): Promise<void> {
  const { rows } = await admin.query<RoleRow>(
    `SELECT role.rolname::text AS name, role.rolsuper AS "isSuperuser",
       array(SELECT DISTINCT roleid::regrole::text FROM pg_catalog.pg_auth_members WHERE member = role.oid ORDER BY 1) AS groups
     FROM pg_catalog.pg_roles AS role WHERE role.rolname = ANY ($1::text[])`,
    [roles],
  );
  const fault = faultOf(rows);
  if (fault !== null) throw new DaybookError('SECRET_REFUSED', `${roles.join(' and ')}: ${fault}`);
}

function faultOf(rows: readonly RoleRow[]): string | null {
  const [one, other] = rows;
  if (one === undefined || other === undefined) return 'both have to be there';
  if (one.isSuperuser || other.isSuperuser) return 'neither may be a superuser';
  if (one.groups.length === 0) return 'rights have to come from a group that both are members of';
  return one.groups.join() === other.groups.join() ? null : 'both have to be members of the same groups';
}

/** In terms of a target: SECRET_REFUSED where it said no, SECRET_UNAVAILABLE where it gave no answer. */
function targetError(url: string, error: unknown): unknown {
  const server = `PostgreSQL at ${describeServer(url)}`;
  if (error instanceof DaybookError) {
    const reason = error.cause instanceof Error ? ` (${error.cause.message})` : '';
    if (error.code === 'CONFIG_INVALID') {
      return new DaybookError('SECRET_REFUSED', `${server} refuses the login${reason}`, { cause: error });
    }
    if (error.code !== 'DATABASE_UNAVAILABLE') return error;
    return new DaybookError('SECRET_UNAVAILABLE', `${server} does not answer${reason}`, { cause: error });
  }
  if (!refusedStates.includes(sqlState(error) ?? '')) return error;
  return new DaybookError('SECRET_REFUSED', `${server} refuses: ${(error as Error).message}`, { cause: error });
}
