import type { Clock } from './clock.js';
import type { Config } from './config.js';
import { readSnapshotAt } from './config-snapshots/read-snapshots.js';
import type { Queryable } from './ledger/read-entries.js';
import { SignalTracer } from './trace/signal-tracer.js';

/** What joins signals with what became of them. `pool`: of any role that may read the ledger. */
export function openTrace(parts: {
  readonly config: Config;
  readonly clock: Clock;
  readonly pool: Queryable;
}): SignalTracer {
  const { config, clock, pool } = parts;
  const configAt = (time: string) => readSnapshotAt(pool, time);
  return new SignalTracer({ database: pool, clock, windowMs: config.traceWindowMs, configAt });
}
