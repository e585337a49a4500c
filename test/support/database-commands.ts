import { Command } from 'commander';
import { addDbUrlCommand } from '../../src/cli/db-url.js';
import { addMigrateCommand } from '../../src/cli/migrate.js';
import { DaybookError } from '../../src/errors.js';

/** The database's commands alone, as a process: prints an error's code on stderr and exits with 1. */
const program = new Command('daybook');
addDbUrlCommand(program);
addMigrateCommand(program);
try {
  await program.parseAsync();
} catch (err) {
  process.stderr.write(`${err instanceof DaybookError ? err.code : String(err)}\n`);
  process.exitCode = 1;
}
