import type { Append } from '../access/request-calls.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { DaybookError } from '../errors.js';
import { serviceEntry, type CallOrigin } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { readSinks, rewindSinks, type SinkRow } from './sink-rows.js';

export interface ReplayStore {
  readonly database: Queryable;
  readonly append: Append;
}

export interface Replay {
  readonly name: string;
  /** Index of the first entry to deliver again, decimal. */
  readonly from: string;
  /** Null: the same sink in every folder that has one. */
  readonly number: number | null;
  readonly reason: string;
}

/**
 * Moves a sink back, so that it delivers again from an index on, and returns its rows. Cursor and `SinkReplayed` entry commit
 * together. Throws NOT_FOUND, BAD_USER_INPUT for an index that is none, CURSOR_AHEAD for one that it has not reached yet, and
 * CURSOR_EXPIRED for one that the log holds no more.
 */
export async function replaySink(store: ReplayStore, replay: Replay, origin: CallOrigin): Promise<SinkRow[]> {
  const { name, number } = replay;
  if (!/^\d{1,18}$/.test(replay.from))
    throw new DaybookError('BAD_USER_INPUT', 'from must be an index of the audit log');
  const from = BigInt(replay.from);
  const sinks = (await readSinks(store.database, name)).filter((sink) => number === null || sink.number === number);
  if (sinks.length === 0) throw new DaybookError('NOT_FOUND', `there is no sink ${name}`);
  for (const sink of sinks) assertReached(sink, from);
  await assertRetained(store.database, from);
  const numbers = sinks.map((sink) => sink.number);
  try {
    await store.append({
      entries: [
        serviceEntry({
          ...origin,
          category: 'ADMIN',
          event: 'SinkReplayed',
          action: 'UPDATE',
          resource: `sink/${name}`,
          details: encodeCanonicalJson({
            from: from.toString(),
            positions: sinks.map(({ target, position }) => ({ position, target })),
            reason: replay.reason,
          }),
        }),
      ],
      alongside: (client) => rewindSinks(client, numbers, from),
    });
  } catch (error) {
    // The guard: somebody else moved a sink back before `from` meanwhile.
    if (!(error instanceof DaybookError && error.code === 'LEDGER_IMMUTABLE')) throw error;
    for (const sink of await readSinks(store.database, name)) assertReached(sink, from);
    throw error;
  }
  return (await readSinks(store.database, name)).filter((sink) => numbers.includes(sink.number));
}

function assertReached({ name, target, position }: SinkRow, from: bigint): void {
  if (from <= BigInt(position)) return;
  throw new DaybookError(
    'CURSOR_AHEAD',
    `sink ${name} (${target}) is at ${position}: it cannot be replayed from ${from}`,
  );
}

async function assertRetained(database: Queryable, from: bigint): Promise<void> {
  const found = await database.query<{ first: string | null }>(
    'SELECT min(chain_index) AS first FROM public.audit_entries',
  );
  const first = BigInt(found.rows[0]?.first ?? '0');
  if (from < first) throw new DaybookError('CURSOR_EXPIRED', `the audit log starts at ${first}`);
}
