import { formatTimestamp, parseTimestamp } from '../core/timestamp.js';
import type { Queryable } from '../ledger/read-entries.js';

/** Signals whose own events are read by one query. */
const signalsPerQuery = 1_000;
/** How often events that were joined may lead to further ones by their other id. Each round reads the window once. */
const roundsMax = 3;

/** How an event came to a signal: by naming it, or by sharing an id with an event that does. */
export type JoinedBy = 'SIGNAL_ID' | 'ORDER_ID' | 'DEAL_ID';

/** An order, fill or alert as the audit log has it. Times are RFC 3339, `quantity` … are as recorded, not checked. */
interface TraceEvent {
  readonly chainIndex: string;
  readonly id: string;
  readonly category: string;
  readonly event: string;
  readonly signalId: string | null;
  readonly recordedAt: string;
  readonly orderId: string | null;
  readonly dealId: string | null;
  readonly quantity: string | null;
  readonly price: string | null;
  readonly remainingQuantity: string | null;
  readonly message: string | null;
}

export interface JoinedEvent extends TraceEvent {
  readonly joinedBy: JoinedBy;
}

/** What is read of a signal to find its events. */
export interface TracedSignal {
  readonly signalId: string;
  readonly serverTimestamp: string;
}

export interface TraceEventOptions {
  /** Events without a signal's id are looked for so long after it, in milliseconds. */
  readonly windowMs: number;
  /** Only entries up to this index. */
  readonly lastIndex: string;
  /** Most events that are read. */
  readonly eventsMax: number;
}

export interface FoundEvents {
  /** By signal, in the order of the log. */
  readonly bySignal: ReadonlyMap<string, readonly JoinedEvent[]>;
  /** False where `eventsMax` was reached: there may be more. */
  readonly complete: boolean;
}

const columns = `chain_index AS "chainIndex", id, category, event, signal_id AS "signalId", recorded_at AS "recordedAt",
  details ->> 'orderId' AS "orderId", details ->> 'dealId' AS "dealId", details ->> 'quantity' AS quantity,
  details ->> 'price' AS price, details ->> 'remainingQuantity' AS "remainingQuantity", details ->> 'message' AS message`;
/** What is in the log, and copies that were brought back from archives. */
const select = (table: string) =>
  `SELECT chain_index, id, category, event, signal_id, recorded_at, details FROM public.${table}`;
const entries = `(${select('audit_entries')} UNION ALL ${select('restored_entries')}) AS entries`;
const traced = `category IN ('ORDER', 'FILL', 'ALERT')`;

/**
 * The orders, fills and alerts of signals. An event without a signal's id belongs to the signal named by the last event before it
 * that has its order id, or where there is none the first one after it; where its order id tells nothing, the same by deal id.
 * Ids of brokers come back, some each day: only what was recorded within the window after a signal is joined to it by such an id.
 * Reads through the index on signal ids, and then the orders, fills and alerts of the window; an index on order ids would cost every
 * recorded fill a fifth more time (docs/trace.md).
 */
export async function readTraceEvents(
  database: Queryable,
  signals: readonly TracedSignal[],
  options: TraceEventOptions,
): Promise<FoundEvents> {
  const known = new Map<string, TraceEvent>();
  let complete = true;
  const add = (rows: readonly TraceEvent[]) => {
    for (const row of rows) {
      if (!known.has(row.chainIndex) && known.size === options.eventsMax) complete = false;
      else known.set(row.chainIndex, row);
    }
  };
  for (let place = 0; place < signals.length && complete; place += signalsPerQuery) {
    const ids = signals.slice(place, place + signalsPerQuery).map(({ signalId }) => signalId);
    add(await readOwnEvents(database, ids, options));
  }
  const windows = signals.map((signal) => ({ ...signal, until: addMs(signal.serverTimestamp, options.windowMs) }));
  const range = await readRange(database, windows);
  const asked = { orderId: new Set<string>(), dealId: new Set<string>() };
  let joined = joinAll(windows, [...known.values()]);
  for (let round = 0; round < roundsMax && range !== null && complete; round += 1) {
    const [orderIds, dealIds] = (['orderId', 'dealId'] as const).map((key) => newKeys(joined, key, asked[key]));
    if (orderIds?.length === 0 && dealIds?.length === 0) break;
    add(await readSharingEvents(database, range, orderIds ?? [], dealIds ?? [], options));
    joined = joinAll(windows, [...known.values()]);
  }
  return { bySignal: joined, complete };
}

async function readOwnEvents(
  database: Queryable,
  signalIds: readonly string[],
  { lastIndex, eventsMax }: TraceEventOptions,
): Promise<TraceEvent[]> {
  const found = await database.query<TraceEvent>(
    `SELECT ${columns} FROM ${entries}
     WHERE signal_id = ANY ($1::text[]) AND ${traced} AND chain_index <= $2 ORDER BY chain_index LIMIT $3`,
    [signalIds, lastIndex, eventsMax + 1],
  );
  return found.rows;
}

interface IndexRange {
  readonly from: string;
  /** Null: up to the end of the log. */
  readonly before: string | null;
}

