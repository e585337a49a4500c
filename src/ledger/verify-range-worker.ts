import { parentPort, workerData } from 'node:worker_threads';
import { RangeVerifier } from './verify-range.js';
import { beginSnapshot, connectForVerification, endSnapshot } from './verify-snapshot.js';
import { toErrorMessage, type WorkerOrder, type WorkerReport, type WorkerSetup } from './verify-workers.js';

/**
 * A thread that verifies ranges one after another on a connection of its own, in the snapshot of the thread that started
 * it. An order of null ends it; whatever fails is reported and ends it too.
 */
const port = parentPort;
if (port === null) throw new Error('this module is started as a worker thread');
const { url, snapshot, keys } = workerData as WorkerSetup;
const report = (message: WorkerReport) => port.postMessage(message);

try {
  const client = await connectForVerification(url);
  try {
    await beginSnapshot(client, snapshot);
    const ranges = new RangeVerifier(client, keys);
    for (;;) {
      const nextOrder = Promise.withResolvers<WorkerOrder>();
      port.once('message', nextOrder.resolve);
      report({ kind: 'idle' });
      const order = await nextOrder.promise;
      if (order === null) break;
      report({ kind: 'found', finding: await ranges.verify(order, (rows) => report({ kind: 'rows', rows })) });
    }
    await endSnapshot(client);
  } finally {
    await client.end();
  }
} catch (err) {
  report({ kind: 'failed', error: toErrorMessage(err) });
}
