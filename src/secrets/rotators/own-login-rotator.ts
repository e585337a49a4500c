import type pg from 'pg';
import type {
  AdoptedSecret,
  NewSecret,
  ProbeAnswer,
  RotationTarget,
  RotationWork,
  Rotator,
  SecretVersion,
} from '../../core/rotation.js';
import { readPassword, sqlState, withConnection, withCredentials } from '../../db/admin-connection.js';
import { closeLogin, endClosedSessions, listSessions, prepareLogin, tryLogin } from '../../db/application-logins.js';
import type { Login } from '../../db/login.js';
import type { LoginSession } from '../../db/login-roles.js';
import { roles } from '../../db/role-names.js';
import { scramVerifier } from '../../db/scram.js';
import { DaybookError } from '../../errors.js';
import { applicationRoleOf, slotOfRole, type LoginFollower } from '../application-login.js';
import { describeSessions, makePassword, textOf, untilNone } from './database-logins.js';

/** Nodes look every second which login is in force: so long a former one may have sessions without being in use. */
const leaveMs = 4_000;
/** After a roll-back nodes have to come back first. */
const comeBackMs = 6_000;
const insufficientPrivilege = '42501';
/** Serialises those who open and close logins of one ledger. Any constant does. */
const slotLock = '7219460237150043';

export interface OwnLoginParts {
  /** Of whoever may manage roles, to the ledger's database. */
  readonly adminUrl: string;
  readonly login: Login;
  readonly follower: Pick<LoginFollower, 'follow'>;
}

/**
 * Rotates the service's own login at its database. There are two login roles; the one that is not in force gets a new
 * password, every node changes to it, and the other is closed when nobody uses it any more. PostgreSQL is sent SCRAM
 * verifiers, never passwords.
 */
export class OwnLoginRotator implements Rotator {
  readonly type = 'DATABASE';
  readonly zeroDowntime = true;

  constructor(private readonly parts: OwnLoginParts) {}

  nextSlot(current: string | null): string {
    return current === 'a' ? 'b' : 'a';
  }

