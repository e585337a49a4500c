import 'reflect-metadata';
import { ReflectMetadataProvider } from '@mikro-orm/decorators/legacy';
import { Migrator } from '@mikro-orm/migrations';
import { MikroORM, type EntityClass, type MigrationObject } from '@mikro-orm/postgresql';
import type { Logger } from 'pino';
import { roles } from './role-names.js';

/** Where the executed migrations are listed. */
export const MIGRATIONS_TABLE = 'daybook_migrations';

export interface OrmInput {
  readonly url: string;
  /** Every entity class, in an explicit list. */
  readonly entities: readonly EntityClass<object>[];
  /** Connections at most. */
  readonly poolSize: number;
  readonly log: Logger;
  readonly migrations?: readonly MigrationObject[];
}

/** MikroORM on one role's URL. Connects at the first query; close it with `orm.close()`. Looks for no files, emits none. */
export async function openOrm(input: OrmInput): Promise<MikroORM> {
  const { log, url } = input;
  return MikroORM.init({
    // MikroORM takes only host, port, user, password and database of it: the driver gets all, sslmode included.
    clientUrl: url,
    driverOptions: {
      connectionString: url,
      // What a migration makes belongs to the owner, who cannot log in.
      ...(new URL(url).username === roles.migrator ? { options: `-c role=${roles.owner}` } : {}),
    },
    pool: { min: 0, max: input.poolSize },
    entities: [...input.entities],
    discovery: { warnWhenNoEntities: false },
    metadataProvider: ReflectMetadataProvider,
    metadataCache: { enabled: false },
    extensions: [Migrator],
    migrations: {
      tableName: MIGRATIONS_TABLE,
      migrationsList: [...(input.migrations ?? [])],
      // Either all pending migrations happen or none.
      allOrNothing: true,
      snapshot: false,
      silent: true,
    },
    ensureDatabase: false,
    logger: (message) => log.debug(message),
    colors: false,
  });
}
