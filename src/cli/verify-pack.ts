import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { PackDecoders } from '../core/pack-encoding.js';
import { parseVerifierKey } from '../core/verifier-key.js';
import { DaybookError } from '../errors.js';
import { ageDecoder, parseIdentities } from '../packs/age.js';
import { exitCodes, RunError } from '../verifier/exit-codes.js';
import { printable } from '../verifier/report.js';
import { describePacks, exitCodeOfPacks, jsonOfPacks, verifyPacks } from '../verifier/verify-packs.js';

interface VerifyPackOptions {
  readonly key?: readonly string[];
  readonly identity?: string;
  readonly json?: boolean;
}

/** `daybook verify-pack`: what `daybook-verify pack` does, with its exit codes. Needs no database. */
export function addVerifyPackCommand(program: Command): void {
  program
    .command('verify-pack')
    .description('verify an evidence pack, or all packs below a folder and that no day is left out; needs no database')
    .argument('<folder>', 'a pack, or a folder of packs')
    .option('--key <key...>', 'pinned verifier keys of the logs')
    .option('--identity <file>', 'age secret keys, one a line, that encrypted packs are opened with')
    .option('--json', 'print one JSON value')
    .addHelpText(
      'after',
      '\nExit codes: 0 verified, 2 not run, 3 intact but no key pinned, 4 intact but still encrypted, 10 and above in docs/packs.md.',
    )
    .action(async (folder: string, options: VerifyPackOptions) => {
      process.exitCode = await run(folder, options);
    });
}

/** What opens packs that are encrypted to one of the keys in a file. Throws BAD_USER_INPUT. */
export async function readIdentities(file: string): Promise<PackDecoders> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new DaybookError('BAD_USER_INPUT', `--identity: ${(error as Error).message}`, { cause: error });
  });
  return { age: ageDecoder(parseIdentities(text, file)) };
}

async function run(folder: string, { key = [], identity, json = false }: VerifyPackOptions): Promise<number> {
  try {
    const keys = key.map((text) => {
      try {
        return parseVerifierKey(text);
      } catch (error) {
        throw new RunError('USAGE', `${text} is not a verifier key: ${(error as Error).message}`);
      }
    });
    const found = await verifyPacks(folder, keys, identity === undefined ? {} : await readIdentities(identity));
    process.stdout.write(json ? `${JSON.stringify(jsonOfPacks(found))}\n` : describePacks(found));
    return exitCodeOfPacks(found);
  } catch (error) {
    if (!(error instanceof RunError || error instanceof DaybookError)) throw error;
    process.stderr.write(printable(`${error.code}: nothing was verified: ${error.message}\n`));
    return exitCodes.notRun;
  }
}
