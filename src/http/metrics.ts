import { collectDefaultMetrics, Counter, Gauge, Histogram } from 'prom-client';
import { registerProofGauges, type ProofFigures } from './proof-gauges.js';
import { ScrapedRegistry } from './scraped-registry.js';

/** What the gauges read when they are scraped. */
export interface MetricSources {
  readonly appendQueueRows: () => number;
  readonly logHeads: () => Readonly<Record<string, number>>;
  readonly refusedModifications: () => number;
  readonly ready: () => Promise<boolean>;
  readonly proofs: () => Promise<ProofFigures>;
}

/** The node's metrics in Prometheus' names: seconds, bytes, `_total` for counters. */
export class Metrics {
  readonly registry = new ScrapedRegistry();
  readonly #rootFields: ReadonlySet<string>;
  readonly calls = new Counter({
    name: 'daybook_api_calls_total',
    help: 'GraphQL and REST calls by resource and outcome',
    labelNames: ['resource', 'outcome'],
    registers: [this.registry],
  });
  readonly appendSeconds = new Histogram({
    name: 'daybook_append_seconds',
    help: 'From the request of an append to its durability',
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
    registers: [this.registry],
  });
  readonly generationLatency = new Histogram({
    name: 'signal_generation_latency_seconds',
    help: "From a producer's decision to the recording of its signal",
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
    registers: [this.registry],
  });
  readonly databaseErrors = new Counter({
    name: 'database_connection_errors',
    help: 'Connections to the database that broke or could not be made',
    registers: [this.registry],
  });

  readonly failedVerifications = new Counter({
    name: 'integrity_failed_verifications_total',
    help: 'Contradictions that integrity checks of this node found',
    registers: [this.registry],
  });
  readonly verificationSeconds = new Histogram({
    name: 'signal_verification_duration_seconds',
    help: 'Duration of integrity checks by kind',
    labelNames: ['kind'],
    buckets: [0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1_800],
    registers: [this.registry],
  });
  readonly integrityChecks = new Counter({
    name: 'daybook_integrity_checks_total',
    help: 'Integrity checks by kind and result',
    labelNames: ['kind', 'result'],
    registers: [this.registry],
  });

  /** Counts a call under the name of its root field; paths and operation names are the caller's and have no end. */
  countCall(resource: string | null, outcome: string): void {
    const known = resource !== null && this.#rootFields.has(resource);
    this.calls.inc({ resource: known ? resource : 'other', outcome });
  }

  constructor(sources: MetricSources, rootFields: Iterable<string>) {
    this.#rootFields = new Set(rootFields);
    collectDefaultMetrics({ register: this.registry });
    const registers = [this.registry];
    new Gauge({
      name: 'daybook_append_queue_rows',
      help: 'Entries that wait for their transaction',
      registers,
      collect() {
        this.set(sources.appendQueueRows());
      },
    });
    new Gauge({
      name: 'daybook_log_entries',
      help: 'Entries of each log that this node has seen',
      labelNames: ['log'],
      registers,
      collect() {
        for (const [log, head] of Object.entries(sources.logHeads())) this.set({ log }, head);
      },
    });
    new Gauge({
      name: 'daybook_refused_modifications',
      help: 'Refused modifications this node entered into the audit log since its start',
      registers,
      collect() {
        this.set(sources.refusedModifications());
      },
    });
    registerProofGauges(this.registry, sources.proofs);
    new Gauge({
      name: 'health_check_status',
      help: '1 when this node is ready, else 0',
      registers,
      async collect() {
        this.set((await sources.ready()) ? 1 : 0);
      },
    });
  }
}
