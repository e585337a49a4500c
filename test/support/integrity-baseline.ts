import { pino } from 'pino';
import { migrationsList } from '../../migrations/index.js';
import { BreakList, type LogBreak } from '../../src/core/log-breaks.js';
import { ensureBaseline, takeBaseline, verifyCatalog } from '../../src/integrity/baseline.js';
import { serviceOrigin } from '../../src/integrity/integrity-entry.js';
import { LedgerWriter } from '../../src/ledger/append-entries.js';
import { withSnapshot } from '../../src/ledger/verify-snapshot.js';
import type { RoleUrls } from '../../src/db/roles.js';

const log = pino({ level: 'silent' });

type Database = { readonly urls: RoleUrls };

/** Statement by which a superuser gets past the guard against changes of the schema, without a trace in the catalogue. */
export const asIntruder = 'SET event_triggers = off';

/** A writer of its own, as one node has. */
export function openWriter(database: Database): LedgerWriter {
  return new LedgerWriter({ url: database.urls.application, queueRowsMax: 1_000, log });
}

/** Declares what the catalogue says now to be right. */
export async function setBaseline(database: Database): Promise<void> {
  await using writer = openWriter(database);
  await takeBaseline({
    append: (request) => writer.append(request),
    readerUrl: database.urls.auditor,
    origin: serviceOrigin('test', 'test'),
    reason: 'test',
  });
}

/** What each start of the service does. */
export async function startWithBaseline(
  database: Database,
  executedMigrations: readonly string[] = [],
): Promise<string | null> {
  await using writer = openWriter(database);
  return await ensureBaseline({
    append: (request) => writer.append(request),
    readerUrl: database.urls.auditor,
    knownMigrations: migrationsList.map(({ name }) => name),
    executedMigrations,
  });
}

/** Compares the catalogue with the baseline. */
export async function findCatalogBreaks(database: Database): Promise<readonly LogBreak[]> {
  const breaks = new BreakList();
  await withSnapshot({ url: database.urls.auditor }, (client) => verifyCatalog(client, breaks));
  return breaks.first;
}
