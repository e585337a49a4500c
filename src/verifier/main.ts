import { helpText, parseCommandLine, type CommandLine } from './command-line.js';
import { exitCodes, RunError, type RunErrorCode } from './exit-codes.js';
import { LayoutReadError } from './layout-reader.js';
import { printable } from './report.js';
import { runCommand } from './run-command.js';

/** Release, and the version of the bytes in docs/format.md that it can check. */
const versionText = 'daybook-verify 0.1.0, format 1\n';

/**
 * The stand-alone verifier: bundled into one file, it needs Node (20.12 or later) and nothing else. Prints what it found on
 * stdout, progress and the reason of a failure on stderr.
 */
async function main(): Promise<number> {
  const isJson = process.argv.includes('--json');
  const ending = new AbortController();
  const onInterrupt = () => ending.abort(new RunError('INTERRUPTED', 'the check was interrupted'));
  process.once('SIGINT', onInterrupt).once('SIGTERM', onInterrupt);
  try {
    const line = parseCommandLine(process.argv.slice(2));
    if (line === 'help' || line === 'version') {
      process.stdout.write(line === 'help' ? helpText : versionText);
      return exitCodes.verified;
    }
    return await run(line, ending.signal);
  } catch (err) {
    const { code, message } = describeFailure(err);
    if (isJson) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
    process.stderr.write(printable(`${code}: nothing was verified: ${message}\n`));
    return exitCodes.notRun;
  } finally {
    process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt);
    // Requests that were made ahead would keep the process alive.
    ending.abort();
  }
}

async function run(line: CommandLine, signal: AbortSignal): Promise<number> {
  const { text, json, exitCode } = await runCommand(line, signal);
  process.stdout.write(line.json ? `${JSON.stringify(json)}\n` : text);
  return exitCode;
}

function describeFailure(err: unknown): { code: RunErrorCode; message: string } {
  if (err instanceof RunError || err instanceof LayoutReadError) return { code: err.code, message: err.message };
  return { code: 'INTERNAL', message: err instanceof Error ? (err.stack ?? err.message) : String(err) };
}

process.exitCode = await main();
