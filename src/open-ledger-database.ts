import pg from 'pg';
import type { Logger } from 'pino';
import { KeyRing } from './access/key-ring.js';
import type { Config } from './config.js';
import { openDatabase, type OpenDatabase, type OpenDatabaseOptions } from './db/open-database.js';
import { ledgerConnection } from './db/pool.js';
import type { StoredLogin } from './db/roles.js';
import { DaybookError } from './errors.js';
import { openRootKey } from './open-root-key.js';
import { readApplicationLogin } from './secrets/application-login.js';

/** Opens the database with the application's login that is in force; errors are those of openDatabase. */
export function openLedgerDatabase(config: Config, options: OpenDatabaseOptions): Promise<OpenDatabase> {
  return openDatabase(config, {
    ...options,
    readApplicationLogin: (adminUrl) => readStoredLogin(config, adminUrl, options.log),
  });
}

/**
 * The application's login that the secrets of the database have as current, read by the administrator; null where none was
 * ever registered, or where this node has no key to read it: then only a login that was never rotated works.
 */
export async function readStoredLogin(config: Config, adminUrl: string, log: Logger): Promise<StoredLogin | null> {
  const admin = new pg.Client(ledgerConnection(adminUrl, 'daybook secrets'));
  admin.on('error', () => undefined);
  try {
    await admin.connect();
    return await readApplicationLogin(admin, async () => KeyRing.open(admin, await openRootKey(config)));
  } catch (error) {
    if (!(error instanceof DaybookError && error.code === 'SIGNING_UNAVAILABLE')) throw error;
    log.warn({ reason: error.message }, "the application's database login in force cannot be read");
    return null;
  } finally {
    // One that never connected has nothing to end.
    await admin.end().catch(() => undefined);
  }
}