/** The indexes of what was recorded in the windows; null where nothing was. Times of entries never go back. */
async function readRange(
  database: Queryable,
  windows: readonly { readonly serverTimestamp: string; readonly until: string }[],
): Promise<IndexRange | null> {
  const from = windows.map(({ serverTimestamp }) => serverTimestamp).sort()[0];
  const until = windows
    .map((window) => window.until)
    .sort()
    .at(-1);
  if (from === undefined || until === undefined) return null;
  // Not min(chain_index): for that the planner walks the log from its beginning.
  const firstIn = (table: string, parameter: string) => `(SELECT chain_index FROM public.${table}
    WHERE recorded_at >= ${parameter}::timestamptz ORDER BY recorded_at, chain_index LIMIT 1)`;
  const firstAt = (parameter: string) =>
    `least(${firstIn('audit_entries', parameter)}, ${firstIn('restored_entries', parameter)})`;
  const found = await database.query<{ from: string | null; before: string | null }>(
    `SELECT ${firstAt('$1')} AS "from", ${firstAt('$2')} AS "before"`,
    [from, until],
  );
  const range = found.rows[0];
  return range?.from === undefined || range.from === null ? null : { from: range.from, before: range.before };
}

async function readSharingEvents(
  database: Queryable,
  { from, before }: IndexRange,
  orderIds: readonly string[],
  dealIds: readonly string[],
  { lastIndex, eventsMax }: TraceEventOptions,
): Promise<TraceEvent[]> {
  const found = await database.query<TraceEvent>(
    `SELECT ${columns} FROM ${entries}
     WHERE ${traced} AND chain_index >= $1 AND ($2::bigint IS NULL OR chain_index < $2) AND chain_index <= $3
       AND (details ->> 'orderId' = ANY ($4::text[]) OR details ->> 'dealId' = ANY ($5::text[]))
     ORDER BY chain_index LIMIT $6`,
    [from, before, lastIndex, orderIds, dealIds, eventsMax + 1],
  );
  return found.rows;
}

/** Ids of joined events that were not asked for yet; from now on they were. */
function newKeys(
  joined: ReadonlyMap<string, readonly TraceEvent[]>,
  key: 'orderId' | 'dealId',
  asked: Set<string>,
): string[] {
  const keys = new Set([...joined.values()].flat().flatMap((event) => event[key] ?? []));
  const fresh = [...keys].filter((one) => !asked.has(one));
  for (const one of fresh) asked.add(one);
  return fresh;
}

type Window = TracedSignal & { readonly until: string };

function joinAll(windows: readonly Window[], events: readonly TraceEvent[]): Map<string, JoinedEvent[]> {
  const shared = { orderId: groupBy(events, 'orderId'), dealId: groupBy(events, 'dealId') };
  const own = groupBy(events, 'signalId');
  return new Map(
    windows.map((window) => [window.signalId, joinOne(window, own.get(window.signalId) ?? [], shared)] as const),
  );
}

interface SharedIds {
  readonly orderId: ReadonlyMap<string, readonly TraceEvent[]>;
  readonly dealId: ReadonlyMap<string, readonly TraceEvent[]>;
}

function joinOne(window: Window, own: readonly TraceEvent[], shared: SharedIds): JoinedEvent[] {
  const joined = new Map<string, JoinedEvent>(
    own.map((event) => [event.chainIndex, { ...event, joinedBy: 'SIGNAL_ID' }]),
  );
  const isInWindow = ({ recordedAt }: TraceEvent) => recordedAt >= window.serverTimestamp && recordedAt < window.until;
  // Whom the events with an id name, this signal's joined ones counted in; nearest before the event first.
  const ownerOf = (event: TraceEvent, key: 'orderId' | 'dealId'): string | null => {
    const sharing = (shared[key].get(event[key] ?? '') ?? [])
      .filter((other) => other.chainIndex !== event.chainIndex && isInWindow(other))
      .map((other) => ({ other, owner: other.signalId ?? (joined.has(other.chainIndex) ? window.signalId : null) }))
      .filter(({ owner }) => owner !== null);
    const index = Number(event.chainIndex);
    const before = sharing.filter(({ other }) => Number(other.chainIndex) < index).at(-1);
    return (before ?? sharing[0])?.owner ?? null;
  };
  for (let grew = true; grew;) {
    grew = false;
    for (const key of ['orderId', 'dealId'] as const) {
      const ids = new Set([...joined.values()].flatMap((event) => event[key] ?? []));
      const candidates = [...ids].flatMap((id) => shared[key].get(id) ?? []);
      for (const event of candidates) {
        if (event.signalId !== null || joined.has(event.chainIndex) || !isInWindow(event)) continue;
        const owner = ownerOf(event, 'orderId') ?? (key === 'dealId' ? ownerOf(event, 'dealId') : null);
        if (owner !== window.signalId) continue;
        joined.set(event.chainIndex, { ...event, joinedBy: key === 'orderId' ? 'ORDER_ID' : 'DEAL_ID' });
        grew = true;
      }
    }
  }
  return [...joined.values()].sort(byIndex);
}

function groupBy(events: readonly TraceEvent[], key: 'signalId' | 'orderId' | 'dealId'): Map<string, TraceEvent[]> {
  const groups = new Map<string, TraceEvent[]>();
  for (const event of [...events].sort(byIndex)) {
    const id = event[key];
    if (id === null) continue;
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [event]);
    else group.push(event);
  }
  return groups;
}

function byIndex(left: TraceEvent, right: TraceEvent): number {
  return Number(left.chainIndex) - Number(right.chainIndex);
}

export function addMs(time: string, milliseconds: number): string {
  return formatTimestamp((parseTimestamp(time) ?? 0n) + BigInt(milliseconds) * 1_000n);
}
