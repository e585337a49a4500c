import type { MigrationObject } from '@mikro-orm/core';
import type { MikroORM } from '@mikro-orm/postgresql';
import type { Logger } from 'pino';
import { DaybookError } from '../errors.js';
import { sqlState, withConnection } from './admin-connection.js';
import { installJobQueue } from './job-queue.js';
import { openOrm } from './orm.js';

/** Held by whoever migrates this database. Nothing else on the database may use the same number. */
const MIGRATION_LOCK = '7219460237150044';
/** A migration of another node may rewrite a large table. */
const LOCK_TIMEOUT_MS = 600_000;
/** The ledger's own guard in the database refuses to be dropped. */
const LEDGER_HOLDS_ENTRIES = 'DB006';

/** A migration with the tables whose rows are evidence: it is not undone while one of them has any. */
export type LedgerMigration = MigrationObject & { readonly evidenceTables?: readonly string[] };

export interface MigrateInput {
  /** The migrator's URL. */
  readonly url: string;
  /** All migrations in order of execution. */
  readonly migrations: readonly LedgerMigration[];
  readonly log: Logger;
}

/**
 * Runs every pending migration in one transaction, so a crash leaves the database as it was; then installs the job queue,
 * whose migrations are its library's own. Nodes that start together wait for each other, and all but one find nothing to
 * do. Returns the names of those it ran, without the job queue's.
 */
export async function migrateUp(input: MigrateInput): Promise<string[]> {
  return underMigrationLock(input, async (orm) => {
    const executed = await orm.migrator.up();
    await installJobQueue(input.url, input.log);
    return executed.map((migration) => migration.name);
  });
}

/**
 * Undoes the last migration and returns its name, or null where none was executed. Throws MIGRATION_REFUSED, and changes
 * nothing, while a table of evidence it would drop has rows, or when this version does not know the last migration.
 */
export async function migrateDown(input: MigrateInput): Promise<string | null> {
  return underMigrationLock(input, async (orm) => {
    const executed = await orm.migrator.getExecuted();
    const last = executed.at(-1);
    if (last === undefined) {
      return null;
    }
    const migration = input.migrations.find(({ name }) => name === last.name);
    if (migration === undefined) {
      throw new DaybookError(
        'MIGRATION_REFUSED',
        `The last migration, ${last.name}, is not known to this version of Daybook. Undo it with the version that made it.`,
      );
    }
    try {
      await orm.em.transactional(async (em) => {
        for (const table of migration.evidenceTables ?? []) {
          // Appends wait from here to the commit, so that no row arrives between the look and the drop.
          await em.execute(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
          if ((await em.execute(`SELECT FROM ${table} LIMIT 1`)).length > 0) {
            throw refusal(last.name, `${table} has rows`);
          }
        }
        await orm.migrator.down({ migrations: [last.name], transaction: em.getTransactionContext<object>() });
      });
    } catch (err) {
      throw sqlState(err) === LEDGER_HOLDS_ENTRIES ? refusal(last.name, 'the ledger holds entries', err) : err;
    }
    return last.name;
  });
}

function refusal(name: string, reason: string, cause?: unknown): DaybookError {
  return new DaybookError(
    'MIGRATION_REFUSED',
    `Undoing ${name} would destroy evidence: ${reason}. Archive first: back the database up, verify the copy, and start over in a new database.`,
    { cause },
  );
}

async function underMigrationLock<T>(input: MigrateInput, work: (orm: MikroORM) => Promise<T>): Promise<T> {
  // On a connection of its own, which holds the lock until it is closed, or until this process dies.
  return withConnection(input.url, async (holder) => {
    await holder.query(`SET statement_timeout = ${LOCK_TIMEOUT_MS}`);
    await holder.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    const orm = await openOrm({ ...input, entities: [], poolSize: 2 });
    try {
      return await work(orm);
    } finally {
      await orm.close();
    }
  });
}
