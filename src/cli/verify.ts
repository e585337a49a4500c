import { Option, type Command } from 'commander';
import Table from 'cli-table3';
import { pino } from 'pino';
import { readConfig } from '../config.js';
import { openDatabase } from '../db/open-database.js';
import { mapDatabaseError } from '../ledger/database-errors.js';
import type { LogName } from '../ledger/rows.js';
import { verifyLogs, type LogVerification } from '../ledger/verify-log.js';
import { VerifyProgressReport } from './verify-progress.js';

/** Exit codes of `daybook verify`. */
const verifyExitCodes = { intact: 0, broken: 1, notRun: 2 } as const;

interface VerifyCommandOptions {
  readonly log?: LogName;
  readonly json?: boolean;
}

/**
 * `daybook verify`: re-derives the logs from their rows as the auditor and prints what it found on stdout, its progress on
 * stderr. Exit code 0: intact; 1: at least one break; 2: it could not run to its end.
 */
export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .description('check every entry of the ledger: hashes, chain, columns, order, and that no row was rewritten')
    .addOption(new Option('--log <log>', 'only this log').choices(['signals', 'audit']))
    .option('--json', 'print {"intact": boolean, "logs": [...]} or {"error": {"code", "message"}}')
    // Code 1 means that a break was found, so a mistyped option must not end in it.
    .exitOverride((err) => process.exit(err.exitCode === 0 ? 0 : verifyExitCodes.notRun))
    .addHelpText('after', '\nExit codes: 0 intact, 1 a break was found, 2 the check could not run to its end.')
    .action(async (options: VerifyCommandOptions) => {
      process.exitCode = await verify(options);
    });
}

async function verify({ log, json = false }: VerifyCommandOptions): Promise<number> {
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort(new Error('interrupted'));
  process.once('SIGINT', onInterrupt).once('SIGTERM', onInterrupt);
  const progress = new VerifyProgressReport(process.stderr);
  try {
    const config = readConfig();
    await using database = await openDatabase(config, {
      log: pino(
        { level: config.logLevel === 'info' ? 'warn' : config.logLevel },
        pino.destination({ fd: 2, sync: true }),
      ),
      mode: 'attach',
      signal: interrupt.signal,
    });
    const verifications = await verifyLogs({
      source: { url: database.urls.auditor },
      logs: log === undefined ? ['signals', 'audit'] : [log],
      onProgress: (state) => progress.update(state),
      signal: interrupt.signal,
    });
    progress.stop();
    const intact = verifications.every((verification) => verification.firstBreak === null);
    process.stdout.write(json ? `${JSON.stringify({ intact, logs: verifications })}\n` : describe(verifications));
    return intact ? verifyExitCodes.intact : verifyExitCodes.broken;
  } catch (err) {
    progress.stop();
    const { code, message } = describeFailure(err);
    if (json) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
    process.stderr.write(`${code}: the ledger was not verified: ${message}\n`);
    return verifyExitCodes.notRun;
  } finally {
    process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt);
  }
}

/** SQLSTATE of a missing table. */
const undefinedTable = '42P01';

function describeFailure(err: unknown): { code: string; message: string } {
  if (err instanceof Error && 'code' in err && err.code === undefinedTable) {
    return { code: 'DATABASE_UNAVAILABLE', message: 'the database holds no ledger yet: run daybook migrate up' };
  }
  const isAbort = err instanceof Error && err.message === 'interrupted';
  return isAbort ? { code: 'SHUTTING_DOWN', message: 'the check was interrupted' } : mapDatabaseError(err);
}

function describe(verifications: readonly LogVerification[]): string {
  const table = new Table({
    head: ['log', 'entries', 'seconds', 'entries/s', 'breaks', 'chain_hash of the last entry'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'left'],
    style: { head: [], border: [] },
  });
  for (const { log, entries, seconds, entriesPerSecond, breakCount, headChainHash } of verifications) {
    table.push([log, entries, seconds.toFixed(2), Math.round(entriesPerSecond), breakCount, headChainHash]);
  }
  const lines = verifications.flatMap(({ log, firstBreak, breaks, breakCount }) => [
    firstBreak === null ? `${log}: intact` : `${log}: first break ${firstBreak.code} at index ${firstBreak.index}`,
    ...breaks.map(({ code, index, message }) => `  ${code} at index ${index}: ${message}`),
    ...(breakCount > breaks.length ? [`  and ${breakCount - breaks.length} more`] : []),
  ]);
  return `${table.toString()}\n${lines.join('\n')}\n`;
}
