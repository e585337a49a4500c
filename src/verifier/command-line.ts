import { parseArgs } from 'node:util';
import { packFaultCodes } from '../core/pack-faults.js';
import { RunError } from './exit-codes.js';

const commandNames = ['log', 'proof', 'checkpoint', 'consistency', 'pack'] as const;

type CommandName = (typeof commandNames)[number];

/** What was typed, with every option that the command takes. */
export interface CommandLine {
  readonly command: CommandName;
  /** Without the command's name, as many as it takes. */
  readonly operands: readonly string[];
  readonly keys: readonly string[];
  readonly keyFiles: readonly string[];
  readonly origin: string | undefined;
  readonly earlier: readonly string[];
  readonly entry: string | undefined;
  readonly apiKeyFile: string | undefined;
  readonly json: boolean;
}

const operandNames = {
  log: ['folder or URL'],
  proof: ['proof file'],
  checkpoint: ['checkpoint file'],
  consistency: ['earlier checkpoint file', 'folder or URL'],
  pack: ['folder'],
} as const satisfies Record<CommandName, readonly string[]>;

/** Options that only some commands have. */
const commandsOf = {
  earlier: ['log'],
  entry: ['proof'],
  'api-key-file': ['log', 'consistency'],
} as const satisfies Record<string, readonly CommandName[]>;

const options = {
  key: { type: 'string', multiple: true },
  'key-file': { type: 'string', multiple: true },
  origin: { type: 'string' },
  earlier: { type: 'string', multiple: true },
  entry: { type: 'string' },
  'api-key-file': { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

/** Reads the command line; 'help' or 'version' when that was asked for. Throws RunError USAGE. */
export function parseCommandLine(args: readonly string[]): CommandLine | 'help' | 'version' {
  const { values, positionals } = parse(args);
  if (values.help === true) return 'help';
  if (values.version === true) return 'version';
  const [name = '', ...operands] = positionals;
  const command = commandNames.find((known) => known === name);
  if (command === undefined) {
    throw new RunError('USAGE', name === '' ? 'no command is given' : `there is no command ${name}`);
  }
  const expected = operandNames[command];
  if (operands.length !== expected.length) {
    throw new RunError('USAGE', `${command} takes ${expected.map((operand) => `<${operand}>`).join(' ')}`);
  }
  for (const [option, commands] of Object.entries(commandsOf)) {
    const isGiven = values[option as keyof typeof commandsOf] !== undefined;
    if (isGiven && !(commands as readonly CommandName[]).includes(command)) {
      throw new RunError('USAGE', `${command} takes no --${option}`);
    }
  }
  if (command === 'proof' && values.entry === undefined) throw new RunError('USAGE', 'proof needs --entry <file>');
  return {
    command,
    operands,
    keys: values.key ?? [],
    keyFiles: values['key-file'] ?? [],
    origin: values.origin,
    earlier: values.earlier ?? [],
    entry: values.entry,
    apiKeyFile: values['api-key-file'],
    json: values.json ?? false,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (err) {
    throw new RunError('USAGE', (err as Error).message);
  }
}

const packExitCodesText = Object.entries(packFaultCodes)
  .map(([code, meaning], place) => `  ${10 + place} ${code}: ${meaning}\n`)
  .join('');

export const helpText = `daybook-verify: checks the logs of Daybook without its database, its server, or its word

  daybook-verify log <folder or URL>            every entry, tile, checkpoint and day's root of one log
  daybook-verify proof <file> --entry <file>    that one entry stands in a log; --entry holds the body's exact bytes
  daybook-verify checkpoint <file>              form and signatures of one signed tree head
  daybook-verify consistency <file> <folder or URL>
                                                that the log only grew since the checkpoint in <file>; reads no entries
  daybook-verify pack <folder>                  an evidence pack, or all packs below a folder and that no day is left out

A folder or URL is the prefix of one log: below it lie checkpoint, tile/ and roots/.

  --key <key>            a pinned verifier key, of the log or of a witness; may be repeated
  --key-file <file>      pinned verifier keys, one a line; may be repeated
  --origin <origin>      the log that is expected, as in daybook.local/audit
  --earlier <file>       log: a checkpoint that you kept; may be repeated
  --api-key-file <file>  log, consistency: holds the key sent to the URL
  --json                 print one JSON value on stdout
  --help, --version

Exit codes:
  0  verified: everything checked is intact, and a pinned key signed it
  1  broken: at least one contradiction was found
  2  the check could not run to its end; the first word on stderr is the reason
  3  intact, but no key of the log was pinned: who signed is unknown
  4  a pack's signature and stored bytes are intact, but what is encrypted was not looked into: decrypt it with age -d
  10 and above  what is wrong with a pack; the gravest fault decides:
${packExitCodesText}`;
