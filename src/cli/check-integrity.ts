import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { takeBaseline } from '../integrity/baseline.js';
import type { EncodedFacts } from '../integrity/catalog-facts.js';
import type { CheckKind, IntegrityCheckRow } from '../integrity/read-checks.js';
import { openIntegrity } from '../open-integrity.js';
import { openAnchors, openStore } from '../open-proofs.js';
import { CheckpointFiles } from '../proofs/known-checkpoints.js';
import { attachLedger, type AttachedLedger } from './attach-ledger.js';
import { commandOrigin, runCommand } from './run-command.js';
import { VerifyProgressReport } from './verify-progress.js';

/** Exit codes of `daybook check-integrity`. */
const checkExitCodes = { ok: 0, failed: 1, notRun: 2 } as const;

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
      else await checkIntegrity(task, options);
    });
}

function parseTask(what: string): Task | null {
  if (what === 'full') return { kind: 'FULL' };
  if (what === 'recent') return { kind: 'RECENT' };
  if (what === 'init') return { kind: 'BASELINE' };
  return /^[1-9]\d{0,8}$/.test(what) ? { kind: 'SAMPLE', sampleSize: Number(what) } : null;
}

function checkIntegrity(task: Task, { reason, json }: CheckCommandOptions): Promise<void> {
  const face = { json, failedCode: checkExitCodes.notRun, undone: 'the ledger was not checked' };
  return runCommand(face, async (signal) => {
    await using stack = new AsyncDisposableStack();
    const ledger = await attachLedger(stack, 'daybook check-integrity', signal);
    if (task.kind === 'BASELINE') {
      const facts = await setBaseline(ledger, reason ?? 'set at the command line');
      return { result: { baseline: summarise(facts) }, text: describeBaseline(facts) };
    }
    const check = await runCheck(task, { ledger, stack, signal });
    const exitCodes = { OK: checkExitCodes.ok, FAILED: checkExitCodes.failed };
    const exitCode = exitCodes[check.result as keyof typeof exitCodes] ?? checkExitCodes.notRun;
    return { result: { check }, text: describeCheck(check), exitCode };
  });
}

function setBaseline({ append, urls }: AttachedLedger, reason: string): Promise<EncodedFacts> {
  return takeBaseline({ append, readerUrl: urls.auditor, origin: commandOrigin('check-integrity'), reason });
}

async function runCheck(
  task: { readonly kind: CheckKind; readonly sampleSize?: number },
  { ledger, stack, signal }: { ledger: AttachedLedger; stack: AsyncDisposableStack; signal: AbortSignal },
): Promise<IntegrityCheckRow> {
  const { config, append, urls } = ledger;
  const store = openStore(config);
  if (store !== null) stack.use(store);
  const anchors = await openAnchors(ledger, store);
  const files = new CheckpointFiles(join(config.dataDir, 'checkpoints'));
  const service = openIntegrity({ ...ledger, readerUrl: urls.auditor, proofs: { store, files, anchors } });
  const progress = new VerifyProgressReport(process.stderr);
  stack.defer(() => progress.stop());
  return await service.run({
    ...task,
    origin: commandOrigin('check-integrity'),
    append,
    onProgress: (state) => progress.update(state),
    signal,
  });
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
