import { InvalidArgumentError, Option, type Command } from 'commander';
import Table from 'cli-table3';
import { readConfig } from '../config.js';
import { encodeVerifierKey, parseVerifierKey, type VerifierKey } from '../core/verifier-key.js';
import type { LogName } from '../ledger/rows.js';
import { verifyLogs, type LogVerification } from '../ledger/verify-log.js';
import { openLog } from './open-log.js';
import { runCommand, untilInterrupted } from './run-command.js';
import { verifySource } from './verify-source.js';
import { VerifyProgressReport } from './verify-progress.js';
import { openLedgerDatabase } from '../open-ledger-database.js';

/** Exit codes of `daybook verify`. */
const verifyExitCodes = { intact: 0, broken: 1, notRun: 2 } as const;

interface VerifyCommandOptions {
  readonly log?: LogName;
  readonly key?: readonly VerifierKey[];
  readonly json?: boolean;
  readonly source?: string;
  readonly apiKeyFile?: string;
}

/**
 * `daybook verify`: re-derives the logs and their trees from their rows as the auditor and prints what it found on stdout,
 * its progress on stderr. Exit code 0: intact; 1: at least one break; 2: it could not run to its end.
 */
export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .description('check every entry of the ledger: hashes, chain, columns, order, tree, checkpoints, daily roots')
    .addOption(new Option('--log <log>', 'only this log').choices(['signals', 'audit']))
    .option('--key <verifier key>', 'trust only this key (name+id+base64); may be given several times', collectKey)
    .option('--source <place>', 'verify published logs: a folder, an http(s) address, or s3://<bucket>/<prefix>')
    .option('--api-key-file <file>', 'with --source: the API key that an http(s) address asks for')
    .option('--json', 'print {"intact": boolean, "logs": [...]} or {"error": {"code", "message"}}')
    // Code 1 means that a break was found, so a mistyped option must not end in it.
    .exitOverride((err) => process.exit(err.exitCode === 0 ? 0 : verifyExitCodes.notRun))
    .addHelpText(
      'after',
      '\nExit codes: 0 intact, 1 a break was found, 2 the check could not run to its end; with --source also 3: intact,' +
        ' but signed by no key that --key named.',
    )
    .action(async (options: VerifyCommandOptions, command: Command) => {
      if (options.source === undefined && options.apiKeyFile !== undefined)
        command.error('error: --api-key-file belongs to --source');
      if (options.source === undefined) await verify(options);
      else process.exitCode = await verifyPublished(options);
    });
}

function collectKey(text: string, keys: readonly VerifierKey[] = []): VerifierKey[] {
  try {
    return [...keys, parseVerifierKey(text)];
  } catch (err) {
    if (err instanceof SyntaxError) throw new InvalidArgumentError(err.message);
    throw err;
  }
}

/** The logs as they are published, without the database. */
function verifyPublished({
  source = '',
  log,
  key = [],
  apiKeyFile,
  json = false,
}: VerifyCommandOptions): Promise<number> {
  return untilInterrupted((signal) =>
    verifySource(source, {
      keys: key.map(encodeVerifierKey),
      json,
      signal,
      ...(log === undefined ? {} : { log }),
      ...(apiKeyFile === undefined ? {} : { apiKeyFile }),
    }),
  );
}

function verify(options: VerifyCommandOptions): Promise<void> {
  const progress = new VerifyProgressReport(process.stderr);
  const undone = 'the ledger was not verified';
  const face = { json: options.json, failedCode: verifyExitCodes.notRun, undone, stopProgress: () => progress.stop() };
  return runCommand(face, async (signal) => {
    const logs = await verifyDatabase(options, progress, signal);
    const intact = logs.every((verification) => verification.firstBreak === null);
    const exitCode = intact ? verifyExitCodes.intact : verifyExitCodes.broken;
    return { result: { intact, logs }, text: describe(logs), exitCode };
  });
}

async function verifyDatabase(
  { log, key = [] }: VerifyCommandOptions,
  progress: VerifyProgressReport,
  signal: AbortSignal,
): Promise<LogVerification[]> {
  const config = readConfig();
  await using database = await openLedgerDatabase(config, {
    log: openLog(config),
    mode: 'attach',
    signal,
  });
  return await verifyLogs({
    source: { url: database.urls.auditor },
    logs: log === undefined ? ['signals', 'audit'] : [log],
    keys: key,
    onProgress: (state) => progress.update(state),
    signal,
  });
}

/** `at index 7`; some breaks concern no entry. */
function place(index: number | null): string {
  return index === null ? 'of no entry' : `at index ${index}`;
}

function describe(verifications: readonly LogVerification[]): string {
  const entries = new Table({
    head: ['log', 'entries', 'seconds', 'entries/s', 'breaks', 'chain_hash of the last entry'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'left'],
    style: { head: [], border: [] },
  });
  const trees = new Table({
    head: ['log', 'tree size', 'tiles', 'checkpoints', 'daily roots', 'root hash'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'left'],
    style: { head: [], border: [] },
  });
  for (const { log, entries: count, seconds, entriesPerSecond, breakCount, headChainHash, tree } of verifications) {
    entries.push([log, count, seconds.toFixed(2), Math.round(entriesPerSecond), breakCount, headChainHash]);
    trees.push([log, tree.size, tree.tiles, tree.checkpoints, tree.roots, tree.rootHash]);
  }
  const lines = verifications.flatMap((verification) => [
    ...describeBreaks(verification),
    `  signer: ${describeSigner(verification)}`,
    `  ${describeWindow(verification)}`,
  ]);
  return `${entries.toString()}\n${trees.toString()}\n${lines.join('\n')}\n`;
}

function describeBreaks({ log, firstBreak, breaks, breakCount }: LogVerification): string[] {
  return [
    firstBreak === null ? `${log}: intact` : `${log}: first break ${firstBreak.code} ${place(firstBreak.index)}`,
    ...breaks.map(({ code, index, message }) => `  ${code} ${place(index)}: ${message}`),
    ...(breakCount > breaks.length ? [`  and ${breakCount - breaks.length} more`] : []),
  ];
}

function describeSigner({ signer, tree: { newestCheckpoint } }: LogVerification): string {
  if (signer === 'none') return 'none, no checkpoint was signed yet';
  const newest = newestCheckpoint === null ? '' : `; newest checkpoint: ${newestCheckpoint.size} entries`;
  const at = newestCheckpoint === null ? '' : `, signed ${newestCheckpoint.signedAt} by the database's clock`;
  const keys =
    signer === 'pinned' ? 'the pinned keys' : 'unknown (keys taken from the database, not pinned: use --key)';
  return `${keys}${newest}${at}`;
}

/** Says what no check of the database alone can know. */
function describeWindow({ unanchoredEntries }: LogVerification): string {
  return unanchoredEntries === 0
    ? 'every entry is covered by a root that is kept outside the database too'
    : `${unanchoredEntries} entries are covered by no root kept outside the database: only the database protects them`;
}
