import type { SignerStatus } from '../core/verify-tlog-proof.js';

/** Exit codes of `daybook-verify`; those of packs that are broken are in packExitCode. */
export const exitCodes = { verified: 0, broken: 1, notRun: 2, signerUnknown: 3, sealed: 4 } as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The code of a check that ran to its end. */
export function exitCodeOf(isIntact: boolean, signer: SignerStatus): ExitCode {
  if (!isIntact) return exitCodes.broken;
  return signer === 'verified' ? exitCodes.verified : exitCodes.signerUnknown;
}

/** Why a check did not run, a closed list. */
export type RunErrorCode = 'USAGE' | 'FILE_UNREADABLE' | 'LAYOUT_UNREADABLE' | 'INTERRUPTED' | 'INTERNAL';

/** What the caller has to mend before a check can run. */
export class RunError extends Error {
  override readonly name = 'RunError';

  constructor(
    readonly code: RunErrorCode,
    message: string,
  ) {
    super(message);
  }
}
