import { readNumberedPage, type NumberedPage, type NumberedPageRequest } from '../graphql/numbered-page.js';
import type { Queryable } from '../ledger/read-entries.js';

/** A pack as it stands on the record. */
export interface PackRow {
  readonly id: string;
  /** As in 2026-11-20. */
  readonly date: string;
  readonly kind: 'DAY' | 'PARTIAL';
  readonly createdAt: string;
  readonly createdBy: string;
  /** Lower-case hex. */
  readonly manifestSha256: string;
  readonly files: number;
  /** Decimal text. */
  readonly bytes: string;
  readonly signals: string;
  readonly auditEntries: string;
  readonly number: string;
}

const columns = `number, id, date::text AS date, kind, created_at AS "createdAt", created_by AS "createdBy",
  encode(manifest_hash, 'hex') AS "manifestSha256", files, bytes, signals, audit_entries AS "auditEntries"`;

/** Packs, the newest first. */
export function readPacks(
  database: Queryable,
  request: NumberedPageRequest,
): Promise<NumberedPage<PackRow & { number: string }>> {
  return readNumberedPage(database, { name: 'export-packs', columns, from: 'public.export_packs' }, request);
}

export async function readPack(database: Queryable, id: string): Promise<PackRow | null> {
  const found = await database.query<PackRow>(`SELECT ${columns} FROM public.export_packs WHERE id::text = $1`, [id]);
  return found.rows[0] ?? null;
}

export async function readDayPack(database: Queryable, date: string): Promise<PackRow | null> {
  const found = await database.query<PackRow>(
    `SELECT ${columns} FROM public.export_packs WHERE kind = 'DAY' AND date = $1`,
    [date],
  );
  return found.rows[0] ?? null;
}

/** The pack of the latest day that has one. */
export async function readLastDayPack(database: Queryable): Promise<PackRow | null> {
  const found = await database.query<PackRow>(
    `SELECT ${columns} FROM public.export_packs WHERE kind = 'DAY' ORDER BY date DESC LIMIT 1`,
  );
  return found.rows[0] ?? null;
}
