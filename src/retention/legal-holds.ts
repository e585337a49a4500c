import { randomUUID } from 'node:crypto';
import type { Append } from '../access/request-calls.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { DaybookError } from '../errors.js';
import { readNumberedPage, type NumberedPage, type NumberedPageRequest } from '../graphql/numbered-page.js';
import { serviceEntry, type CallOrigin } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';

/** A hold as it stands on the record; times are canonical. */
export interface LegalHoldRow {
  readonly number: string;
  readonly id: string;
  readonly reason: string;
  readonly signalId: string | null;
  readonly actor: string | null;
  readonly resourcePrefix: string | null;
  readonly recordedFrom: string | null;
  readonly recordedTo: string | null;
  readonly placedAt: string;
  readonly placedBy: string;
  readonly releaseRequestedAt: string | null;
  readonly releaseRequestedBy: string | null;
  readonly releaseReason: string | null;
  readonly releasedAt: string | null;
  readonly releasedBy: string | null;
  readonly state: 'ACTIVE' | 'RELEASE_REQUESTED' | 'RELEASED';
}

/** What a hold keeps: entries that have all of these properties. */
export interface HoldScope {
  readonly signalId?: string | null;
  readonly actor?: string | null;
  readonly resourcePrefix?: string | null;
  readonly recordedFrom?: string | null;
  readonly recordedTo?: string | null;
}

const columns = `number, id, reason, signal_id AS "signalId", actor, resource_prefix AS "resourcePrefix",
  recorded_from AS "recordedFrom", recorded_to AS "recordedTo", placed_at AS "placedAt", placed_by AS "placedBy",
  release_requested_at AS "releaseRequestedAt", release_requested_by AS "releaseRequestedBy",
  release_reason AS "releaseReason", released_at AS "releasedAt", released_by AS "releasedBy",
  CASE WHEN released_by IS NOT NULL THEN 'RELEASED' WHEN release_requested_by IS NOT NULL THEN 'RELEASE_REQUESTED'
    ELSE 'ACTIVE' END AS state`;

/** Holds, the newest first; those alone that still hold where `active`. */
export function readHolds(
  database: Queryable,
  request: NumberedPageRequest & { readonly active: boolean },
): Promise<NumberedPage<LegalHoldRow>> {
  const conditions = request.active ? ['released_by IS NULL'] : [];
  return readNumberedPage(database, { name: 'legal-holds', columns, from: 'public.legal_holds', conditions }, request);
}

interface HoldStore {
  readonly database: Queryable;
  /** The row and the entry about it commit together. */
  readonly append: Append;
}

const reasonCharacters = { min: 10, max: 1_000 };

/**
 * Places a hold: from its commit on nothing in its scope is removed. Throws BAD_USER_INPUT for a reason or scope that is
 * none.
 */
export async function placeHold(
  store: HoldStore,
  hold: HoldScope & { readonly reason: string },
  origin: CallOrigin,
): Promise<LegalHoldRow> {
  assertReason(hold.reason);
  const { signalId = null, actor = null, resourcePrefix = null, recordedFrom = null, recordedTo = null } = hold;
  if (recordedFrom !== null && recordedTo !== null && recordedFrom >= recordedTo) {
    throw new DaybookError('BAD_USER_INPUT', 'recordedFrom must come before recordedTo');
  }
  for (const [name, text] of Object.entries({ signalId, actor, resourcePrefix })) {
    if (text === null || (text !== '' && text.length <= 1_000 && text.isWellFormed() && !text.includes('\0'))) continue;
    throw new DaybookError('BAD_USER_INPUT', `${name} must have 1 to 1,000 characters, or be left out`);
  }
  const id = randomUUID();
  const scope = Object.fromEntries(
    Object.entries({ signalId, actor, resourcePrefix, recordedFrom, recordedTo }).filter(([, value]) => value !== null),
  );
  await store.append({
    entries: [holdEntry(origin, 'LegalHoldPlaced', 'CREATE', id, { reason: hold.reason, scope })],
    alongside: async (client) => {
      await client.query(
        `INSERT INTO public.legal_holds
           (id, reason, signal_id, actor, resource_prefix, recorded_from, recorded_to, placed_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
        [id, hold.reason, signalId, actor, resourcePrefix, recordedFrom, recordedTo, origin.actor ?? 'unknown'],
      );
    },
  });
  return getHold(store.database, id);
}

/**
 * Asks for a hold's release, or, called by somebody else after that, releases it. Throws NOT_FOUND, BAD_USER_INPUT where it is
 * released already, FORBIDDEN for the one who asked.
 */
export async function releaseHold(
  store: HoldStore,
  { id, reason }: { readonly id: string; readonly reason: string },
  origin: CallOrigin,
): Promise<LegalHoldRow> {
  assertReason(reason);
  const hold = await getHold(store.database, id);
  const actor = origin.actor ?? 'unknown';
  if (hold.state === 'RELEASED') throw new DaybookError('BAD_USER_INPUT', 'this hold is released already');
  if (hold.state === 'RELEASE_REQUESTED' && hold.releaseRequestedBy === actor) {
    throw new DaybookError('FORBIDDEN', 'two people release a hold: somebody else has to confirm what you asked for');
  }
  const isRequest = hold.state === 'ACTIVE';
  const event = isRequest ? 'LegalHoldReleaseRequested' : 'LegalHoldReleased';
  const update = isRequest
    ? 'SET release_requested_by = $2, release_reason = $3 WHERE id = $1 AND release_requested_by IS NULL'
    : 'SET released_by = $2 WHERE id = $1 AND released_by IS NULL AND $3::text IS NOT NULL';
  await store.append({
    entries: [holdEntry(origin, event, 'UPDATE', id, { reason })],
    alongside: async (client) => {
      const updated = await client.query(`UPDATE public.legal_holds ${update}`, [id, actor, reason]);
      if (updated.rowCount === 0) throw new DaybookError('BAD_USER_INPUT', 'somebody else was faster: look again');
    },
  });
  return getHold(store.database, id);
}

async function getHold(database: Queryable, id: string): Promise<LegalHoldRow> {
  const found = await database.query<LegalHoldRow>(`SELECT ${columns} FROM public.legal_holds WHERE id::text = $1`, [
    id,
  ]);
  const [row] = found.rows;
  if (row === undefined) throw new DaybookError('NOT_FOUND', 'there is no such legal hold: legalHolds lists them');
  return row;
}

function holdEntry(origin: CallOrigin, event: string, action: 'CREATE' | 'UPDATE', id: string, details: object) {
  return serviceEntry({
    ...origin,
    category: 'ADMIN',
    event,
    action,
    resource: `legal-hold/${id}`,
    details: encodeCanonicalJson(details),
  });
}

function assertReason(reason: string): void {
  const { min, max } = reasonCharacters;
  if (reason.length >= min && reason.length <= max && reason.isWellFormed() && !reason.includes('\0')) return;
  throw new DaybookError('BAD_USER_INPUT', `reason must have ${min} to ${max} characters: it goes on the record`);
}
