import { createReadStream } from 'node:fs';
import { once } from 'node:events';
import { createGunzip } from 'node:zlib';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { attachLedger, type AttachedLedger } from './attach-ledger.js';
import { commandOrigin, runCommand } from './run-command.js';
import { readLines } from '../core/read-lines.js';
import { DaybookError } from '../errors.js';
import { readLineKey } from '../sinks/read-secret.js';
import { replaySink } from '../sinks/replay-sink.js';
import { openLine, type LineKey } from '../sinks/sealed-line.js';
import { readSinks, type SinkRow } from '../sinks/sink-rows.js';

/** An entry has at most 65,535 bytes; escaped, encrypted and as base64 it stays below this. */
const lineBytesMax = 1024 * 1024;

/**
 * `daybook sink`: shows how far the audit log was delivered, delivers it again, and decrypts log files. Safe beside a running
 * service, which notices a replay within seconds. Exit code 0: done; 1: it failed.
 */
export function addSinkCommand(program: Command): void {
  const sink = program.command('sink').description('sinks of the audit log: their lag, replay, encrypted files');
  sink
    .command('list')
    .description('show each sink with its position, lag and last error')
    .option('--json', 'print {"sinks": [...]} or {"error": {"code", "message"}}')
    .action(async ({ json }: { json?: boolean }) => {
      await run(json, ({ pool }) => readSinks(pool));
    });
  sink
    .command('replay <name>')
    .description('deliver the audit log to a sink again, from an index on')
    .requiredOption('--from <index>', 'index of the first entry to deliver again')
    .option('--reason <text>', 'why; goes on the record', 'asked for on the command line')
    .option('--json', 'print {"sinks": [...]} or {"error": {"code", "message"}}')
    .action(async (name: string, options: { from: string; reason: string; json?: boolean }) => {
      await run(options.json, (ledger) => replay(ledger, name, options));
    });
  sink
    .command('decrypt <files...>')
    .description('print the lines of encrypted log files (.jsonl or .jsonl.gz) as they were before')
    .requiredOption('--key-file <file...>', 'file with the key; several where the key was changed')
    .action(async (files: string[], { keyFile }: { keyFile: string[] }) => {
      await runCommand({}, async () => {
        await decrypt(files, keyFile);
        return { result: {}, text: '' };
      });
    });
}

function replay(
  { pool, append }: AttachedLedger,
  name: string,
  options: { from: string; reason: string },
): Promise<SinkRow[]> {
  const request = { name, from: options.from, number: null, reason: options.reason };
  return replaySink({ database: pool, append }, request, commandOrigin('sink'));
}

async function decrypt(files: readonly string[], keyFiles: readonly string[]): Promise<void> {
  const keys = await Promise.all(keyFiles.map(readLineKey));
  for (const file of files) await decryptFile(file, keys);
}

async function decryptFile(file: string, keys: readonly LineKey[]): Promise<void> {
  const source = createReadStream(file);
  const input = file.endsWith('.gz') ? source.pipe(createGunzip()) : source;
  source.on('error', (error) => input.destroy(error));
  let number = 0;
  try {
    for await (const line of readLines(input as AsyncIterable<Uint8Array>, lineBytesMax)) {
      number += 1;
      const opened = openLine(line, keys);
      if (opened === null) throw unreadable(`line ${number} of ${file} opens with none of the keys, or was altered`);
      if (!process.stdout.write(`${opened}\n`)) await once(process.stdout, 'drain');
    }
  } catch (error) {
    if (error instanceof DaybookError) throw error;
    throw unreadable(`${file} cannot be read: ${(error as Error).message}`, error);
  } finally {
    source.destroy();
  }
}

function unreadable(message: string, cause?: unknown): DaybookError {
  return new DaybookError('BAD_USER_INPUT', message, { cause });
}

function run(json: boolean | undefined, work: (ledger: AttachedLedger) => Promise<SinkRow[]>): Promise<void> {
  return runCommand({ json }, async (signal) => {
    await using stack = new AsyncDisposableStack();
    const sinks = await work(await attachLedger(stack, 'daybook sink', signal));
    return { result: { sinks }, text: describe(sinks) };
  });
}

function describe(sinks: readonly SinkRow[]): string {
  const table = new Table({
    head: ['sink', 'kind', 'target', 'position', 'behind', 'seconds', 'last error'],
    style: { head: [], border: [] },
  });
  for (const sink of sinks) {
    const { name, kind, target, position, lagEntries, lagSeconds, lastError } = sink;
    table.push([name, kind, target, position, lagEntries, lagSeconds.toFixed(1), lastError ?? '']);
  }
  return `${table.toString()}\n`;
}
