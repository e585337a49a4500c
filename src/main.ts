#!/usr/bin/env node
import './production.js';
import { Command } from 'commander';
import { addDbUrlCommand } from './cli/db-url.js';
import { addMigrateCommand } from './cli/migrate.js';
import { addServeCommand } from './cli/serve.js';
import { addVerifyCommand } from './cli/verify.js';
import { DaybookError } from './errors.js';

const program = new Command('daybook')
  .description('Provable records for trading: an append-only, hash-chained ledger behind GraphQL')
  .showHelpAfterError();
addServeCommand(program);
addMigrateCommand(program);
addDbUrlCommand(program);
addVerifyCommand(program);

try {
  await program.parseAsync();
} catch (error) {
  const message = error instanceof DaybookError ? `${error.code}: ${error.message}` : String((error as Error).stack);
  process.stderr.write(`${message}\n`);
  process.exitCode ||= error instanceof DaybookError ? 1 : 70;
}
