import { Gauge, type Registry } from 'prom-client';

/** The gauges of one scrape share one reading. */
const readingSharedMs = 500;

/** How far behind the audit log a sink is. */
export interface SinkFigures {
  readonly name: string;
  readonly kind: string;
  readonly lagEntries: string;
  readonly lagSeconds: number;
  readonly failures: number;
}

/** Registers the gauges of the sinks that this node is configured for. */
export function registerSinkGauges(registry: Registry, read: () => Promise<readonly SinkFigures[]>): void {
  let reading: { readonly startedMs: number; readonly figures: Promise<readonly SinkFigures[]> } | null = null;
  const figures = () => {
    const nowMs = performance.now();
    if (reading === null || nowMs - reading.startedMs > readingSharedMs)
      reading = { startedMs: nowMs, figures: read() };
    return reading.figures;
  };
  const perSink = (name: string, help: string, valueOf: (sink: SinkFigures) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ['sink', 'kind'],
      registers: [registry],
      async collect() {
        this.reset();
        for (const sink of await figures()) this.set({ sink: sink.name, kind: sink.kind }, valueOf(sink));
      },
    });
  perSink('daybook_sink_lag_entries', 'Audit entries that the sink has not acknowledged', (sink) =>
    Number(sink.lagEntries),
  );
  perSink('daybook_sink_lag_seconds', 'Since the oldest of them was recorded', (sink) => sink.lagSeconds);
  perSink('daybook_sink_failures', 'Failures in a row of the sink; 0 while it delivers', (sink) => sink.failures);
}
