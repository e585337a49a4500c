import { createConnection } from 'node:net';
import { once } from 'node:events';
import { Option, type Command } from 'commander';
import { readConfig, type Config } from '../config.js';
import { canLogIn, describeServer } from '../db/admin-connection.js';
import { administratorUrl } from '../db/embedded-postgres.js';
import { EMBEDDED_DATABASE, getExternalSecret } from '../db/open-database.js';
import { isInitialised, postgresFolder } from '../db/postgres-folder.js';
import { readRunningPostmaster } from '../db/postmaster.js';
import { deriveRoleUrls, type StoredLogin } from '../db/roles.js';
import { readSecretFile } from '../db/secret-file.js';
import { DaybookError } from '../errors.js';
import { readStoredLogin } from '../open-ledger-database.js';
import { openLog } from './open-log.js';

const printableRoles = ['application', 'auditor', 'migrator', 'superuser'] as const;
type PrintableRole = (typeof printableRoles)[number];

/**
 * `daybook db-url`: prints one connection URL, with password, and nothing else on stdout, so that `psql "$(daybook db-url)"`
 * works. Says on stderr when nothing answers there. Throws CONFIG_INVALID where the data folder was never initialised.
 */
export function addDbUrlCommand(program: Command): void {
  program
    .command('db-url')
    .description('print a connection URL for psql and other tools; it holds a password')
    .addOption(new Option('--role <role>', 'whose URL').choices(printableRoles).default('migrator'))
    .action(async ({ role }: { role: PrintableRole }) => {
      const config = readConfig();
      const url = config.databaseUrl
        ? await externalUrl(config, config.databaseUrl, role)
        : await embeddedUrl(config, role);
      process.stdout.write(`${url}\n`);
    });
}

async function embeddedUrl(config: Config, role: PrintableRole): Promise<string> {
  const folder = postgresFolder(config.dataDir);
  const password = await readSecretFile(folder.passwordFile);
  if (password === null || !(await isInitialised(folder))) {
    throw new DaybookError(
      'CONFIG_INVALID',
      `There is no database in ${config.dataDir} yet. Start the service once (npm start), or set DAYBOOK_DATA_DIR to the folder it uses.`,
    );
  }
  // A server that runs may have been started with another port than this environment says.
  const port = (await readRunningPostmaster(folder.data))?.port ?? config.postgresPort;
  const isRunning = await isListening(port);
  if (!isRunning) {
    process.stderr.write(
      `Nothing listens on 127.0.0.1:${port} now: the URL works while the service runs (npm start).\n`,
    );
  }
  const adminUrl = administratorUrl(port, password, EMBEDDED_DATABASE);
  return deriveRoleUrls(adminUrl, password, isRunning ? await readRotated(config, adminUrl, role) : null)[role];
}

/** Null where nothing answers: then nobody knows whether the login was rotated. */
async function readRotated(config: Config, adminUrl: string, role: PrintableRole): Promise<StoredLogin | null> {
  if (role !== 'application') return null;
  try {
    return await readStoredLogin(config, adminUrl, openLog(config));
  } catch (error) {
    process.stderr.write(`Whether this login was rotated cannot be read: ${(error as Error).message}\n`);
    return null;
  }
}

async function externalUrl(config: Config, adminUrl: string, role: PrintableRole): Promise<string> {
  const stored = await readRotated(config, adminUrl, role);
  const url = deriveRoleUrls(adminUrl, await getExternalSecret(config.dataDir, adminUrl), stored)[role];
  try {
    if (await canLogIn(url)) {
      return url;
    }
  } catch (err) {
    process.stderr.write(`${(err as Error).message}\n`);
    return url;
  }
  process.stderr.write(
    `${describeServer(adminUrl)} has no login for the role ${role}: this is the URL of its administrator. Start the service once to make the roles, where DATABASE_URL names a user that may.\n`,
  );
  return adminUrl;
}

async function isListening(port: number): Promise<boolean> {
  const socket = createConnection({ port, host: '127.0.0.1' });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
