import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Append } from '../access/request-calls.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { DaybookError } from '../errors.js';
import type { CallOrigin, NewAuditEntry } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { authorOf, integrityEntry } from './integrity-entry.js';
import { getIncident, readOpenIncidents, type IncidentRow } from './read-incidents.js';

/** How often a report is tried anew after another node opened or closed the same incident. */
const reportAttemptsMax = 20;
const noteLengthMax = 2_000;
const titleLengthMax = 500;

/** Where incidents are read and written. The append is the writer's, or that of the call under way. */
export interface IncidentStore {
  readonly database: Queryable;
  readonly append: Append;
}

/** A fault that a person has to look at. */
export interface IncidentReport {
  readonly kind: IncidentRow['kind'];
  /** Names the fault: seen again while its incident is not closed, it is counted there. At most 300 characters. */
  readonly fingerprint: string;
  /** At most 500 characters. */
  readonly title: string;
  /** Facts for whoever looks, given those that the open incident holds; an object of JSON values, integers safe. */
  readonly details: (known: Readonly<Record<string, unknown>> | null) => Readonly<Record<string, unknown>>;
}

/** What commits together with the reports. */
export interface Alongside {
  readonly entries?: readonly NewAuditEntry[];
  readonly alongside?: (client: pg.Client) => Promise<void>;
}

/**
 * Opens an incident for each report, with its `IncidentOpened` entry, or counts it up where one with its fingerprint is not
 * closed yet, without an entry. All of it commits in one transaction together with `also`: a crash leaves all or nothing.
 */
export async function reportIncidents(
  store: IncidentStore,
  reports: readonly IncidentReport[],
  origin: CallOrigin,
  also: Alongside = {},
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const plan = await planReports(store.database, reports, origin);
    try {
      await store.append({
        entries: [...(also.entries ?? []), ...plan.flatMap(({ entry }) => entry ?? [])],
        alongside: async (client) => {
          await also.alongside?.(client);
          for (const { write } of plan) await write(client);
        },
      });
      return;
    } catch (error) {
      if (attempt === reportAttemptsMax || !isLostRace(error)) throw error;
    }
  }
}

interface PlannedReport {
  readonly entry: NewAuditEntry | null;
  readonly write: (client: pg.Client) => Promise<unknown>;
}

async function planReports(
  database: Queryable,
  reports: readonly IncidentReport[],
  origin: CallOrigin,
): Promise<PlannedReport[]> {
  const open = await readOpenIncidents(
    database,
    reports.map(({ fingerprint }) => fingerprint),
  );
  return reports.map((report) => {
    const known = open.get(report.fingerprint);
    if (known !== undefined) {
      const details = encodeCanonicalJson(report.details(JSON.parse(known.details) as Record<string, unknown>));
      // Of a closed incident the guard refuses it (DB001): then the report is planned anew.
      const write = (client: pg.Client) =>
        client.query(
          `UPDATE public.incidents SET occurrences = occurrences + 1, last_seen_at = clock_timestamp(), details = $2
           WHERE id = $1`,
          [known.id, details],
        );
      return { entry: null, write };
    }
    const id = randomUUID();
    return {
      entry: openedEntry(origin, id, report),
      write: (client) => insertIncident(client, id, report, authorOf(origin)),
    };
  });
}

/** Opens an incident for what an operator reports. Throws BAD_USER_INPUT for a title or note of unusable length. */
export async function openIncident(
  store: IncidentStore,
  input: { readonly title: string; readonly note?: string | null },
  origin: CallOrigin,
): Promise<IncidentRow> {
  const id = randomUUID();
  const title = checkText('title', input.title, titleLengthMax);
  const note =
    input.note === undefined || input.note === null ? undefined : checkText('note', input.note, noteLengthMax);
  const report = { kind: 'OPERATOR', fingerprint: `operator:${id}`, title, details: () => ({ note }) } as const;
  await store.append({
    entries: [openedEntry(origin, id, report)],
    alongside: async (client) => {
      await insertIncident(client, id, report, authorOf(origin));
    },
  });
  return getIncident(store.database, id);
}

/**
 * Says that somebody looks after an open incident. Of two who do at once one wins. Throws NOT_FOUND, BAD_USER_INPUT for a
 * note of unusable length, INCIDENT_STATE where it is acknowledged or closed already.
 */