  async adopt({ settings }: Pick<NewSecret, 'settings'>): Promise<AdoptedSecret> {
    if (Object.keys(settings).length > 0) {
      throw new DaybookError('BAD_USER_INPUT', "the service's own login takes no settings: choose another secretName");
    }
    const { login, adminUrl } = this.parts;
    await withConnection(adminUrl, (admin) => this.#assertRotatable(admin));
    const password = readPassword(login.url);
    if (password === null) throw new DaybookError('SECRET_REFUSED', `${login.role} logs in without a password`);
    return { slot: slotOfRole(login.role), facts: { role: login.role }, value: Buffer.from(password) };
  }

  create(_target: RotationTarget, given: Uint8Array | null) {
    return makePassword(given);
  }

  async apply(target: RotationTarget, pending: SecretVersion, { keep }: Pick<RotationWork, 'keep'>): Promise<void> {
    const role = applicationRoleOf(pending.slot);
    await this.#asAdministrator(async (admin) => {
      await this.#assertRotatable(admin);
      const users = await waitUntilUnused(admin, role, leaveMs);
      if (users.length > 0) {
        throw new DaybookError('SECRET_REFUSED', `${role} has to be free and is used by ${describeSessions(users)}`);
      }
      // From here on the role may have the password; without this fact it has not.
      await keep({ facts: { role } });
      await inTransaction(admin, async () => {
        // A node that was overtaken finds its version pending no more. The row stays as it is until the role is changed.
        const found = await admin.query(
          `SELECT FROM public.secret_versions WHERE secret = $1 AND generation = $2 AND slot = $3 AND label = 'PENDING'
           FOR SHARE`,
          [target.id, pending.generation, pending.slot],
        );
        if (found.rowCount !== 1) throw new DaybookError('ROTATION_CONFLICT', 'the new password is pending no more');
        await prepareLogin(admin, role, scramVerifier(textOf(pending)));
      });
    });
  }

  async probe(_target: RotationTarget, pending: SecretVersion): Promise<ProbeAnswer> {
    if (pending.value === null) return 'UNKNOWN';
    return (await tryLogin(this.#urlOf(pending))).works ? 'WORKS' : 'ABSENT';
  }

  async verify(_target: RotationTarget, pending: SecretVersion): Promise<void> {
    const trial = await tryLogin(this.#urlOf(pending));
    if (!trial.works) throw new DaybookError('SECRET_REFUSED', `the new login does not work: ${trial.reason}`);
  }

  promoted(): Promise<void> {
    return this.parts.follower.follow();
  }

  async isInUse(_target: RotationTarget, previous: SecretVersion): Promise<boolean> {
    const role = applicationRoleOf(previous.slot);
    return this.#asAdministrator(async (admin) => (await waitUntilUnused(admin, role, leaveMs)).length > 0);
  }

  /** Ends sessions of others; those of nodes, which leave by themselves, are waited for and not cut. */
  async revoke(target: RotationTarget, version: SecretVersion): Promise<void> {
    if (version.facts.role === undefined) return;
    const role = applicationRoleOf(version.slot);
    await this.parts.follower.follow();
    await this.#asAdministrator(async (admin) => {
      if (await isTaken(admin, target, version)) return;
      const nodes = (await waitUntilUnused(admin, role, comeBackMs)).filter(isOfNode);
      if (nodes.length > 0)
        throw new DaybookError('SECRET_UNAVAILABLE', `${role} is used by ${describeSessions(nodes)}`);
      const isClosed = await inTransaction(admin, async () => {
        if (await isTaken(admin, target, version)) return false;
        await closeLogin(admin, role);
        return true;
      });
      if (isClosed) await endClosedSessions(admin, role);
    });
  }

  /** Throws SECRET_REFUSED with the reason why the login of this ledger cannot be rotated. */
  async #assertRotatable(admin: pg.Client): Promise<void> {
    const { fixedBecause } = this.parts.login;
    if (fixedBecause !== null) throw new DaybookError('SECRET_REFUSED', fixedBecause);
    const others = await admin.query<{ name: string }>(
      `SELECT DISTINCT datname::text AS name
       FROM pg_catalog.pg_shdepend AS used JOIN pg_catalog.pg_database AS other ON other.oid = used.dbid
       WHERE used.refclassid = 'pg_catalog.pg_authid'::regclass AND used.refobjid = to_regrole($1)
         AND other.datname <> current_database() ORDER BY 1 LIMIT 3`,
      [roles.owner],
    );
    if (others.rowCount === 0) return;
    const names = others.rows.map(({ name }) => name).join(', ');
    throw new DaybookError(
      'SECRET_REFUSED',
      `logins belong to the whole server, and other ledgers on it use the same (${names}): give each ledger a server of its own`,
    );
  }

  async #asAdministrator<Result>(work: (admin: pg.Client) => Promise<Result>): Promise<Result> {
    try {
      return await withConnection(this.parts.adminUrl, work);
    } catch (error) {
      if (sqlState(error) !== insufficientPrivilege) throw error;
      throw new DaybookError('SECRET_REFUSED', `the administrator may not do this: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  #urlOf(version: SecretVersion): string {
    return withCredentials(this.parts.adminUrl, applicationRoleOf(version.slot), textOf(version));
  }
}

/**
 * True where the place was given to a newer version, whose password has replaced this one. Throws SECRET_UNAVAILABLE while
 * that is not done yet, ROTATION_CONFLICT for the version that is current. In a transaction the answer stays true until its end.
 */
async function isTaken(admin: pg.Client, target: RotationTarget, version: SecretVersion): Promise<boolean> {
  const { rows } = await admin.query<{ generation: number; label: string }>(
    `SELECT generation, label FROM public.secret_versions
     WHERE secret = $1 AND slot = $2 AND label IN ('PENDING', 'CURRENT') FOR SHARE`,
    [target.id, version.slot],
  );
  if (rows.some(({ generation, label }) => generation === version.generation && label === 'CURRENT')) {
    throw new DaybookError('ROTATION_CONFLICT', 'the version to be revoked is current');
  }
  const others = rows.filter(({ generation }) => generation !== version.generation);
  if (others.some(({ label }) => label === 'PENDING')) {
    throw new DaybookError('SECRET_UNAVAILABLE', 'the login to be closed is being given a new password');
  }
  return others.length > 0;
}

async function inTransaction<Result>(admin: pg.Client, work: () => Promise<Result>): Promise<Result> {
  await admin.query("BEGIN; SET LOCAL lock_timeout = '10s'");
  try {
    await admin.query('SELECT pg_advisory_xact_lock($1)', [slotLock]);
    const result = await work();
    await admin.query('COMMIT');
    return result;
  } catch (error) {
    // A connection that broke has nothing to roll back.
    await admin.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** Sessions that are left when nobody uses the role any more, or after `waitMs`. */
function waitUntilUnused(admin: pg.Client, role: string, waitMs: number): Promise<LoginSession[]> {
  return untilNone(() => listSessions(admin, role), waitMs);
}

/** Names of connections are free to choose: who takes one of ours is waited for. */
function isOfNode({ applicationName }: LoginSession): boolean {
  return applicationName?.startsWith('daybook ') ?? false;
}
