import { randomUUID } from 'node:crypto';
import { reportIncidents, type IncidentReport, type IncidentStore } from './incidents.js';
import { serviceOrigin } from './integrity-entry.js';

/** A required anchor that is not made so long after sealing is an incident. */
const overdueAfter = '1 hour';
const reportsMax = 100;

interface OverdueAnchor {
  readonly kind: string;
  readonly target: string;
  readonly waiting: number;
  readonly oldest: string;
  readonly error: string | null;
}

/** Opens an incident for each required anchor that is overdue, or counts it up where one is open. */
export async function reportOverdueAnchors(store: IncidentStore): Promise<void> {
  const found = await store.database.query<OverdueAnchor>(
    `SELECT kind, target, count(*)::int AS waiting, min(date)::text AS oldest, max(last_error) AS error
     FROM public.anchors
     WHERE status = 'PENDING' AND mode = 'required' AND created_at < clock_timestamp() - interval '${overdueAfter}'
     GROUP BY kind, target ORDER BY kind, target LIMIT ${reportsMax}`,
  );
  if (found.rows.length === 0) return;
  const reports = found.rows.map((overdue): IncidentReport => ({
    kind: 'ANCHOR',
    fingerprint: `anchor overdue: ${overdue.kind} ${overdue.target}`.slice(0, 300),
    title: `Roots are not anchored: ${overdue.kind} ${overdue.target}`.slice(0, 500),
    details: () => ({ ...overdue, error: overdue.error ?? 'none yet' }),
  }));
  await reportIncidents(store, reports, serviceOrigin('anchors', randomUUID()));
}
