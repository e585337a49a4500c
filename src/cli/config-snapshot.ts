import type { Command } from 'commander';
import type { ConfigSnapshot } from '../config-snapshots/take-config-snapshot.js';
import { openConfigSnapshots } from '../open-config-snapshots.js';
import { attachLedger } from './attach-ledger.js';
import { commandOrigin, runCommand } from './run-command.js';

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
      await takeSnapshot(options);
    });
}

function takeSnapshot({ reason, json }: SnapshotCommandOptions): Promise<void> {
  return runCommand({ json, undone: 'the configuration was not recorded' }, async (signal) => {
    // The schema takes half a second to build: only now, not for every command.
    const { buildDaybookSchema } = await import('../schema.js');
    await using stack = new AsyncDisposableStack();
    const ledger = await attachLedger(stack, 'daybook config-snapshot', signal);
    const snapshot = await openConfigSnapshots({ ...ledger, schema: buildDaybookSchema() }).takeDescribed({
      occasion: 'DEMAND',
      reason,
      origin: commandOrigin('config-snapshot'),
      append: ledger.append,
    });
    return { result: snapshot, text: describe(snapshot) };
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
