import type pg from 'pg';
import type { Logger } from 'pino';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import type { BreakList } from '../core/log-breaks.js';
import { DaybookError } from '../errors.js';
import type { CallOrigin } from '../ledger/new-entries.js';
import { reportIncidents, type IncidentReport, type IncidentStore } from './incidents.js';
import { authorOf, integrityEntry } from './integrity-entry.js';
import type { Findings } from './look-for-breaks.js';
import type { CheckArea, IntegrityCheckRow } from './read-checks.js';

/** Longest message of a break that is stored. */
const messageLengthMax = 500;

/** A check's own facts; times are RFC 3339, the duration decimal text. */
interface CheckRun {
  readonly id: string;
  readonly kind: IntegrityCheckRow['kind'];
  readonly startedAt: string;
  readonly endedAt: string;
  readonly durationMs: string;
}

const areaNames: Readonly<Record<CheckArea, string>> = {
  signals: 'The log of signals',
  audit: 'The audit log',
  catalogue: "The database's catalogue",
};

/**
 * Records a check, or why it could not run to its end. Its row, its entry and its incidents commit together. What it found is
 * counted and logged first: it must not be lost where the ledger itself is too broken to take the record.
 */
export async function recordCheck(
  store: IncidentStore,
  run: CheckRun,
  outcome: Findings | DaybookError,
  origin: CallOrigin,
  observers: { readonly metrics?: { failed(count: number): void }; readonly log: Logger },
): Promise<IntegrityCheckRow['result']> {
  const findings = outcome instanceof DaybookError ? null : outcome;
  const failing = findings === null ? [] : failingAreas(findings);
  const failed = failing.reduce((sum, { found }) => sum + found.count, 0);
  const result = findings === null ? 'ERROR' : failed > 0 ? 'FAILED' : 'OK';
  const breaks = failing.flatMap(({ area, found }) => found.first.map((one) => describeBreak(area, one)));
  if (failed > 0) {
    observers.metrics?.failed(failed);
    observers.log.error({ check: run.id, kind: run.kind, failed, breaks }, 'an integrity check found contradictions');
  }
  const error = outcome instanceof DaybookError ? `${outcome.code}: ${outcome.message}` : undefined;
  const entry = integrityEntry(origin, {
    event: 'IntegrityChecked',
    action: 'EXECUTE',
    resource: `integrity-check/${run.id}`,
    outcome: outcome instanceof DaybookError ? outcome.code : failed > 0 ? 'INTEGRITY_FAILED' : 'OK',
    details: {
      check: run.id,
      durationMs: Math.round(Number(run.durationMs)),
      entries: String(findings?.entries ?? 0),
      error,
      failedVerifications: String(failed),
      firstBreaks: failing.map(({ area, found }) => describeBreak(area, found.first[0])),
      kind: run.kind,
      ranges: rangesOf(findings),
      result,
    },
  });
  const insert = (client: pg.Client) =>
    client.query(
      `INSERT INTO public.integrity_checksum_log (id, kind, requested_by, started_at, ended_at, duration_ms, ranges,
         entries_checked, result, failed_verifications, breaks, error)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
      [
        ...[run.id, run.kind, authorOf(origin), run.startedAt, run.endedAt, run.durationMs],
        ...[encodeCanonicalJson(rangesOf(findings)), findings?.entries ?? 0, result, failed],
        ...[encodeCanonicalJson(breaks), error ?? null],
      ],
    );
  await reportIncidents(
    store,
    failing.map(({ area, found }) => incidentReport(run.id, area, found)),
    origin,
    { entries: [entry], alongside: async (client) => void (await insert(client)) },
  );
  return result;
}

interface FailingArea {
  readonly area: CheckArea;
  readonly found: BreakList;
}

function failingAreas(findings: Findings): FailingArea[] {
  return Object.entries(findings.breaks)
    .filter(([, found]) => found.count > 0)
    .map(([area, found]) => ({ area: area as CheckArea, found }));
}

function rangesOf(findings: Findings | null): Record<string, unknown> {
  return Object.fromEntries((findings?.ranges ?? []).map(({ area, ...range }) => [area, range]));
}

function describeBreak(area: CheckArea, found: BreakList['first'][number] | undefined): Record<string, unknown> {
  return {
    code: found?.code,
    index: found?.index ?? null,
    log: area,
    message: found?.message.slice(0, messageLengthMax).toWellFormed(),
  };
}

/** One incident for each area: as long as it is not closed, further failing checks are counted there. */
function incidentReport(checkId: string, area: CheckArea, found: BreakList): IncidentReport {
  const [first] = found.first;
  const place = first?.index === null || first === undefined ? '' : ` at index ${first.index}`;
  const codes = found.first.map(({ code }) => code);
  return {
    kind: 'INTEGRITY',
    fingerprint: `integrity:${area}`,
    title: `${areaNames[area]} fails its check: ${first?.code ?? ''}${place}`,
    details: (known) => ({
      codes: [...new Set([...(Array.isArray(known?.['codes']) ? (known['codes'] as unknown[]) : []), ...codes])].sort(),
      firstBreak: known?.['firstBreak'] ?? describeBreak(area, first),
      firstCheck: known?.['firstCheck'] ?? checkId,
      latestBreak: describeBreak(area, first),
      latestCheck: checkId,
    }),
  };
}
