import { api } from './api.bench.js';
import { appendBatch } from './append-batch.bench.js';
import { appendSingle } from './append-single.bench.js';
import { auditQueries } from './audit-queries.bench.js';
import type { Bench } from './comparison.js';
import { fanOut } from './fan-out.bench.js';
import { list } from './list.bench.js';
import { pack } from './pack.bench.js';
import { retention } from './retention.bench.js';
import { sinks } from './sinks.bench.js';
import { proof, seal } from './tree.bench.js';
import { verify } from './verify.bench.js';

/** Every bench by the name that the command line takes, in the order of running. */
export const benches: Readonly<Record<string, Bench>> = {
  'append-batch': appendBatch,
  'append-single': appendSingle,
  list,
  'fan-out': fanOut,
  api,
  seal,
  proof,
  verify,
  'audit-queries': auditQueries,
  pack,
  retention,
  sinks,
};
