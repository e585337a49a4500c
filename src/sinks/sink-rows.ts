import type pg from 'pg';
import type { Queryable } from '../ledger/read-entries.js';
import type { SinkConfig, SinkKind } from './sink-config.js';

/** A sink as stored, and how far behind the log it is. Indexes and counts are decimal text, times canonical. */
export interface SinkRow {
  readonly number: number;
  readonly name: string;
  readonly place: string;
  readonly kind: SinkKind;
  readonly target: string;
  readonly position: string;
  readonly head: string;
  readonly lagEntries: string;
  /** Since the oldest entry that is not delivered was recorded; 0 where there is none. */
  readonly lagSeconds: number;
  readonly delivered: string;
  readonly replays: number;
  readonly failures: number;
  readonly lastError: string | null;
  readonly nextAttemptAt: string | null;
  readonly createdAt: string;
  readonly updatedAt: string;
}

const sinkColumns = `sink.number, sink.name, sink.place, sink.kind, sink.target, sink.position, log.head,
  log.head - sink.position AS "lagEntries",
  coalesce(greatest(0, extract(epoch FROM clock_timestamp() - waiting.recorded_at)), 0)::float8 AS "lagSeconds",
  sink.delivered, sink.replays, sink.failures, sink.last_error AS "lastError", sink.next_attempt_at AS "nextAttemptAt",
  sink.created_at AS "createdAt", sink.updated_at AS "updatedAt"`;

/** Every sink that ever delivered from this ledger, by name; only those of `name` where it is given. */
export async function readSinks(database: Queryable, name: string | null = null): Promise<SinkRow[]> {
  const found = await database.query<SinkRow>(
    `SELECT ${sinkColumns}
     FROM public.audit_sinks AS sink
       CROSS JOIN (SELECT coalesce(max(chain_index) + 1, 0) AS head FROM public.audit_entries) AS log
       LEFT JOIN public.audit_entries AS waiting ON waiting.chain_index = sink.position
     WHERE $1::text IS NULL OR sink.name = $1 ORDER BY sink.name, sink.number`,
    [name],
  );
  return found.rows;
}

/** What a runner has to know of its row. */
export interface SinkCursor {
  readonly position: bigint;
  readonly failures: number;
  /** How long until the next attempt is due, in milliseconds; 0 where it is. */
  readonly waitMs: number;
}

export async function readCursor(database: Queryable, number: number): Promise<SinkCursor> {
  const found = await database.query<{ position: string; failures: number; wait: number }>(
    `SELECT position, failures,
       coalesce(greatest(0, extract(epoch FROM next_attempt_at - clock_timestamp())), 0)::float8 AS wait
     FROM public.audit_sinks WHERE number = $1`,
    [number],
  );
  const row = found.rows[0];
  if (row === undefined) throw new TypeError(`sink ${number} has no row`);
  return { position: BigInt(row.position), failures: row.failures, waitMs: Math.ceil(row.wait * 1_000) };
}

/**
 * The row of a configured sink, made where it is new: at the beginning of the log, or at its head. A row that is there keeps
 * its position, and its kind.
 */
export async function ensureSink(
  database: Queryable,
  sink: Pick<SinkConfig, 'name' | 'kind' | 'startAt'> & { readonly place: string; readonly target: string },
): Promise<Pick<SinkRow, 'number' | 'kind'>> {
  const { name, kind, startAt, place, target } = sink;
  await database.query(
    `INSERT INTO public.audit_sinks (name, place, kind, target, position)
     SELECT $1, $2, $3, $4, coalesce((SELECT ${startAt === 'head' ? 'max(chain_index) + 1' : 'min(chain_index)'}
       FROM public.audit_entries), 0)
     WHERE NOT EXISTS (SELECT FROM public.audit_sinks WHERE name = $1 AND place = $2)
     ON CONFLICT (name, place) DO NOTHING`,
    [name, place, kind, target],
  );
  await database.query(
    'UPDATE public.audit_sinks SET target = $3 WHERE name = $1 AND place = $2 AND kind = $4 AND target <> $3',
    [name, place, target, kind],
  );
  const found = await database.query<Pick<SinkRow, 'number' | 'kind'>>(
    'SELECT number, kind FROM public.audit_sinks WHERE name = $1 AND place = $2',
    [name, place],
  );
  const row = found.rows[0];
  if (row === undefined) throw new TypeError(`the row of sink ${name} was removed while it was made`);
  return row;
}

/** Moves the cursor on from where it was read. False where a replay has moved it meanwhile. */
export async function advanceSink(
  database: Queryable,
  number: number,
  { from, to }: { readonly from: bigint; readonly to: bigint },
): Promise<boolean> {
  const moved = await database.query(
    `UPDATE public.audit_sinks SET position = $3::bigint, delivered = delivered + ($3::bigint - position), failures = 0,
       last_error = NULL, next_attempt_at = NULL, updated_at = clock_timestamp()
     WHERE number = $1 AND position = $2`,
    [number, from.toString(), to.toString()],
  );
  return moved.rowCount === 1;
}

/** Notes a failure and when to try again. */
export async function noteFailure(database: Queryable, number: number, error: string, pauseMs: number): Promise<void> {
  await database.query(
    `UPDATE public.audit_sinks SET failures = least(failures + 1, 1000000), last_error = $2,
       next_attempt_at = clock_timestamp() + $3 * interval '1 millisecond', updated_at = clock_timestamp()
     WHERE number = $1`,
    [number, error, pauseMs],
  );
}

/** Moves cursors back; the guard of the table lets it pass beside the SinkReplayed entry of the same transaction alone. */
export async function rewindSinks(client: pg.Client, numbers: readonly number[], from: bigint): Promise<void> {
  await client.query(
    `UPDATE public.audit_sinks SET position = $2::bigint, replays = replays + 1, failures = 0, last_error = NULL,
       next_attempt_at = NULL, updated_at = clock_timestamp()
     WHERE number = ANY ($1::integer[])`,
    [numbers, from.toString()],
  );
}
