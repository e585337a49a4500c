import { repeatable } from '../access/repeatable.js';
import { DaybookError } from '../errors.js';
import { readNumberedPage, type NumberedPage, type NumberedPageRequest } from '../graphql/numbered-page.js';
import type { Queryable } from '../ledger/read-entries.js';

/** An incident as stored: times are RFC 3339, `details` is JSON text. */
export interface IncidentRow {
  readonly number: string;
  readonly id: string;
  readonly kind: 'INTEGRITY' | 'SIGNER' | 'ANCHOR' | 'OPERATOR';
  readonly fingerprint: string;
  readonly title: string;
  readonly details: string;
  readonly openedAt: string;
  readonly openedBy: string;
  readonly occurrences: string;
  readonly lastSeenAt: string;
  readonly status: 'OPEN' | 'ACKNOWLEDGED' | 'CLOSED';
  readonly acknowledgedAt: string | null;
  readonly acknowledgedBy: string | null;
  readonly acknowledgementNote: string | null;
  readonly closedAt: string | null;
  readonly closedBy: string | null;
  readonly closingNote: string | null;
}

const columns = `number, id, kind, fingerprint, title, details, opened_at AS "openedAt", opened_by AS "openedBy",
  occurrences, last_seen_at AS "lastSeenAt", status, acknowledged_at AS "acknowledgedAt",
  acknowledged_by AS "acknowledgedBy", acknowledgement_note AS "acknowledgementNote", closed_at AS "closedAt",
  closed_by AS "closedBy", closing_note AS "closingNote"`;

/** Incidents, newest first: all, those not closed (`open` true), or the closed ones (false). Throws BAD_USER_INPUT. */
export function readIncidents(
  database: Queryable,
  open: boolean | null,
  page: NumberedPageRequest,
): Promise<NumberedPage<IncidentRow>> {
  const conditions = open === null ? [] : [open ? "status <> 'CLOSED'" : "status = 'CLOSED'"];
  return readNumberedPage<IncidentRow>(
    database,
    { name: 'incidents', columns, from: 'public.incidents', conditions },
    page,
  );
}

/** Throws NOT_FOUND. */
export async function getIncident(database: Queryable, id: string): Promise<IncidentRow> {
  const isId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id);
  const found = isId
    ? await database.query<IncidentRow>(`SELECT ${columns} FROM public.incidents WHERE id = $1`, [id])
    : null;
  const incident = found?.rows[0];
  if (incident === undefined) throw new DaybookError('NOT_FOUND', `there is no incident with id ${repeatable(id, 40)}`);
  return incident;
}

/** Those of the named faults whose incident is not closed, by fingerprint. */
export async function readOpenIncidents(
  database: Queryable,
  fingerprints: readonly string[],
): Promise<ReadonlyMap<string, IncidentRow>> {
  if (fingerprints.length === 0) return new Map();
  const found = await database.query<IncidentRow>(
    `SELECT ${columns} FROM public.incidents WHERE status <> 'CLOSED' AND fingerprint = ANY ($1::text[])`,
    [fingerprints],
  );
  return new Map(found.rows.map((row) => [row.fingerprint, row]));
}
