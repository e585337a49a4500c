import { appendBatch } from './append-batch.bench.js';
import { appendSingle } from './append-single.bench.js';
import type { Bench } from './comparison.js';

/** Every bench by the name that the command line takes, in the order of running. */
export const benches: Readonly<Record<string, Bench>> = {
  'append-batch': appendBatch,
  'append-single': appendSingle,
};
