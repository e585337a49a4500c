import { Command } from 'commander';
import { addArchiveCommand } from './archive.js';
import { addCheckIntegrityCommand } from './check-integrity.js';
import { addConfigSnapshotCommand } from './config-snapshot.js';
import { addDbUrlCommand } from './db-url.js';
import { addMigrateCommand } from './migrate.js';
import { addPackCommand } from './pack.js';
import { addSealCommand } from './seal.js';
import { addSecretCommands } from './secrets.js';
import { addServeCommand } from './serve.js';
import { addSinkCommand } from './sink.js';
import { addTraceCommand } from './trace.js';
import { addVerifyCommand } from './verify.js';
import { addVerifyPackCommand } from './verify-pack.js';
import { DaybookError } from '../errors.js';

const program = new Command('daybook')
  .description('Provable records for trading: an append-only, hash-chained ledger behind GraphQL')
  .showHelpAfterError();
addServeCommand(program);
addMigrateCommand(program);
addDbUrlCommand(program);
addVerifyCommand(program);
addSealCommand(program);
addPackCommand(program);
addVerifyPackCommand(program);
addCheckIntegrityCommand(program);
addConfigSnapshotCommand(program);
addTraceCommand(program);
addSinkCommand(program);
addArchiveCommand(program);
addSecretCommands(program);

/** Runs one command line. An error of the catalogue ends with exit code 1, anything else with 70. */
export async function runProgram(): Promise<void> {
  try {
    await program.parseAsync();
  } catch (error) {
    const message = error instanceof DaybookError ? `${error.code}: ${error.message}` : String((error as Error).stack);
    process.stderr.write(`${message}\n`);
    process.exitCode ||= error instanceof DaybookError ? 1 : 70;
  }
}
