import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { WorkerEntry } from '../../src/ledger/verify-workers.js';

const root = join(import.meta.dirname, '../..');

/** Verification threads that run this project's TypeScript, as `node --import` loads it. */
export const rangeWorkerEntry = workerEntryOf('src/ledger/verify-range-worker.ts');

/** A thread of another module of this project. */
export function workerEntryOf(path: string): WorkerEntry {
  return {
    url: pathToFileURL(join(root, path)),
    execArgv: [
      '--disable-warning=ExperimentalWarning',
      '--import',
      pathToFileURL(join(root, 'test/support/typescript-hooks.js')).href,
    ],
  };
}
