import Table from 'cli-table3';
import { Option, type Command } from 'commander';
import { anchorRoots } from '../anchors/anchor-roots.js';
import { readConfig } from '../config.js';
import { ledgerConnection, openPool } from '../db/pool.js';
import { DaybookError } from '../errors.js';
import { LedgerWriter } from '../ledger/append-entries.js';
import { toDaybookError } from '../ledger/database-errors.js';
import { logNames, type LogName } from '../ledger/rows.js';
import { refusalReporter } from '../open-integrity.js';
import { openLedgerDatabase } from '../open-ledger-database.js';
import { openProofs } from '../open-proofs.js';
import type { MerkleRootRow } from '../proofs/read-merkle-roots.js';
import { openLog } from './open-log.js';

/** Exit codes of `daybook seal`. */
const sealExitCodes = { done: 0, failed: 1, notAnchored: 3 } as const;
/** Entries that may wait for the writer: this process appends one at a time. */
const queueRowsMax = 100;

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
      process.exitCode = await seal(options);
    });
}

async function seal({ log: only, date, json = false }: SealCommandOptions): Promise<number> {
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort(new Error('interrupted'));
  process.once('SIGINT', onInterrupt).once('SIGTERM', onInterrupt);
  try {
    if (date !== undefined && (!/^\d{4}-\d{2}-\d{2}$/.test(date) || Number.isNaN(Date.parse(date)))) {
      throw new DaybookError('BAD_USER_INPUT', `--date must be a day such as 2026-11-20, not ${date}`);
    }
    const { sealed, anchored, failed } = await run(
      only === undefined ? logNames : [only],
      date ?? null,
      interrupt.signal,
    );
    if (json) process.stdout.write(`${JSON.stringify({ sealed, anchored, failed })}\n`);
    else process.stdout.write(describe(sealed, anchored, failed));
    return failed === 0 ? sealExitCodes.done : sealExitCodes.notAnchored;
  } catch (error) {
    const { code, message } = toDaybookError(error);
    if (json) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
    process.stderr.write(`${code}: ${message}\n`);
    return sealExitCodes.failed;
  } finally {
    process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt);
  }
}

async function run(logs: readonly LogName[], date: string | null, signal: AbortSignal) {
  const config = readConfig();
  const log = openLog(config);
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await openLedgerDatabase(config, { log, mode: 'attach', signal }));
  const url = database.urls.application;
  const pool = openPool({ ...ledgerConnection(url, 'daybook seal'), max: 3 }, (err) =>
    log.warn({ err }, 'a connection to the database broke'),
  );
  stack.defer(() => pool.end());
  const writer = stack.use(new LedgerWriter({ url, queueRowsMax, log }));
  const append = (request: Parameters<typeof writer.append>[0]) => writer.append(request);
  const clock = { nowMs: () => Date.now() };
  const onRefusal = refusalReporter({ pool, append, log });
  const proofs = await openProofs({ config, log, clock, pool, url, append, onRefusal }, stack);
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
