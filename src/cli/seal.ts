import Table from 'cli-table3';
import { Option, type Command } from 'commander';
import { anchorRoots } from '../anchors/anchor-roots.js';
import { DaybookError } from '../errors.js';
import { logNames, type LogName } from '../ledger/rows.js';
import { refusalReporter } from '../open-integrity.js';
import { openProofs } from '../open-proofs.js';
import type { MerkleRootRow } from '../proofs/read-merkle-roots.js';
import { attachLedger } from './attach-ledger.js';
import { runCommand } from './run-command.js';

/** Exit codes of `daybook seal`. */
const sealExitCodes = { done: 0, failed: 1, notAnchored: 3 } as const;

interface SealCommandOptions {
  readonly log?: LogName;
  readonly date?: string;
  readonly json?: boolean;
}

/**
 * `daybook seal`: seals the days that have ended and have no root yet, and anchors what is due, as the service does by
 * itself. Safe beside a running service. Exit code 0: done; 1: it failed; 3: sealed, and an anchor failed.
 */
export function addSealCommand(program: Command): void {
  program
    .command('seal')
    .description('seal the days (UTC) that have ended and have no Merkle root yet, and anchor what is due')
    .addOption(new Option('--log <log>', 'only this log').choices(logNames))
    .option('--date <date>', 'up to this day, as in 2026-11-20; it must have ended')
    .option('--json', 'print {"sealed": [...], "anchored": n, "failed": n} or {"error": {"code", "message"}}')
    .addHelpText('after', '\nExit codes: 0 done, 1 it failed, 3 sealed, but an anchor failed and is tried again later.')
    .action(async (options: SealCommandOptions) => {
      await seal(options);
    });
}

function seal({ log: only, date, json }: SealCommandOptions): Promise<void> {
  return runCommand({ json, failedCode: sealExitCodes.failed }, async (signal) => {
    if (date !== undefined && (!/^\d{4}-\d{2}-\d{2}$/.test(date) || Number.isNaN(Date.parse(date)))) {
      throw new DaybookError('BAD_USER_INPUT', `--date must be a day such as 2026-11-20, not ${date}`);
    }
    const logs = only === undefined ? logNames : [only];
    const { sealed, anchored, failed } = await sealAndAnchor(logs, date ?? null, signal);
    return {
      result: { sealed, anchored, failed },
      text: describe(sealed, anchored, failed),
      exitCode: failed === 0 ? sealExitCodes.done : sealExitCodes.notAnchored,
    };
  });
}

async function sealAndAnchor(logs: readonly LogName[], date: string | null, signal: AbortSignal) {
  await using stack = new AsyncDisposableStack();
  const ledger = await attachLedger(stack, 'daybook seal', signal);
  const { pool, append, log, urls } = ledger;
  const onRefusal = refusalReporter({ pool, append, log });
  const proofs = await openProofs({ ...ledger, url: urls.application, onRefusal }, stack);
  const sealed: MerkleRootRow[] = [];
  for (const name of logs) sealed.push(...(await proofs.services.seal(name, date, 'command line')));
  return { sealed, ...(await anchorRoots({ database: pool, append, anchors: proofs.anchors, log }, signal)) };
}

function describe(sealed: readonly MerkleRootRow[], anchored: number, failed: number): string {
  const table = new Table({
    head: ['log', 'day', 'entries', 'tree size', 'root'],
    colAligns: ['left', 'left', 'right', 'right', 'left'],
    style: { head: [], border: [] },
  });
  for (const { log, date, entriesOfDay, treeSize, rootHash } of sealed) {
    table.push([log, date, entriesOfDay, treeSize, rootHash]);
  }
  const what = sealed.length === 0 ? 'nothing to seal: every day that has ended has its root' : table.toString();
  return `${what}\n${anchored} anchored, ${failed} failed\n`;
}
