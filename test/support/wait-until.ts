import { setTimeout as pause } from 'node:timers/promises';

const pollMinMs = 5;
const pollMaxMs = 50;
const waitMs = 30_000;

/**
 * Waits until `condition` gives a truthy value and returns it; fails with `what` after 30 s. The longer it takes, the less often
 * it is asked: suites that wait side by side leave the processor to those that work.
 */
export async function waitUntil<T>(what: string, condition: () => Promise<T> | T): Promise<NonNullable<T>> {
  for (let waitedMs = 0; waitedMs < waitMs;) {
    const value = await condition();
    if (value) {
      return value;
    }
    const pauseMs = Math.min(pollMaxMs, pollMinMs + waitedMs / 10);
    await pause(pauseMs);
    waitedMs += pauseMs;
  }
  throw new Error(`this did not come true within ${waitMs / 1000} s: ${what}`);
}
