import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Config } from '../config.js';
import { readPassword, sqlState, withConnection } from './admin-connection.js';
import { attachEmbeddedPostgres } from './attach-embedded-postgres.js';
import { dataDirInUse, tryLockDataDir } from './data-dir-lock.js';
import { startEmbeddedPostgres } from './embedded-postgres.js';
import type { MissingLayer } from './missing-layer.js';
import { provisionRoles, type ReadApplicationLogin, type RoleUrls } from './roles.js';
import { readOrCreateSecretFile } from './secret-file.js';

/** Name of the ledger's database in the embedded server. */
export const EMBEDDED_DATABASE = 'daybook';

const DUPLICATE_DATABASE = ['42P04', '23505'];

/**
 * A database that is ready for use: it exists, its roles log in, nothing is migrated yet. Disposing stops the embedded
 * server where this process started it, and frees the data folder.
 */
export interface OpenDatabase extends AsyncDisposable {
  readonly kind: 'embedded' | 'external';
  /** One connection URL per role; where 'role-separation' is missing all of them are the administrator's. */
  readonly urls: RoleUrls;
  /** What this server cannot give, for the health report; empty on the embedded server. */
  readonly missingLayers: readonly MissingLayer[];
}

export interface OpenDatabaseOptions {
  readonly log: Logger;
  /**
   * `serve` holds the data folder until disposal. `attach` is for one command: it uses the embedded server that runs, or
   * starts one and stops it at the end.
   */
  readonly mode: 'serve' | 'attach';
  /** Ends the opening, not what is open. */
  readonly signal?: AbortSignal;
  /** Which login of the application is in force; where nothing is said, the first one with its derived password. */
  readonly readApplicationLogin?: ReadApplicationLogin;
}

/**
 * Opens the embedded database of the data folder, or the one DATABASE_URL names, and prepares its roles. On an error
 * nothing stays open. Throws DATA_DIR_IN_USE, CONFIG_INVALID, PORT_TAKEN, DATABASE_START_FAILED, DATABASE_UNAVAILABLE or
 * DATABASE_UNSUPPORTED.
 */
export async function openDatabase(config: Config, options: OpenDatabaseOptions): Promise<OpenDatabase> {
  const database = config.databaseUrl
    ? await openExternal(config, config.databaseUrl, options)
    : await openEmbedded(config, options);
  for (const layer of database.missingLayers) {
    options.log.warn({ layer: layer.name, mend: layer.mend }, layer.cause);
  }
  return database;
}

/**
 * The secret that role passwords on the server of DATABASE_URL are derived from: the password the URL carries, so that all
 * nodes agree on it, else one kept in the data folder.
 */
export async function getExternalSecret(dataDir: string, url: string): Promise<string> {
  return readPassword(url) ?? (await readOrCreateSecretFile(join(dataDir, 'database-role-secret')));
}

async function openEmbedded(config: Config, options: OpenDatabaseOptions): Promise<OpenDatabase> {
  const { log, mode, signal } = options;
  const start = mode === 'serve' ? startEmbeddedPostgres : attachEmbeddedPostgres;
  const server = await start({ dataDir: config.dataDir, port: config.postgresPort, log, signal });
  try {
    await createDatabase(server.url);
    const adminUrl = new URL(`/${EMBEDDED_DATABASE}`, server.url).href;
    const layout = await provisionRoles(adminUrl, readPassword(server.url)!, log, options.readApplicationLogin);
    return { kind: 'embedded', ...layout, [Symbol.asyncDispose]: () => server.stop() };
  } catch (err) {
    await server.stop();
    throw err;
  }
}

async function openExternal(config: Config, url: string, options: OpenDatabaseOptions): Promise<OpenDatabase> {
  const { log, mode } = options;
  const lock = mode === 'serve' ? await tryLockDataDir(config.dataDir, 'serve') : undefined;
  if (lock === null) {
    throw await dataDirInUse(config.dataDir);
  }
  try {
    const layout = await provisionRoles(
      url,
      await getExternalSecret(config.dataDir, url),
      log,
      options.readApplicationLogin,
    );
    const release = () => {
      lock?.[Symbol.dispose]();
      return Promise.resolve();
    };
    return { kind: 'external', ...layout, [Symbol.asyncDispose]: release };
  } catch (err) {
    lock?.[Symbol.dispose]();
    throw err;
  }
}

async function createDatabase(serverUrl: string): Promise<void> {
  await withConnection(serverUrl, async (admin) => {
    const { rows } = await admin.query('SELECT FROM pg_database WHERE datname = $1', [EMBEDDED_DATABASE]);
    if (rows.length > 0) {
      return;
    }
    try {
      await admin.query(`CREATE DATABASE ${EMBEDDED_DATABASE} TEMPLATE template0 ENCODING 'UTF8'`);
    } catch (err) {
      // Another command made it in between.
      if (!DUPLICATE_DATABASE.includes(sqlState(err) ?? '')) {
        throw err;
      }
    }
  });
}
