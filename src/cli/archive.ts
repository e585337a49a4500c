import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { attachLedger } from './attach-ledger.js';
import { commandOrigin, runCommand, type CommandResult } from './run-command.js';
import type { RoleUrls } from '../db/roles.js';
import { DaybookError } from '../errors.js';
import { openKeys, openStore } from '../open-proofs.js';
import { compactAuditLog, openRetention } from '../open-retention.js';
import { createArchives } from '../retention/create-archives.js';
import { purgeArchived } from '../retention/purge-archived.js';
import {
  readArchives,
  readSelectedArchives,
  type ArchiveRow,
  type ArchiveSelection,
} from '../retention/read-archives.js';
import { readArchive, recordReading, restoreArchives } from '../retention/restore-archives.js';
import type { RetentionServices } from '../retention/retention-services.js';
import { ProgressLine } from '../verifier/progress-line.js';

/** Archives that `list` and `verify` look at. */
const listedMax = 1_000;

interface SelectionOptions {
  readonly number?: string;
  readonly from?: string;
  readonly to?: string;
}

/** What a subcommand works with. */
interface Work {
  readonly services: RetentionServices;
  readonly signal: AbortSignal;
  readonly progress: ProgressLine;
  readonly urls: RoleUrls;
}

/**
 * `daybook archive`: archives of the audit log. Safe beside a running service, which archives and removes by itself every
 * night. Exit code 0: done; 1: it failed.
 */
export function addArchiveCommand(program: Command): void {
  const archive = program.command('archive').description('archives of the audit log: made, verified, brought back');
  archive
    .command('list')
    .description('list archives with their state, the newest first')
    .option('--json', 'print {"archives": [...]} or {"error": {"code", "message"}}')
    .action(({ json }: { json?: boolean }) =>
      run(json, async ({ services }) => {
        const { rows } = await readArchives(services.database, { first: listedMax });
        return { result: { archives: rows }, text: describeArchives(rows) };
      }),
    );
  archive
    .command('create')
    .description('archive what is older than it is to stay online; removes nothing')
    .option('--json', 'print {"made": [...]} or {"error": {"code", "message"}}')
    .action(({ json }: { json?: boolean }) =>
      run(json, async ({ services, signal, progress }) => {
        const made = await createArchives(services, commandOrigin('archive'), signal, ({ lastIndex }) =>
          progress.show(`archived up to entry ${lastIndex}`),
        );
        return { result: { made }, text: `${made.length} archives were made\n` };
      }),
    );
  archive
    .command('purge')
    .description('remove archived entries that are old enough, delivered to all sinks and under no legal hold')
    .option('--json', 'print {"purged": {...}} or {"error": {"code", "message"}}')
    .action(({ json }: { json?: boolean }) =>
      run(json, async ({ services, signal, progress }) => {
        const purged = await purgeArchived(services, commandOrigin('archive'), signal, ({ entries }) =>
          progress.show(`${entries} entries removed`),
        );
        const text = `${purged.entries} entries were removed, the log begins at ${purged.firstKept}\n`;
        return { result: { purged }, text };
      }),
    );
  addReadingCommands(archive);
  archive
    .command('compact')
    .description('give the disk space of removed entries back; nothing can be recorded meanwhile')
    .option('--json', 'print {"compacted": {"bytesBefore", "bytesAfter"}} or {"error": {"code", "message"}}')
    .action(({ json }: { json?: boolean }) =>
      run(json, async ({ services, urls }) => {
        const compacted = await compactAuditLog({ urls, append: services.append, origin: commandOrigin('archive') });
        const text = `the audit log took ${compacted.bytesBefore} bytes and takes ${compacted.bytesAfter}\n`;
        return { result: { compacted }, text };
      }),
    );
}

