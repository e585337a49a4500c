import { randomUUID } from 'node:crypto';
import { reportIncidents, type IncidentReport, type IncidentStore } from './incidents.js';
import { serviceOrigin } from './integrity-entry.js';

/** What an anchor answered that contradicts this ledger. */
interface Fork {
  readonly log: string;
  readonly date: string;
  readonly target: string;
  readonly message: string;
}

/** Opens an incident for each log and anchor that show a fork, or counts it up where one is open. */
export async function reportForks(store: IncidentStore, forks: readonly Fork[]): Promise<void> {
  const first = new Map<string, Fork>();
  for (const fork of forks) {
    const fingerprint = `fork: ${fork.log} ${fork.target}`.slice(0, 300);
    if (!first.has(fingerprint)) first.set(fingerprint, fork);
  }
  if (first.size === 0) return;
  const reports = [...first].map(([fingerprint, { log, date, target, message }]): IncidentReport => ({
    kind: 'ANCHOR',
    fingerprint,
    title: `An anchor contradicts the ${log} log: ${target}`.slice(0, 500),
    details: (known) => ({ ...known, date: known?.['date'] ?? date, latestDate: date, log, reason: message, target }),
  }));
  await reportIncidents(store, reports, serviceOrigin('anchors', randomUUID()));
}
