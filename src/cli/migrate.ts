import type { Command } from 'commander';
import { pino } from 'pino';
import { secretlessLog } from '../access/secretless-log.js';
import { migrationsList } from '../../migrations/index.js';
import { readConfig } from '../config.js';
import { migrateDown, migrateUp, type MigrateInput } from '../db/migrate.js';
import { readMigrationStatus, type MigrationStatus } from '../db/migration-status.js';
import { installRefusalLayers } from '../db/refusal-layers.js';
import type { RoleUrls } from '../db/roles.js';
import { ensureBaseline } from '../integrity/baseline.js';
import { compareBeforeMigrating } from '../integrity/compare-before-migrating.js';
import { LedgerWriter } from '../ledger/append-entries.js';
import { openLedgerDatabase } from '../open-ledger-database.js';

interface OutputOptions {
  readonly json?: boolean;
}

/** `daybook migrate up|down|status`. With --json each prints one JSON value; the log goes to stderr. */
export function addMigrateCommand(program: Command): void {
  const migrate = program.command('migrate').description('bring the database schema up to date, back, or look at it');
  migrate
    .command('up')
    .description('run every pending migration; does nothing where there is none')
    .option('--json', 'print {"executed": [names]}')
    .action(({ json }: OutputOptions) =>
      withDatabase(async (input, urls) => {
        await compareBeforeMigrating({
          urls,
          knownMigrations: input.migrations.map(({ name }) => name),
          log: input.log,
        });
        const executed = await migrateUp(input);
        await installRefusalLayers(urls);
        // A new ledger gets its baseline from the first start of the service.
        if (executed.length > 0 && executed.length < input.migrations.length)
          await declareBaseline(input, urls, executed);
        print(json, { executed }, executed.length === 0 ? ['nothing to do'] : executed.map((name) => `ran ${name}`));
      }),
    );
  migrate
    .command('down')
    .description('undo the last migration; refused while that would destroy evidence')
    .option('--json', 'print {"undone": name or null}')
    .action(({ json }: OutputOptions) =>
      withDatabase(async (input) => {
        const undone = await migrateDown(input);
        print(json, { undone }, [undone === null ? 'nothing to undo' : `undid ${undone}`]);
      }),
    );
  migrate
    .command('status')
    .description('list migrations, tables with their columns, and triggers with their state')
    .option('--json', 'print the whole status')
    .action(({ json }: OutputOptions) =>
      withDatabase(async ({ url, migrations }) => {
        const names = migrations.map(({ name }) => name);
        const status = await readMigrationStatus(url, names);
        print(json, status, describeStatus(status));
      }),
    );
}

async function withDatabase(work: (input: MigrateInput, urls: RoleUrls) => Promise<void>): Promise<void> {
  const config = readConfig();
  const log = secretlessLog(pino({ level: config.logLevel }, pino.destination({ fd: 2, sync: true })));
  await using database = await openLedgerDatabase(config, { log, mode: 'attach' });
  await work({ url: database.urls.migrator, migrations: migrationsList, log }, database.urls);
}

function print(json: boolean | undefined, value: unknown, lines: readonly string[]): void {
  process.stdout.write(`${json ? JSON.stringify(value) : lines.join('\n')}\n`);
}

function describeStatus(status: MigrationStatus): string[] {
  return [
    'Migrations',
    ...status.executed.map(({ name, executedAt }) => `  ${name}  executed ${executedAt}`),
    ...status.pending.map((name) => `  ${name}  pending`),
    ...status.unknown.map((name) => `  ${name}  executed by a newer version`),
    ...status.tables.flatMap((table) => [
      `Table ${table.name}`,
      ...table.columns.map(({ name, type, nullable }) => `  ${name} ${type}${nullable ? '' : ' not null'}`),
      ...table.triggers.map(({ name, state }) => `  trigger ${name}: ${state}`),
    ]),
    'Event triggers',
    ...status.eventTriggers.map(({ name, event, state }) => `  ${name} on ${event}: ${state}`),
  ];
}

/** What the migrations changed in the catalogue is declared right, on the record; otherwise the monitor would report it. */
async function declareBaseline({ migrations, log }: MigrateInput, urls: RoleUrls, executed: readonly string[]) {
  await using writer = new LedgerWriter({ url: urls.application, queueRowsMax: 100, log });
  await ensureBaseline({
    append: (request) => writer.append(request),
    readerUrl: urls.auditor,
    knownMigrations: migrations.map(({ name }) => name),
    executedMigrations: executed,
  });
}
