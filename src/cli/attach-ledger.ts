import type pg from 'pg';
import type { Logger } from 'pino';
import type { Redactor } from '../access/redact.js';
import type { Append } from '../access/request-calls.js';
import type { Clock } from '../clock.js';
import { readConfig, type Config } from '../config.js';
import { openLogin, type Login } from '../db/login.js';
import { ledgerConnection, openPool } from '../db/pool.js';
import type { RoleUrls } from '../db/roles.js';
import { LedgerWriter } from '../ledger/append-entries.js';
import { openLedgerDatabase } from '../open-ledger-database.js';
import { openRedactor } from '../open-redactor.js';
import { openLog } from './open-log.js';

/** Entries that may wait for the writer: a command appends a few at a time. */
const queueRowsMax = 100;

/** What a command works with that writes to the ledger beside a running service. */
export interface AttachedLedger {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly urls: RoleUrls;
  readonly login: Login;
  readonly pool: pg.Pool;
  readonly append: Append;
  readonly redactor: Redactor;
}

/** Connects a command to the ledger's database; `stack` takes over what has to be closed. `name` is shown by PostgreSQL. */
export async function attachLedger(
  stack: AsyncDisposableStack,
  name: string,
  signal: AbortSignal,
): Promise<AttachedLedger> {
  const config = readConfig();
  const log = openLog(config);
  const database = stack.use(await openLedgerDatabase(config, { log, mode: 'attach', signal }));
  const login = openLogin(database);
  const pool = openPool({ ...ledgerConnection(login, name), max: 3 }, (err) =>
    log.warn({ err }, 'a connection to the database broke'),
  );
  stack.defer(() => pool.end());
  const writer = stack.use(new LedgerWriter({ url: login, queueRowsMax, log }));
  const redactor = await openRedactor(config);
  return {
    config,
    log,
    clock: { nowMs: () => Date.now() },
    urls: database.urls,
    login,
    pool,
    append: (request) => writer.append(request),
    redactor,
  };
}