function addReadingCommands(archive: Command): void {
  archive
    .command('verify')
    .description('read archives and hold each to the record, the tree and the chain')
    .option('--number <number>', 'only this archive')
    .option('--from <index>', 'only archives with entries from this index on')
    .option('--to <index>', 'and up to this one')
    .option('--json', 'print {"verified": n} or {"error": {"code", "message"}}')
    .action(({ json, ...options }: SelectionOptions & { json?: boolean }) =>
      run(json, async (work) => {
        const archives = await selectKept(work.services, options);
        for (const [place, one] of archives.entries()) {
          work.signal.throwIfAborted();
          await readArchive(work.services, one);
          work.progress.show(`${place + 1} of ${archives.length} archives verified`);
        }
        return { result: { verified: archives.length }, text: `${archives.length} archives are intact\n` };
      }),
    );
  archive
    .command('restore')
    .description('bring entries back from archives: into the database for some time, or into a file')
    .option('--number <number>', 'the archive')
    .option('--from <index>', 'or all archives with entries from this index on')
    .option('--to <index>', 'and up to this one')
    .option('--out <file>', 'write the verified bodies there, one a line, instead of into the database')
    .option('--reason <text>', 'why; goes on the record', 'asked for on the command line')
    .option('--json', 'print {"archives": [...]} or {"error": {"code", "message"}}')
    .action((options: SelectionOptions & { out?: string; reason: string; json?: boolean }) =>
      run(options.json, (work) => restore(work, options)),
    );
}

async function restore(work: Work, options: SelectionOptions & { readonly out?: string; readonly reason: string }) {
  const { services, signal, progress } = work;
  if (options.out !== undefined) {
    const archives = await selectKept(services, options);
    await recordReading(
      { origin: commandOrigin('archive'), reason: options.reason, append: services.append },
      archives,
    );
    await pipeline(bodyLines(services, archives), createWriteStream(options.out, { flags: 'wx', mode: 0o600 }), {
      signal,
    });
    return { result: { archives }, text: `${archives.length} archives were written into ${options.out}\n` };
  }
  const archives = await restoreArchives(services, {
    selection: selectionOf(options),
    reason: options.reason,
    origin: commandOrigin('archive'),
    append: services.append,
    signal,
    onRestored: (restored, total) => progress.show(`${restored} of ${total} archives restored`),
  });
  return { result: { archives }, text: describeArchives(archives) };
}

async function* bodyLines(services: RetentionServices, archives: readonly ArchiveRow[]): AsyncGenerator<string> {
  for (const archive of archives) {
    for (const { body } of await readArchive(services, archive)) yield `${body}\n`;
  }
}

async function selectKept(services: RetentionServices, options: SelectionOptions): Promise<ArchiveRow[]> {
  const isAll = options.number === undefined && options.from === undefined && options.to === undefined;
  const selection = isAll ? { firstIndex: '0', lastIndex: '9223372036854775807' } : selectionOf(options);
  return (await readSelectedArchives(services.database, selection)).filter(({ state }) => state !== 'REMOVED');
}

function selectionOf({ number, from, to }: SelectionOptions): ArchiveSelection {
  const isIndex = (text: string | undefined) => text === undefined || /^\d{1,18}$/.test(text);
  if (!isIndex(number) || !isIndex(from) || !isIndex(to)) {
    throw new DaybookError('BAD_USER_INPUT', '--number, --from and --to take whole numbers');
  }
  if (number !== undefined) return { number };
  if (from === undefined) throw new DaybookError('BAD_USER_INPUT', 'say which: --number, or --from and --to');
  return { firstIndex: from, lastIndex: to ?? from };
}

function run(json: boolean | undefined, work: (work: Work) => Promise<CommandResult>): Promise<void> {
  const progress = new ProgressLine(process.stderr);
  return runCommand({ json, stopProgress: () => progress.stop() }, async (signal) => {
    await using stack = new AsyncDisposableStack();
    const ledger = await attachLedger(stack, 'daybook archive', signal);
    const store = openStore(ledger.config);
    if (store !== null) stack.use(store);
    const services = openRetention({ ...ledger, proofs: { services: { keys: await openKeys(ledger) }, store } });
    return await work({ services, signal, progress, urls: ledger.urls });
  });
}

function describeArchives(archives: readonly ArchiveRow[]): string {
  const table = new Table({
    head: ['number', 'state', 'first', 'last', 'recorded', 'bytes', 'kept until'],
    style: { head: [], border: [] },
  });
  for (const { number, state, firstIndex, lastIndex, firstRecordedAt, bytes, keptUntil } of archives) {
    table.push([number, state, firstIndex, lastIndex, firstRecordedAt, bytes, keptUntil.slice(0, 10)]);
  }
  return `${table.toString()}\n`;
}
