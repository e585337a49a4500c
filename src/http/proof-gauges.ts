import { Gauge, type Registry } from 'prom-client';

/** The gauges of one scrape share one reading. */
const readingSharedMs = 500;

/** What the gauges of proofs show; null where there is nothing yet. */
export interface ProofFigures {
  readonly logs: readonly {
    readonly log: string;
    readonly checkpointSize: number;
    readonly checkpointAgeSeconds: number | null;
    readonly unsignedAgeSeconds: number;
    readonly publishedSize: number | null;
    readonly signerRefuses: boolean;
    /** Entries that only the database protects: those after the last anchored root or published checkpoint. */
    readonly unanchoredEntries: number;
  }[];
  readonly anchors: readonly {
    readonly kind: string;
    readonly mode: string;
    readonly waiting: number;
    readonly oldestSeconds: number;
  }[];
  readonly openIncidents: number;
}

type LogFigures = ProofFigures['logs'][number];

/** Registers the gauges of checkpoints, anchors and incidents. */
export function registerProofGauges(registry: Registry, read: () => Promise<ProofFigures>): void {
  let reading: { readonly startedMs: number; readonly figures: Promise<ProofFigures> } | null = null;
  const figures = () => {
    const nowMs = performance.now();
    if (reading === null || nowMs - reading.startedMs > readingSharedMs)
      reading = { startedMs: nowMs, figures: read() };
    return reading.figures;
  };
  const perLog = (name: string, help: string, valueOf: (log: LogFigures) => number | null) =>
    new Gauge({
      name,
      help,
      labelNames: ['log'],
      registers: [registry],
      async collect() {
        for (const log of (await figures()).logs) {
          const value = valueOf(log);
          if (value !== null) this.set({ log: log.log }, value);
        }
      },
    });
  perLog('daybook_checkpoint_tree_size', 'Entries that the newest checkpoint covers', (log) => log.checkpointSize);
  perLog('daybook_checkpoint_age_seconds', 'Since it was signed', (log) => log.checkpointAgeSeconds);
  perLog(
    'daybook_unsigned_age_seconds',
    'Since the oldest entry was recorded that no checkpoint covers',
    (log) => log.unsignedAgeSeconds,
  );
  perLog('daybook_published_tree_size', 'Entries that the published checkpoint covers', (log) => log.publishedSize);
  perLog('daybook_signer_refuses', '1 while signing is refused: the log contradicts a checkpoint', (log) =>
    log.signerRefuses ? 1 : 0,
  );
  perLog(
    'daybook_unanchored_entries',
    'Entries that only the database protects: those after the last anchored root or published checkpoint',
    (log) => log.unanchoredEntries,
  );
  const perAnchor = (name: string, help: string, valueOf: (anchor: ProofFigures['anchors'][number]) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ['kind', 'mode'],
      registers: [registry],
      async collect() {
        this.reset();
        for (const anchor of (await figures()).anchors) {
          this.set({ kind: anchor.kind, mode: anchor.mode }, valueOf(anchor));
        }
      },
    });
  perAnchor('daybook_anchors_waiting', 'Roots that are not anchored yet', (anchor) => anchor.waiting);
  perAnchor('daybook_anchor_overdue_seconds', 'How long the oldest of them waits', (anchor) => anchor.oldestSeconds);
  new Gauge({
    name: 'daybook_open_incidents',
    help: 'Incidents that are not closed',
    registers: [registry],
    async collect() {
      this.set((await figures()).openIncidents);
    },
  });
}
