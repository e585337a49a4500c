import { setTimeout as delay } from 'node:timers/promises';
import { DaybookError } from '../errors.js';

/** An effect outside that takes longer is one of unknown outcome, in milliseconds; shorter than the lease. */
export const effectTimeoutMsDefault = 30_000;

/** What an effect outside gives in time. Throws SECRET_UNAVAILABLE when it takes longer: whether it comes about is open then. */
export async function withTimeout<Value>(work: Promise<Value>, timeoutMs: number): Promise<Value> {
  const ended = new AbortController();
  const tooLate = delay(timeoutMs, undefined, { signal: ended.signal }).then(() => {
    throw new DaybookError('SECRET_UNAVAILABLE', 'the target gave no answer in time');
  });
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    // The timer that is taken back rejects too, and nobody waits for it any more.
    tooLate.catch(() => undefined);
    ended.abort();
  }
}

/** Whether the target said no, so that nothing was changed. */
export function isRefused(error: unknown): boolean {
  return error instanceof DaybookError && error.code === 'SECRET_REFUSED';
}

export function isLeaseLost(error: unknown): boolean {
  return error instanceof DaybookError && error.code === 'ROTATION_CONFLICT';
}

/** Messages of this product's own errors hold no value; those of others may, and are not repeated. */
export function noteOf(error: unknown): string {
  if (error instanceof DaybookError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.name : 'an unknown fault';
}
