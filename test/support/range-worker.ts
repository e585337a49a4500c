import type { WorkerEntry } from '../../src/ledger/verify-workers.js';

/** Verification threads that run this project's TypeScript, as `node --import` loads it. */
export const rangeWorkerEntry = workerEntryOf(new URL('../../src/ledger/verify-range-worker.ts', import.meta.url));

/** Threads that end without a word when they are given a range. */
export const endingWorkerEntry = workerEntryOf(new URL('./ending-worker.ts', import.meta.url));

/** A thread of another module. */
export function workerEntryOf(url: URL): WorkerEntry {
  const hooks = new URL('./typescript-hooks.js', import.meta.url).href;
  return { url, execArgv: ['--disable-warning=ExperimentalWarning', '--import', hooks] };
}
