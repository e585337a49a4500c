import { Worker } from 'node:worker_threads';
import { fromErrorMessage, type ErrorMessage, type WorkerEntry } from '../ledger/verify-workers.js';
import type { EntriesProgress, EntriesRequest, WrittenEntries } from './write-pack-entries.js';

/**
 * Heap of the thread. Live are a few pages of rows, 40 MB at most; without a bound V8 lets several times as much garbage pile up
 * in the process.
 */
const resourceLimits = { maxYoungGenerationSizeMb: 12, maxOldGenerationSizeMb: 96 };

/** Where a thread reads from, and the module it runs: pack-entries-worker. */
export interface EntriesThread {
  /** URL of the auditor role. */
  readonly url: string;
  readonly entry?: WorkerEntry | undefined;
}

export interface ThreadSetup {
  readonly url: string;
  /** As pg_export_snapshot gave it; its transaction stays open while the thread works. */
  readonly snapshot: string;
  readonly request: EntriesRequest;
}

/** From the thread. */
export type ThreadReport =
  | { readonly kind: 'progress'; readonly written: number; readonly total: number }
  | { readonly kind: 'written'; readonly entries: WrittenEntries }
  | { readonly kind: 'failed'; readonly error: ErrorMessage };

/**
 * As `writePackEntries`, in a thread with a small heap of its own: neither the node's memory nor its answers depend on how
 * many entries a pack has. The thread has ended when this settles; what it wrote is left to the caller.
 */
export async function writeEntriesInThread(
  { url, entry }: EntriesThread,
  snapshot: string,
  request: EntriesRequest,
  { onProgress, signal }: EntriesProgress,
): Promise<WrittenEntries> {
  signal?.throwIfAborted();
  const written = Promise.withResolvers<WrittenEntries>();
  const module = entry ?? { url: new URL('./pack-entries-worker.js', import.meta.url) };
  const worker = new Worker(module.url, {
    workerData: { url, snapshot, request } satisfies ThreadSetup,
    execArgv: module.execArgv === undefined ? undefined : [...module.execArgv],
    resourceLimits,
  });
  const onAbort = () => written.reject(signal?.reason as Error);
  signal?.addEventListener('abort', onAbort, { once: true });
  worker.on('message', (report: ThreadReport) => {
    if (report.kind === 'progress') onProgress?.(report.written, report.total);
    else if (report.kind === 'written') written.resolve(report.entries);
    else written.reject(fromErrorMessage(report.error));
  });
  worker.on('error', (error) => written.reject(error));
  worker.on('exit', (code) => written.reject(new Error(`the thread of a pack ended with exit code ${code}`)));
  try {
    return await written.promise;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await worker.terminate();
  }
}
