import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import { readConfig } from '../config.js';
import type { ConfigSnapshot } from '../config-snapshots/take-config-snapshot.js';
import { ledgerConnection, openPool } from '../db/pool.js';
import { serviceOrigin } from '../integrity/integrity-entry.js';
import { LedgerWriter } from '../ledger/append-entries.js';
import { toDaybookError } from '../ledger/database-errors.js';
import { openConfigSnapshots } from '../open-config-snapshots.js';
import { openLedgerDatabase } from '../open-ledger-database.js';
import { openRedactor } from '../open-redactor.js';
import { openLog } from './open-log.js';

interface SnapshotCommandOptions {
  readonly reason: string;
  readonly json?: boolean;
}

/**
 * `daybook config-snapshot`: records the configuration as this command's environment and folder give it, and prints what changed.
 * Safe beside a running service. Exit code 0: recorded; 1: it failed, and nothing was recorded.
 */
export function addConfigSnapshotCommand(program: Command): void {
  program
    .command('config-snapshot')
    .description("record the configuration now; run it in the service's own environment and folder")
    .requiredOption('--reason <text>', 'why, as it will stand on the record')
    .option('--json', 'print the snapshot as in evidence packs, or {"error": {"code", "message"}}')
    .addHelpText('after', '\nExit codes: 0 recorded, 1 it failed.')
    .action(async (options: SnapshotCommandOptions) => {
      process.exitCode = await takeSnapshot(options);
    });
}

async function takeSnapshot({ reason, json = false }: SnapshotCommandOptions): Promise<number> {
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort(new Error('interrupted'));
  process.once('SIGINT', onInterrupt).once('SIGTERM', onInterrupt);
  try {
    const snapshot = await run(reason, interrupt.signal);
    process.stdout.write(json ? `${JSON.stringify(snapshot)}\n` : describe(snapshot));
    return 0;
  } catch (error) {
    const { code, message } = toDaybookError(error);
    if (json) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
    process.stderr.write(`${code}: the configuration was not recorded: ${message}\n`);
    return 1;
  } finally {
    process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt);
  }
}

async function run(reason: string, signal: AbortSignal): Promise<ConfigSnapshot> {
  // The schema takes half a second to build: only now, not for every command.
  const { buildDaybookSchema } = await import('../schema.js');
  const config = readConfig();
  const log = openLog(config);
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await openLedgerDatabase(config, { log, mode: 'attach', signal }));
  const url = database.urls.application;
  const pool = openPool({ ...ledgerConnection(url, 'daybook config-snapshot'), max: 2 }, (err) =>
    log.warn({ err }, 'a connection to the database broke'),
  );
  stack.defer(() => pool.end());
  const writer = stack.use(new LedgerWriter({ url, queueRowsMax: config.appendQueueMax, log }));
  const redactor = await openRedactor(config);
  const service = openConfigSnapshots({ config, pool, redactor, schema: buildDaybookSchema() });
  return await service.takeDescribed({
    occasion: 'DEMAND',
    reason,
    origin: { ...serviceOrigin('config-snapshot', randomUUID()), actor: 'command line' },
    append: (request) => writer.append(request),
  });
}

function describe(snapshot: ConfigSnapshot): string {
  const { snapshot_id: id, timestamp, files, changes, diffs, diffs_made_by: madeBy } = snapshot;
  const states = Object.entries(files)
    .filter(([, { state }]) => !['TEXT', 'LARGE', 'SECRET', 'BINARY'].includes(state))
    .map(([path, { state, note }]) => `  ${path}: ${state}${note === null ? '' : `, ${note}`}`);
  return [
    `configuration snapshot ${id} of ${timestamp}: ${Object.keys(files).length} files`,
    ...states,
    changes === 0 ? 'nothing changed' : `${changes} changed; the diff is made by ${madeBy ?? 'nobody'}:`,
    ...Object.values(diffs),
    '',
  ].join('\n');
}
