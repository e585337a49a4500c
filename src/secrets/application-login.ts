import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { KeyRing } from '../access/key-ring.js';
import { isLoginRefused, withCredentials } from '../db/admin-connection.js';
import type { Login } from '../db/login.js';
import { roles, type ApplicationLogin } from '../db/role-names.js';
import type { StoredLogin } from '../db/roles.js';
import { DaybookError } from '../errors.js';
import type { Queryable } from '../ledger/read-entries.js';
import { readVersion } from './secret-store.js';

/** The name of the DATABASE secret that is the service's own login. */
export const applicationLoginName = 'application';

/** How often a node looks which login is in force. Well below what a rotation waits before it says that one is still used. */
const lookIntervalMs = 1_000;

const roleOfSlot = new Map<string, ApplicationLogin>([
  ['a', roles.application],
  ['b', roles.otherApplication],
]);

/** The login role of a slot. */
export function applicationRoleOf(slot: string | null): ApplicationLogin {
  const role = roleOfSlot.get(slot ?? '');
  if (role === undefined) throw new TypeError(`the application's login has no slot ${slot ?? 'null'}`);
  return role;
}

/** The slot of a login role. */
export function slotOfRole(role: string): string {
  const found = [...roleOfSlot].find(([, name]) => name === role);
  if (found === undefined) throw new TypeError(`${role} is no login of the application`);
  return found[0];
}

/**
 * What the secrets say is in force; null where the login is not registered, or there are no tables of secrets yet. Throws
 * SIGNING_UNAVAILABLE where the ring cannot open the value. `database` as ledgerConnection makes it.
 */
export async function readApplicationLogin(
  database: Queryable,
  openRing: () => Promise<KeyRing>,
): Promise<StoredLogin | null> {
  const tables = await database.query("SELECT WHERE to_regclass('public.secret_versions') IS NOT NULL");
  if (tables.rowCount === 0) return null;
  const current = await readCurrent(database);
  if (current === null) return null;
  const version = await readVersion(database, await openRing(), current.secretId, { generation: current.generation });
  if (version === null || version.value === null) return null;
  const password = Buffer.from(version.value).toString();
  version.value.fill(0);
  return { role: applicationRoleOf(version.slot), password };
}

interface CurrentVersion {
  readonly secretId: string;
  readonly generation: number;
}

async function readCurrent(database: Queryable): Promise<CurrentVersion | null> {
  const found = await database.query<CurrentVersion>(
    `SELECT secret.id AS "secretId", version.generation
     FROM public.secrets AS secret JOIN public.secret_versions AS version ON version.secret = secret.id
     WHERE secret.type = 'DATABASE' AND secret.name = $1 AND version.label = 'CURRENT'`,
    [applicationLoginName],
  );
  return found.rows[0] ?? null;
}

export interface LoginFollowerParts {
  readonly database: Queryable;
  readonly ring: KeyRing;
  readonly login: Login;
  /** What is in force, read as the administrator: for a node that was away when its own login was closed. */
  readonly readAsAdministrator: () => Promise<StoredLogin | null>;
  readonly log: Logger;
}

/**
 * Keeps this node on the login in force. It looks by itself; the node that rotates does so at once. Whenever it looks, the
 * former login is valid until the server has no session of it left, so a node that is late loses nothing.
 */
export class LoginFollower implements AsyncDisposable {
  readonly #parts: LoginFollowerParts;
  readonly #closing = new AbortController();
  #following: Promise<void> = Promise.resolve();
  #running: Promise<void> | null = null;
  /** What this node uses; null until it has looked. */
  #generation: number | null = null;
  #reported: string | null = null;

  constructor(parts: LoginFollowerParts) {
    this.#parts = parts;
  }

  /** Looks from now on until it is disposed of. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Looks now; calls wait for each other. Throws as Login.change, and what the database throws. */
  follow(): Promise<void> {
    const followed = this.#following.then(() => this.#follow());
    this.#following = followed.catch(() => undefined);
    return followed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#running;
    await this.#following;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await this.follow();
        this.#reported = null;
      } catch (error) {
        this.#report(error);
      }
      await delay(lookIntervalMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #follow(): Promise<void> {
    const { database, ring } = this.#parts;
    try {
      const current = await readCurrent(database);
      if (current === null || current.generation === this.#generation) return;
      await this.#change(await readApplicationLogin(database, () => Promise.resolve(ring)));
      this.#generation = current.generation;
    } catch (error) {
      if (!isLoginRefused(error)) throw error;
      await this.#change(await this.#parts.readAsAdministrator());
    }
  }

  async #change(stored: StoredLogin | null): Promise<void> {
    if (stored === null) return;
    const { login, log } = this.#parts;
    const url = withCredentials(login.url, stored.role, stored.password);
    if (url === login.url) return;
    await login.change(url);
    log.info({ role: stored.role }, 'the database login was changed');
  }

  /** In the log once, until something else is wrong or it works again. */
  #report(error: unknown): void {
    const reason = error instanceof DaybookError ? `${error.code}: ${error.message}` : (error as Error).message;
    if (this.#reported === reason) return;
    this.#reported = reason;
    this.#parts.log.warn({ reason }, 'the database login in force cannot be followed: trying on');
  }
}
