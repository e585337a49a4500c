import { DaybookError } from '../errors.js';
import { readNumberedPage, type NumberedPage, type NumberedPageRequest } from '../graphql/numbered-page.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { LogName } from '../ledger/rows.js';
import type { BreakCode } from '../core/log-breaks.js';

export type CheckKind = 'SAMPLE' | 'RECENT' | 'FULL';

/** Where a contradiction was found: one of the logs, or PostgreSQL's catalogue. */
export type CheckArea = LogName | 'catalogue';

/** Which entries of a log a check looked at: first and last index, and how many from the one to the other. */
export interface CheckedRange {
  readonly area: LogName;
  readonly first: string;
  readonly last: string;
  readonly checked: string;
}

interface CheckBreak {
  readonly area: CheckArea;
  readonly code: BreakCode;
  readonly index: string | null;
  readonly message: string;
}

/** A run of the monitor as stored: times are RFC 3339, 64-bit numbers and milliseconds decimal text. */
export interface IntegrityCheckRow {
  readonly number: string;
  readonly id: string;
  readonly kind: CheckKind;
  readonly requestedBy: string;
  readonly startedAt: string;
  readonly endedAt: string;
  readonly durationMs: string;
  readonly ranges: readonly CheckedRange[];
  readonly entriesChecked: string;
  readonly result: 'OK' | 'FAILED' | 'ERROR';
  readonly failedVerifications: string;
  readonly breaks: readonly CheckBreak[];
  readonly error: string | null;
}

interface StoredCheck extends Omit<IntegrityCheckRow, 'ranges' | 'breaks'> {
  /** `{"audit": {"checked": "3", "first": "0", "last": "2"}, …}` */
  readonly ranges: string;
  /** `[{"code": …, "index": 1 or null, "log": …, "message": …}, …]` */
  readonly breaks: string;
}

const columns = `number, id, kind, requested_by AS "requestedBy", started_at AS "startedAt", ended_at AS "endedAt",
  duration_ms AS "durationMs", ranges, entries_checked AS "entriesChecked", result,
  failed_verifications AS "failedVerifications", breaks, error`;

/** Runs of the monitor, newest first. Throws BAD_USER_INPUT for a bad cursor or size. */
export async function readChecks(
  database: Queryable,
  page: NumberedPageRequest,
): Promise<NumberedPage<IntegrityCheckRow>> {
  const list = { name: 'integrity-checks', columns, from: 'public.integrity_checksum_log' };
  const found = await readNumberedPage<StoredCheck>(database, list, page);
  return { ...found, rows: found.rows.map(decodeCheck) };
}

/** Throws NOT_FOUND. */
export async function getCheck(database: Queryable, id: string): Promise<IntegrityCheckRow> {
  const found = await database.query<StoredCheck>(
    `SELECT ${columns} FROM public.integrity_checksum_log WHERE id = $1`,
    [id],
  );
  const stored = found.rows[0];
  if (stored === undefined) throw new DaybookError('NOT_FOUND', `there is no integrity check with id ${id}`);
  return decodeCheck(stored);
}

function decodeCheck(stored: StoredCheck): IntegrityCheckRow {
  const ranges = JSON.parse(stored.ranges) as Record<LogName, Omit<CheckedRange, 'area'>>;
  const breaks = JSON.parse(stored.breaks) as {
    log: CheckArea;
    code: BreakCode;
    index: number | null;
    message: string;
  }[];
  return {
    ...stored,
    ranges: Object.entries(ranges).map(([area, range]) => ({ area: area as LogName, ...range })),
    breaks: breaks.map(({ log, code, index, message }) => ({
      area: log,
      code,
      index: index === null ? null : String(index),
      message,
    })),
  };
}
