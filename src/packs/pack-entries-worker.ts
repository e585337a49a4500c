import { parentPort, workerData } from 'node:worker_threads';
import { withSnapshot } from '../ledger/verify-snapshot.js';
import { toErrorMessage } from '../ledger/verify-workers.js';
import type { ThreadReport, ThreadSetup } from './entries-thread.js';
import { writePackEntries } from './write-pack-entries.js';

/** A thread that writes the entries of one pack, on a connection of its own in the snapshot of the thread that started it. */
const port = parentPort;
if (port === null) throw new Error('this module is started as a worker thread');
const { url, snapshot, request } = workerData as ThreadSetup;
const report = (message: ThreadReport) => port.postMessage(message);

try {
  const entries = await withSnapshot(
    { url },
    (client) =>
      writePackEntries(client, request, {
        onProgress: (written, total) => report({ kind: 'progress', written, total }),
      }),
    snapshot,
  );
  report({ kind: 'written', entries });
} catch (error) {
  report({ kind: 'failed', error: toErrorMessage(error) });
}
