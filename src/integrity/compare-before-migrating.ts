import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Logger } from 'pino';
import { BreakList } from '../core/log-breaks.js';
import { ledgerConnection, openPool } from '../db/pool.js';
import type { RoleUrls } from '../db/roles.js';
import { LedgerWriter } from '../ledger/append-entries.js';
import { withSnapshot } from '../ledger/verify-snapshot.js';
import { baselineWithheld, isBaselineDue, verifyCatalog } from './baseline.js';
import { readMigrations } from './catalog-facts.js';
import { reportIncidents } from './incidents.js';
import { integrityEntry, serviceOrigin } from './integrity-entry.js';

/** Differences that the entry repeats. */
const differencesNamedMax = 20;
const queueRowsMax = 100;

export interface CompareBeforeMigratingOptions {
  readonly urls: Pick<RoleUrls, 'application' | 'auditor'>;
  /** Names of all migrations of this version. */
  readonly knownMigrations: readonly string[];
  readonly log: Logger;
}

/**
 * Compares the catalogue with its baseline where migrations are pending, before they are executed: the baseline that follows
 * a migration would otherwise declare right what somebody changed before. Where they differ, an incident and an
 * `IntegrityBaselineWithheld` entry commit together, and ensureBaseline takes none until somebody has declared the
 * catalogue right. Returns what differs, nothing where all is well or where there is nothing to compare yet.
 */
export async function compareBeforeMigrating(options: CompareBeforeMigratingOptions): Promise<BreakList> {
  const nothing = new BreakList();
  const found = await findDifferences(options);
  if (found.count === 0) return nothing;
  // PostgreSQL shows some definitions as they are now and not as in the snapshot. Where another node has migrated meanwhile,
  // that is what differs; it compared before.
  const pending = await withSnapshot({ url: options.urls.auditor }, (client) => readPending(client, options));
  if (pending.length === 0) return nothing;
  options.log.error(
    { differences: found.first, pending },
    'the catalogue is not what its baseline says: migrations will not make a new one',
  );
  await recordDifferences(options, found, pending);
  return found;
}

function findDifferences(options: CompareBeforeMigratingOptions): Promise<BreakList> {
  return withSnapshot({ url: options.urls.auditor }, async (client) => {
    const found = new BreakList();
    const made = await client.query(`SELECT WHERE to_regclass('public.integrity_baselines') IS NOT NULL`);
    if (made.rowCount === 0 || (await readPending(client, options)).length === 0) return found;
    if (!(await isBaselineDue(client))) await verifyCatalog(client, found, { sinceBaseline: true });
    return found;
  });
}

async function readPending(
  client: pg.ClientBase,
  { knownMigrations }: CompareBeforeMigratingOptions,
): Promise<string[]> {
  const executed = new Set(await readMigrations(client));
  return knownMigrations.filter((name) => !executed.has(name));
}

async function recordDifferences(
  { urls, log }: CompareBeforeMigratingOptions,
  found: BreakList,
  pending: readonly string[],
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const database = openPool({ ...ledgerConnection(urls.application, 'daybook start'), max: 1 }, (err) =>
    log.warn({ err }, 'a connection to the database broke'),
  );
  stack.defer(() => database.end());
  const writer = stack.use(new LedgerWriter({ url: urls.application, queueRowsMax, log }));
  const origin = serviceOrigin('start', randomUUID());
  const first = found.first.slice(0, differencesNamedMax).map(({ code, message }) => ({ code, message }));
  const entry = integrityEntry(origin, {
    event: baselineWithheld,
    action: 'EXECUTE',
    resource: 'integrity-baseline',
    outcome: 'INTEGRITY_FAILED',
    details: { changes: first, changesInAll: String(found.count), pending },
  });
  const report = {
    kind: 'INTEGRITY',
    // Checks of the catalogue go on counting in the same incident.
    fingerprint: 'integrity:catalogue',
    title: `The database's catalogue differed from its baseline before a migration: ${first[0]?.code ?? ''}`,
    details: (known: Readonly<Record<string, unknown>> | null) => ({
      ...known,
      beforeMigrations: pending,
      differed: first,
    }),
  } as const;
  const append = (request: Parameters<LedgerWriter['append']>[0]) => writer.append(request);
  await reportIncidents({ database, append }, [report], origin, { entries: [entry] });
}
