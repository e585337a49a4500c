import { randomUUID } from 'node:crypto';
import { toDaybookError } from '../ledger/database-errors.js';
import type { CallOrigin } from '../ledger/new-entries.js';

/** What a command prints at its end; `result` with --json, `text` without. */
export interface CommandResult {
  readonly result: object;
  readonly text: string;
  /** 0 where nothing is said. */
  readonly exitCode?: number;
}

export interface CommandFace {
  readonly json?: boolean | undefined;
  /** Exit code of a command that failed; 1 where nothing is said. */
  readonly failedCode?: number;
  /** What did not come about, before the reason: `the ledger was not verified`. */
  readonly undone?: string;
  /** Ends what shows progress, before anything else is printed. */
  readonly stopProgress?: () => void;
}

/** SQLSTATE of a missing table. */
const undefinedTable = '42P01';

/**
 * Runs a command and prints what it gave, or `{"error": {"code", "message"}}` with --json, and the reason on stderr. Sets the exit
 * code. SIGINT and SIGTERM abort the signal.
 */
export async function runCommand(
  { json = false, failedCode = 1, undone, stopProgress }: CommandFace,
  work: (signal: AbortSignal) => Promise<CommandResult>,
): Promise<void> {
  await untilInterrupted(async (signal) => {
    try {
      const { result, text, exitCode = 0 } = await work(signal);
      stopProgress?.();
      process.stdout.write(json ? `${JSON.stringify(result)}\n` : text);
      process.exitCode = exitCode;
    } catch (error) {
      stopProgress?.();
      const { code, message } = describeFailure(error, signal);
      if (json) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
      process.stderr.write(`${code}: ${undone === undefined ? '' : `${undone}: `}${message}\n`);
      process.exitCode = failedCode;
    }
  });
}

/** Does something that SIGINT and SIGTERM call off. */
export async function untilInterrupted<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort(new Error('interrupted'));
  process.once('SIGINT', onInterrupt).once('SIGTERM', onInterrupt);
  try {
    return await work(interrupt.signal);
  } finally {
    process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt);
  }
}

/** Who a command's entries are by; `command` stands as their session. */
export function commandOrigin(command: string): CallOrigin {
  const requestId = randomUUID();
  return { actor: 'command line', role: null, ipAddress: null, userAgent: null, sessionId: command, requestId };
}

function describeFailure(error: unknown, signal: AbortSignal): { readonly code: string; readonly message: string } {
  if (signal.aborted) return { code: 'SHUTTING_DOWN', message: 'it was interrupted' };
  const { cause, code, message } = toDaybookError(error);
  return isMissingTable(error) || isMissingTable(cause)
    ? { code: 'DATABASE_UNAVAILABLE', message: 'the database holds no ledger yet: run daybook migrate up' }
    : { code, message };
}

function isMissingTable(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === undefinedTable;
}
