import type pg from 'pg';
import type { Logger } from 'pino';
import { DaybookError } from '../errors.js';
import { canLogIn, readPassword, readUser, sqlState, withConnection, withCredentials } from './admin-connection.js';
import { isRotated } from './application-logins.js';
import { ensureRoles, readLackingRight } from './ensure-roles.js';
import { missingLayer, type MissingLayer } from './missing-layer.js';
import { prepareOptionalLayers } from './optional-layers.js';
import { isApplicationLogin, loginRoles, roles } from './role-names.js';
import { deriveRolePassword, scramVerifier } from './scram.js';
import { readServerFacts, type ServerFacts } from './server-facts.js';

export { roles };

/** Serialises nodes that provision one database. Any constant does; nothing else on the database may use the same. */
const PROVISION_LOCK = '7219460237150042';
/** Roles belong to the whole server, locks to one database: two databases provisioned at once can still collide. */
const ATTEMPTS_MAX = 5;
/** Duplicate role or membership, and two transactions changing one catalogue row. */
const COLLISIONS = ['42710', '23505', 'XX000', '40001', '40P01'];
const INSUFFICIENT_PRIVILEGE = '42501';

/** Connection URLs, with password, to the ledger's database. */
export interface RoleUrls {
  readonly application: string;
  readonly auditor: string;
  readonly migrator: string;
  /** Records refused modifications from inside the server. */
  readonly attemptWriter: string;
  /** The administrator: of the embedded server, or the user of DATABASE_URL. */
  readonly superuser: string;
}

export interface RoleLayout {
  readonly urls: RoleUrls;
  readonly missingLayers: readonly MissingLayer[];
}

/** A login of the application with the password that a rotation has put in force. */
export interface StoredLogin {
  readonly role: string;
  readonly password: string;
}

/** What is in force according to the secrets in the ledger's database; null where no rotation has changed it. */
export type ReadApplicationLogin = (adminUrl: string) => Promise<StoredLogin | null>;

/**
 * The URLs of the roles, without asking the server: passwords are derived from the administrator's secret, but for the
 * application's where a rotation has put another login in force. `adminUrl` names the ledger's database.
 */
export function deriveRoleUrls(adminUrl: string, adminSecret: string, stored: StoredLogin | null = null): RoleUrls {
  const urlOf = (role: string) => withCredentials(adminUrl, role, deriveRolePassword(adminSecret, role));
  if (stored !== null && !isApplicationLogin(stored.role)) {
    throw new TypeError(`${stored.role} is no login of the application`);
  }
  return {
    application: stored === null ? urlOf(roles.application) : withCredentials(adminUrl, stored.role, stored.password),
    auditor: urlOf(roles.auditor),
    migrator: urlOf(roles.migrator),
    attemptWriter: urlOf(roles.attemptWriter),
    superuser: adminUrl,
  };
}

/**
 * Makes the roles, what they need in the ledger's database, and the extension dblink, as far as the administrator may.
 * On a server that is prepared it changes nothing. Nodes that do it at the same time wait for each other.
 * Throws DATABASE_UNSUPPORTED for a server older than 15, not in UTF-8 or read only, CONFIG_INVALID where the application's
 * login was rotated and what is known of it does not log in, and as withConnection and `readApplicationLogin`.
 */
export async function provisionRoles(
  adminUrl: string,
  adminSecret: string,
  log: Logger,
  readApplicationLogin: ReadApplicationLogin = () => Promise.resolve(null),
): Promise<RoleLayout> {
  return withConnection(adminUrl, async (admin) => {
    const facts = await readServerFacts(admin, adminUrl);
    // Freed with the connection.
    await admin.query('SELECT pg_advisory_lock($1)', [PROVISION_LOCK]);
    const urls = deriveRoleUrls(adminUrl, adminSecret, await readApplicationLogin(adminUrl));
    const refusal = await separateRoles(admin, facts, urls, log);
    const optional = await prepareOptionalLayers(admin, facts, refusal === null);
    if (refusal === null) {
      return { urls, missingLayers: optional };
    }
    const single = { application: adminUrl, auditor: adminUrl, migrator: adminUrl, attemptWriter: adminUrl };
    return { urls: { ...urls, ...single }, missingLayers: [missingLayer('role-separation', refusal), ...optional] };
  });
}

/** Null when the roles are there and log in; otherwise the reason why they cannot be had. */
async function separateRoles(
  admin: pg.Client,
  facts: ServerFacts,
  urls: RoleUrls,
  log: Logger,
): Promise<string | null> {
  const passwordOf = (name: (typeof loginRoles)[number]) => readPassword(urls[name]) ?? '';
  const roleOf = (name: (typeof loginRoles)[number]) => readUser(urls[name]);
  const passwords = new Map(loginRoles.map((name) => [roleOf(name), passwordOf(name)]));
  try {
    await inTransaction(admin, () => ensureRoles(admin, passwords));
    const lacking = await readLackingRight(admin);
    const refused = lacking === null ? await listRefusedLogins(urls) : [];
    if (refused.length === 0) {
      return lacking;
    }
    if (refused.includes('application')) await assertNotRotated(admin, roleOf('application'));
    log.warn({ roles: refused.map(roleOf) }, 'setting the passwords of roles that could not log in');
    await inTransaction(admin, async () => {
      for (const name of refused) {
        await admin.query(`ALTER ROLE ${roleOf(name)} LOGIN PASSWORD '${scramVerifier(passwordOf(name))}'`);
      }
    });
    const [barred] = await listRefusedLogins(urls);
    return barred === undefined ? null : `the server refuses the login of ${roleOf(barred)} (see its pg_hba.conf)`;
  } catch (err) {
    if (sqlState(err) !== INSUFFICIENT_PRIVILEGE) {
      throw err;
    }
    return facts.mayCreateRoles ? (err as Error).message : 'this user may not create roles';
  }
}

/**
 * What a rotation closed stays closed: a node whose secrets are older than the server must not open it again, nor set back a
 * password that was replaced because others knew it.
 */
async function assertNotRotated(admin: pg.Client, role: string): Promise<void> {
  if (!(await isRotated(admin, role))) return;
  throw new DaybookError(
    'CONFIG_INVALID',
    `The server refuses the login of ${role}, whose password was rotated: the one that this node knows is not in force. ` +
      `See pg_hba.conf, and whether the database holds the newest secrets. To have the known password set again, let an ` +
      `administrator run: COMMENT ON ROLE ${role} IS NULL.`,
  );
}

async function listRefusedLogins(urls: RoleUrls): Promise<(typeof loginRoles)[number][]> {
  const answers = await Promise.all(loginRoles.map((name) => canLogIn(urls[name])));
  return loginRoles.filter((_, index) => !answers[index]);
}

/** One transaction, tried again when it collided with another database's provisioning on the same server. */
async function inTransaction(admin: pg.Client, work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    await admin.query('BEGIN');
    try {
      await work();
      await admin.query('COMMIT');
      return;
    } catch (err) {
      await admin.query('ROLLBACK');
      if (attempt === ATTEMPTS_MAX || !COLLISIONS.includes(sqlState(err) ?? '')) {
        throw err;
      }
    }
  }
}