export async function acknowledgeIncident(
  store: IncidentStore,
  input: { readonly id: string; readonly note: string },
  origin: CallOrigin,
): Promise<IncidentRow> {
  const note = checkText('note', input.note, noteLengthMax);
  const incident = await getIncident(store.database, input.id);
  if (incident.status !== 'OPEN') throw stateError(incident, 'acknowledged');
  return moveOn(store, incident, {
    verb: 'acknowledged',
    entry: movedEntry(origin, 'IncidentAcknowledged', incident, { note }),
    // The guard refuses it for an incident that somebody else acknowledged or closed meanwhile (DB001).
    statement: `UPDATE public.incidents SET status = 'ACKNOWLEDGED', acknowledged_at = clock_timestamp(),
      acknowledged_by = $2, acknowledgement_note = $3 WHERE id = $1`,
    values: [incident.id, authorOf(origin), note],
  });
}

/**
 * Closes an incident; one that nobody acknowledged is acknowledged by the same person with the same note. Throws NOT_FOUND,
 * BAD_USER_INPUT for a note of unusable length, INCIDENT_STATE where it is closed already.
 */
export async function closeIncident(
  store: IncidentStore,
  input: { readonly id: string; readonly note: string },
  origin: CallOrigin,
): Promise<IncidentRow> {
  const note = checkText('note', input.note, noteLengthMax);
  const incident = await getIncident(store.database, input.id);
  if (incident.status === 'CLOSED') throw stateError(incident, 'closed');
  return moveOn(store, incident, {
    verb: 'closed',
    entry: movedEntry(origin, 'IncidentClosed', incident, { note, occurrences: incident.occurrences }),
    statement: `UPDATE public.incidents SET status = 'CLOSED', closed_at = clock_timestamp(), closed_by = $2,
      closing_note = $3, acknowledged_at = coalesce(acknowledged_at, clock_timestamp()),
      acknowledged_by = coalesce(acknowledged_by, $2), acknowledgement_note = coalesce(acknowledgement_note, $3)
      WHERE id = $1`,
    values: [incident.id, authorOf(origin), note],
  });
}

async function moveOn(
  store: IncidentStore,
  incident: IncidentRow,
  step: {
    readonly verb: string;
    readonly entry: NewAuditEntry;
    readonly statement: string;
    readonly values: readonly unknown[];
  },
): Promise<IncidentRow> {
  try {
    await store.append({
      entries: [step.entry],
      alongside: async (client) => {
        await client.query(step.statement, [...step.values]);
      },
    });
  } catch (error) {
    if (!isLostRace(error)) throw error;
    throw stateError(await getIncident(store.database, incident.id), step.verb);
  }
  return getIncident(store.database, incident.id);
}

/**
 * True where the guard of the table, or the index that allows one open incident for each fingerprint, refused the write:
 * somebody else was faster. Nothing was recorded.
 */
function isLostRace(error: unknown): boolean {
  if (!(error instanceof DaybookError)) return false;
  const { code, constraint } = (error.cause ?? {}) as { code?: unknown; constraint?: unknown };
  return code === 'DB001' || constraint === 'incidents_open_fingerprint';
}

async function insertIncident(client: pg.Client, id: string, report: IncidentReport, openedBy: string): Promise<void> {
  await client.query(
    `INSERT INTO public.incidents (id, kind, fingerprint, title, details, opened_by) VALUES ($1, $2, $3, $4, $5, $6)`,
    [id, report.kind, report.fingerprint, report.title, encodeCanonicalJson(report.details(null)), openedBy],
  );
}

function openedEntry(origin: CallOrigin, id: string, report: IncidentReport): NewAuditEntry {
  return integrityEntry(origin, {
    event: 'IncidentOpened',
    action: 'CREATE',
    resource: `incident/${id}`,
    details: { ...report.details(null), fingerprint: report.fingerprint, kind: report.kind, title: report.title },
  });
}

function movedEntry(
  origin: CallOrigin,
  event: 'IncidentAcknowledged' | 'IncidentClosed',
  incident: IncidentRow,
  details: Readonly<Record<string, unknown>>,
): NewAuditEntry {
  return integrityEntry(origin, {
    event,
    action: 'UPDATE',
    resource: `incident/${incident.id}`,
    details: { ...details, title: incident.title },
  });
}

function stateError(incident: IncidentRow, wanted: string): DaybookError {
  const by = incident.closedBy ?? incident.acknowledgedBy ?? 'nobody';
  return new DaybookError(
    'INCIDENT_STATE',
    `the incident cannot be ${wanted}: it is ${incident.status.toLowerCase()}, by ${by}`,
  );
}

function checkText(name: string, text: string, lengthMax: number): string {
  const trimmed = text.trim();
  if (trimmed.length < 1 || trimmed.length > lengthMax || !trimmed.isWellFormed() || trimmed.includes('\0')) {
    throw new DaybookError('BAD_USER_INPUT', `${name} must have 1 to ${lengthMax} characters`);
  }
  return trimmed;
}
