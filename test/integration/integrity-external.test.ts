import { describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { migrationsList } from '../../migrations/index.js';
import { readConfig } from '../../src/config.js';
import { withConnection } from '../../src/db/admin-connection.js';
import { migrateUp } from '../../src/db/migrate.js';
import { openDatabase } from '../../src/db/open-database.js';
import { installRefusalLayers } from '../../src/db/refusal-layers.js';
import type { RoleUrls } from '../../src/db/roles.js';
import { createDataFolder } from '../support/data-folder.js';
import { hasDebianPostgres, startDebianPostgres } from '../support/debian-postgres.js';
import { findCatalogBreaks, startWithBaseline } from '../support/integrity-baseline.js';

const log = pino({ level: 'silent' });

/** Starts as the service does, and hands its URLs and the reason of its baseline to `look`. */
async function start(url: string, dataDir: string, look: (urls: RoleUrls, reason: string | null) => Promise<void>) {
  await using database = await openDatabase(readConfig({ DATABASE_URL: url, DAYBOOK_DATA_DIR: dataDir }), {
    log,
    mode: 'attach',
  });
  const executed = await migrateUp({ url: database.urls.migrator, migrations: migrationsList, log });
  await installRefusalLayers(database.urls);
  await look(database.urls, await startWithBaseline(database, executed));
}

(hasDebianPostgres ? describe : describe.skip)('on an external PostgreSQL 15', () => {
  test.each([
    ['with all layers', 'DO $$ BEGIN END $$', undefined],
    ['with one user who owns everything', "CREATE ROLE plain LOGIN PASSWORD 'secret'", 'plain'],
  ])('a baseline holds over starts of the service, and shows what changed: %s', async (_, prepare, user) => {
    await using server = await startDebianPostgres();
    await withConnection(server.url, (admin) => admin.query(prepare));
    await withConnection(server.url, (admin) =>
      admin.query(
        `CREATE DATABASE ledger TEMPLATE template0 ENCODING 'UTF8' ${user === undefined ? '' : `OWNER ${user}`}`,
      ),
    );
    await using folder = await createDataFolder();
    const url = new URL('/ledger', server.url);
    const superuserUrl = url.href;
    if (user !== undefined) Object.assign(url, { username: user, password: 'secret' });
    await start(url.href, folder.path, async (_urls, reason) => expect(reason).toBe('first start'));
    await withConnection(superuserUrl, (admin) => admin.query('VACUUM FREEZE'));
    await start(url.href, folder.path, async (urls, reason) => {
      expect(reason).toBeNull();
      expect(await findCatalogBreaks({ urls })).toEqual([]);
      await withConnection(urls.migrator, (migrator) =>
        migrator.query(`${user === undefined ? 'SET ROLE daybook_owner;' : ''}
          ALTER TABLE public.signals DISABLE TRIGGER append_signal_trigger;
          ALTER TABLE public.signals ENABLE ALWAYS TRIGGER append_signal_trigger`),
      );
      expect(await findCatalogBreaks({ urls })).toMatchObject([{ code: 'TRIGGER_CHANGED' }]);
    });
  });
});
