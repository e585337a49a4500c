import { repeatable } from '../access/repeatable.js';
import type { Clock } from '../clock.js';
import { timestampFromMs } from '../core/timestamp.js';
import { DaybookError } from '../errors.js';
import { readMissingEntries, type ArchivedIndexes } from '../ledger/purges.js';
import { readSignalsById, readSupersedingSignals, type Queryable } from '../ledger/read-entries.js';
import { auditColumns, selectList, type AuditRow, type SignalRow } from '../ledger/rows.js';
import { classifySignal, type Classification } from './classify-signal.js';
import { readExecutionRates, type ExecutionRateRow } from './execution-rates.js';
import { addMs, readTraceEvents, type JoinedBy, type JoinedEvent } from './trace-events.js';

/** Most events of one trace. */
const eventsMax = 1_000;

declare module '../access/request-context.js' {
  interface Services {
    readonly trace: SignalTracer;
  }
}

/** A configuration snapshot, as far as a trace names it. */
interface ConfigInForce {
  readonly id: string;
  readonly takenAt: string;
  readonly filesHash: string;
}

export interface SignalTracerOptions {
  readonly database: Queryable;
  readonly clock: Clock;
  /** How long after a signal its orders, and events without its id, are looked for, in milliseconds. */
  readonly windowMs: number;
  /** The configuration known at a moment, RFC 3339; null where none was recorded until then. */
  readonly configAt: (time: string) => Promise<ConfigInForce | null>;
}

/** An event of a trace: its entry, what joined it to the signal, and the ids it names. */
export interface TracedEntry {
  readonly entry: AuditRow;
  readonly joinedBy: JoinedBy;
  readonly orderId: string | null;
  readonly dealId: string | null;
}

export interface SignalTraceRow extends Classification {
  readonly signal: SignalRow;
  readonly supersededBy: string | null;
  /** OrderAccepted and StopUpdated, PartiallyFilled, Filled, Rejected, AlertSent: all that was joined, in the order of the log. */
  readonly events: readonly TracedEntry[];
  readonly config: ConfigInForce | null;
  /** The audit log up to here was looked at; null while it is empty. */
  readonly asOfIndex: string | null;
  /** Entries that may tell of the signal and are in archives alone; null where all was looked at. */
  readonly archived: ArchivedIndexes | null;
  /** False where there are more events than a trace holds, or entries are archived. */
  readonly complete: boolean;
}

/** Joins signals with what became of them. Reads only. */
export class SignalTracer {
  constructor(private readonly options: SignalTracerOptions) {}

  /** Throws NOT_FOUND. */
  async trace(signalId: string): Promise<SignalTraceRow> {
    const { database, clock, windowMs, configAt } = this.options;
    const [signal] = await readSignalsById(database, [signalId]);
    if (signal === undefined) {
      throw new DaybookError('NOT_FOUND', `there is no signal with id ${repeatable(signalId, 128)}`);
    }
    const [superseding] = await readSupersedingSignals(database, [signalId]);
    const supersededBy = superseding?.signalId ?? null;
    const asOfIndex = await readLastIndex(database);
    const found = await readTraceEvents(database, [signal], { windowMs, lastIndex: asOfIndex ?? '-1', eventsMax });
    const joined = (found.bySignal.get(signalId) ?? []).slice(0, eventsMax);
    const now = timestampFromMs(clock.nowMs());
    const archived = await readMissingEntries(
      database,
      signal.serverTimestamp,
      addMs(signal.serverTimestamp, windowMs),
    );
    const classified = classifySignal({ ...signal, supersededBy }, joined, { now, windowMs });
    return {
      signal,
      supersededBy,
      ...(archived === null ? classified : whereArchived(classified, archived)),
      events: await readEntries(database, joined),
      config: await configAt(signal.serverTimestamp),
      asOfIndex,
      archived,
      complete: found.complete && archived === null,
    };
  }

  /**
   * What became of the signals of each day and strategy. Days are those of recording, in UTC, both included. Throws BAD_USER_INPUT
   * for a range that is turned round, too long or holds too much.
   */
  async rates(from: string, to: string, strategy: string | null): Promise<ExecutionRateRow[]> {
    const { database, clock, windowMs } = this.options;
    const lastIndex = (await readLastIndex(database)) ?? '-1';
    const now = timestampFromMs(clock.nowMs());
    return readExecutionRates(database, { from, to, strategy, windowMs, lastIndex, now });
  }
}

/** What is left tells a part at most: it must not pass for all. */
function whereArchived(classified: Classification, { firstIndex, lastIndex }: ArchivedIndexes): Classification {
  const reason = `entries ${firstIndex} to ${lastIndex} may tell of it and are in archives alone, restoreArchives brings them back; what is left says ${classified.status}: ${classified.reason}`;
  return { ...classified, status: 'ARCHIVED', reason };
}

async function readLastIndex(database: Queryable): Promise<string | null> {
  const found = await database.query<{ last: string | null }>(
    'SELECT max(chain_index) AS last FROM public.audit_entries',
  );
  return found.rows[0]?.last ?? null;
}

const selectFrom = (table: string) =>
  `SELECT ${selectList<AuditRow>(auditColumns)} FROM public.${table} WHERE chain_index = ANY ($1::bigint[])`;

async function readEntries(database: Queryable, joined: readonly JoinedEvent[]): Promise<TracedEntry[]> {
  if (joined.length === 0) return [];
  const found = await database.query<AuditRow>(
    `${selectFrom('audit_entries')} UNION ALL ${selectFrom('restored_entries')}`,
    [joined.map(({ chainIndex }) => chainIndex)],
  );
  const rows = new Map(found.rows.map((row) => [row.chainIndex, row]));
  return joined.flatMap(({ chainIndex, joinedBy, orderId, dealId }) => {
    const entry = rows.get(chainIndex);
    return entry === undefined ? [] : [{ entry, joinedBy, orderId, dealId }];
  });
}
