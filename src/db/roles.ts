import type pg from 'pg';
import type { Logger } from 'pino';
import { canLogIn, sqlState, withConnection, withCredentials } from './admin-connection.js';
import { ensureRoles, readLackingRight } from './ensure-roles.js';
import { missingLayer, type MissingLayer } from './missing-layer.js';
import { prepareOptionalLayers } from './optional-layers.js';
import { loginRoles, roles } from './role-names.js';
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

/**
 * The URLs of the roles, without asking the server: passwords are derived from the administrator's secret. `adminUrl`
 * names the ledger's database.
 */
export function deriveRoleUrls(adminUrl: string, adminSecret: string): RoleUrls {
  const urlOf = (role: string) => withCredentials(adminUrl, role, deriveRolePassword(adminSecret, role));
  return {
    application: urlOf(roles.application),
    auditor: urlOf(roles.auditor),
    migrator: urlOf(roles.migrator),
    attemptWriter: urlOf(roles.attemptWriter),
    superuser: adminUrl,
  };
}

/**
 * Makes the roles, what they need in the ledger's database, and the extension dblink, as far as the administrator may.
 * On a server that is prepared it changes nothing. Nodes that do it at the same time wait for each other.
 * Throws DATABASE_UNSUPPORTED for a server older than 15, not in UTF-8 or read only, and as withConnection.
 */
export async function provisionRoles(adminUrl: string, adminSecret: string, log: Logger): Promise<RoleLayout> {
  const urls = deriveRoleUrls(adminUrl, adminSecret);
  return withConnection(adminUrl, async (admin) => {
    const facts = await readServerFacts(admin, adminUrl);
    // Freed with the connection.
    await admin.query('SELECT pg_advisory_lock($1)', [PROVISION_LOCK]);
    const refusal = await separateRoles(admin, facts, urls, adminSecret, log);
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
  adminSecret: string,
  log: Logger,
): Promise<string | null> {
  try {
    await inTransaction(admin, () => ensureRoles(admin, adminSecret));
    const lacking = await readLackingRight(admin);
    const refused = lacking === null ? await listRefusedLogins(urls) : [];
    if (refused.length === 0) {
      return lacking;
    }
    log.warn({ roles: refused.map((name) => roles[name]) }, 'setting the passwords of roles that could not log in');
    await inTransaction(admin, async () => {
      for (const name of refused) {
        const verifier = scramVerifier(deriveRolePassword(adminSecret, roles[name]));
        await admin.query(`ALTER ROLE ${roles[name]} LOGIN PASSWORD '${verifier}'`);
      }
    });
    const [barred] = await listRefusedLogins(urls);
    return barred === undefined ? null : `the server refuses the login of ${roles[barred]} (see its pg_hba.conf)`;
  } catch (err) {
    if (sqlState(err) !== INSUFFICIENT_PRIVILEGE) {
      throw err;
    }
    return facts.mayCreateRoles ? (err as Error).message : 'this user may not create roles';
  }
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
