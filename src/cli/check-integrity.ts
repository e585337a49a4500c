import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import type { Logger } from 'pino';
import { readConfig, type Config } from '../config.js';
import type { OpenDatabase } from '../db/open-database.js';
import { ledgerConnection, openPool } from '../db/pool.js';
import { takeBaseline } from '../integrity/baseline.js';
import type { EncodedFacts } from '../integrity/catalog-facts.js';
import { serviceOrigin } from '../integrity/integrity-entry.js';
import type { CheckKind, IntegrityCheckRow } from '../integrity/read-checks.js';
import { LedgerWriter } from '../ledger/append-entries.js';
import { toDaybookError } from '../ledger/database-errors.js';
import { openIntegrity } from '../open-integrity.js';
import { openLedgerDatabase } from '../open-ledger-database.js';
import { openAnchors, openStore } from '../open-proofs.js';
import { CheckpointFiles } from '../proofs/known-checkpoints.js';
import { openLog } from './open-log.js';
import { VerifyProgressReport } from './verify-progress.js';

/** Exit codes of `daybook check-integrity`. */
const checkExitCodes = { ok: 0, failed: 1, notRun: 2 } as const;
/** Entries that may wait for the writer: this process appends one at a time. */
const queueRowsMax = 100;

interface CheckCommandOptions {
  readonly reason?: string;
  readonly json?: boolean;
}

type Task = { readonly kind: CheckKind; readonly sampleSize?: number } | { readonly kind: 'BASELINE' };

/**
 * `daybook check-integrity full|recent|<n>|init`: runs a check, or declares the catalogue right, as the service does it, on
 * the record. The result is on stdout, progress on stderr. Exit code 0: OK; 1: something contradicts; 2: it could not run to
 * its end.
 */
export function addCheckIntegrityCommand(program: Command): void {
  program
    .command('check-integrity')
    .description('check the ledger, or a sample of it, and put the result on the record')
    .argument('<what>', 'full; recent; a number of entries to draw at random, as in 1000; or init: set the baseline')
    .addOption(new Option('--reason <text>', 'with init: why what the catalogue of the database says now is right'))
    .option('--json', 'print {"check": {...}}, {"baseline": {...}} or {"error": {"code", "message"}}')
    // Code 1 means that something contradicts, so a mistyped argument must not end in it.
    .exitOverride((err) => process.exit(err.exitCode === 0 ? 0 : checkExitCodes.notRun))
    .addHelpText('after', '\nExit codes: 0 OK, 1 something contradicts, 2 the check could not run to its end.')
    .action(async (what: string, options: CheckCommandOptions, command: Command) => {
      const task = parseTask(what);
      if (task === null) command.error(`error: unknown check ${what}: say full, recent, init or a number`);
      else if (options.reason !== undefined && task.kind !== 'BASELINE')
        command.error('error: --reason belongs to init');
      else process.exitCode = await checkIntegrity(task, options);
    });
}

function parseTask(what: string): Task | null {
  if (what === 'full') return { kind: 'FULL' };
  if (what === 'recent') return { kind: 'RECENT' };
  if (what === 'init') return { kind: 'BASELINE' };
  return /^[1-9]\d{0,8}$/.test(what) ? { kind: 'SAMPLE', sampleSize: Number(what) } : null;
}

async function checkIntegrity(task: Task, { reason, json = false }: CheckCommandOptions): Promise<number> {
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort(new Error('interrupted'));
  process.once('SIGINT', onInterrupt).once('SIGTERM', onInterrupt);
  try {
    const config = readConfig();
    const log = openLog(config);
    await using database = await openLedgerDatabase(config, { log, mode: 'attach', signal: interrupt.signal });
    if (task.kind === 'BASELINE') {
      const facts = await setBaseline(database, log, reason ?? 'set at the command line');
      process.stdout.write(json ? `${JSON.stringify({ baseline: summarise(facts) })}\n` : describeBaseline(facts));
      return checkExitCodes.ok;
    }
    const check = await runCheck(task, { config, database, log, signal: interrupt.signal });
    process.stdout.write(json ? `${JSON.stringify({ check })}\n` : describeCheck(check));
    return check.result === 'OK'
      ? checkExitCodes.ok
      : check.result === 'FAILED'
        ? checkExitCodes.failed
        : checkExitCodes.notRun;
  } catch (err) {
    const { code, message } = describeFailure(err, interrupt.signal);
    if (json) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
    process.stderr.write(`${code}: the ledger was not checked: ${message}\n`);
    return checkExitCodes.notRun;
  } finally {
    process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt);
  }
}

