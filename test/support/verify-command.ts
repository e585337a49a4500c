import { Command } from 'commander';
import { addVerifyCommand } from '../../src/cli/verify.js';

/** The command `verify` alone, as a process. */
const program = new Command('daybook');
addVerifyCommand(program);
await program.parseAsync();
