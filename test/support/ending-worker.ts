/** A verification thread that ends without a word when it is given its first range. */
import { parentPort } from 'node:worker_threads';

parentPort?.once('message', () => process.exit(3));
parentPort?.postMessage({ kind: 'idle' });