async function setBaseline(database: OpenDatabase, log: Logger, reason: string): Promise<EncodedFacts> {
  await using writer = new LedgerWriter({ url: database.urls.application, queueRowsMax, log });
  return await takeBaseline({
    append: (request) => writer.append(request),
    readerUrl: database.urls.auditor,
    origin: { ...serviceOrigin('check-integrity', randomUUID()), actor: 'command line' },
    reason,
  });
}

async function runCheck(
  task: { readonly kind: CheckKind; readonly sampleSize?: number },
  parts: { config: Config; database: OpenDatabase; log: Logger; signal: AbortSignal },
): Promise<IntegrityCheckRow> {
  const { config, database, log, signal } = parts;
  const url = database.urls.application;
  await using stack = new AsyncDisposableStack();
  const pool = openPool({ ...ledgerConnection(url, 'daybook check-integrity'), max: 2 }, (err) =>
    log.warn({ err }, 'a connection to the database broke'),
  );
  stack.defer(() => pool.end());
  const writer = stack.use(new LedgerWriter({ url, queueRowsMax, log }));
  const append = (request: Parameters<typeof writer.append>[0]) => writer.append(request);
  const clock = { nowMs: () => Date.now() };
  const store = openStore(config);
  if (store !== null) stack.use(store);
  const anchors = await openAnchors({ config, pool, clock }, store);
  const files = new CheckpointFiles(join(config.dataDir, 'checkpoints'));
  const readerUrl = database.urls.auditor;
  const service = openIntegrity({ config, log, clock, pool, readerUrl, append, proofs: { store, files, anchors } });
  const progress = new VerifyProgressReport(process.stderr);
  stack.defer(() => progress.stop());
  return await service.run({
    ...task,
    origin: { ...serviceOrigin('check-integrity', randomUUID()), actor: 'command line' },
    append,
    onProgress: (state) => progress.update(state),
    signal,
  });
}

/** SQLSTATE of a missing table. */
const undefinedTable = '42P01';

function describeFailure(err: unknown, signal: AbortSignal): { code: string; message: string } {
  if (signal.aborted) return { code: 'SHUTTING_DOWN', message: 'the check was interrupted' };
  const { cause, code, message } = toDaybookError(err);
  return isMissingTable(cause)
    ? { code: 'DATABASE_UNAVAILABLE', message: 'the database holds no ledger yet: run daybook migrate up' }
    : { code, message };
}

function isMissingTable(cause: unknown): boolean {
  return typeof cause === 'object' && cause !== null && 'code' in cause && cause.code === undefinedTable;
}

function summarise({ facts, hash }: EncodedFacts): object {
  const { migrations, ...sections } = facts;
  const covers = Object.fromEntries(
    Object.entries(sections).map(([name, objects]) => [name, Object.keys(objects).length]),
  );
  return { factsHash: hash, migrations, covers };
}

function describeBaseline({ facts, hash }: EncodedFacts): string {
  const { migrations, ...sections } = facts;
  const lines = Object.entries(sections).flatMap(([name, objects]) => [
    `${name}: ${Object.keys(objects).length}`,
    ...(name === 'triggers' || name === 'eventTriggers'
      ? Object.keys(objects)
          .sort()
          .map((key) => `  ${key}`)
      : []),
  ]);
  return `${lines.join('\n')}\nmigrations: ${migrations.join(', ')}\nbaseline ${hash}\n`;
}

function describeCheck(check: IntegrityCheckRow): string {
  const { kind, result, entriesChecked, failedVerifications, durationMs, ranges, breaks, error } = check;
  const seconds = (Number(durationMs) / 1000).toFixed(2);
  const lines = [
    `${kind}: ${result}, ${entriesChecked} entries in ${seconds} s, check ${check.id}`,
    ...ranges.map(({ area, first, last, checked }) => `${area}: ${checked} entries from index ${first} to ${last}`),
    ...breaks.map(
      ({ area, code, index, message }) => `  ${area}: ${code}${index === null ? '' : ` at index ${index}`}: ${message}`,
    ),
    ...(Number(failedVerifications) > breaks.length
      ? [`  and ${Number(failedVerifications) - breaks.length} more`]
      : []),
    ...(error === null ? [] : [error]),
  ];
  return `${lines.join('\n')}\n`;
}
