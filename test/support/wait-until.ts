import { setTimeout as pause } from 'node:timers/promises';

const POLL_MS = 10;
const WAIT_MS = 30_000;

/** Waits until `condition` gives a truthy value and returns it; fails with `what` after 30 s. */
export async function waitUntil<T>(what: string, condition: () => Promise<T> | T): Promise<NonNullable<T>> {
  for (let waitedMs = 0; waitedMs < WAIT_MS; waitedMs += POLL_MS) {
    const value = await condition();
    if (value) {
      return value;
    }
    await pause(POLL_MS);
  }
  throw new Error(`this did not come true within ${WAIT_MS / 1000} s: ${what}`);
}
