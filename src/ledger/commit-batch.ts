import type pg from 'pg';
import { DaybookError } from '../errors.js';
import {
  insertAuditEntries,
  insertAuditEntriesQuietly,
  insertSignals,
  type InsertStatement,
} from './insert-statements.js';
import type { NewAuditEntry, NewSignal } from './new-entries.js';
import { auditColumns, logs, selectList, signalColumns, type AuditRow, type LogName, type SignalRow } from './rows.js';

/** What one caller wants appended, all or nothing. */
export interface AppendRequest {
  readonly signals?: readonly NewSignal[];
  /** Entries whose rows the caller wants back. */
  readonly entries?: readonly NewAuditEntry[];
  /** Entries about the call itself, which nobody reads back. */
  readonly callEntries?: readonly NewAuditEntry[];
  /** A domain row's own write, which commits together with the entries about it. */
  readonly alongside?: (client: pg.Client) => Promise<void>;
}

/** Rows in the order of the request. `replayed` counts those that an earlier call with the same key had recorded. */
export interface AppendResult {
  readonly signals: readonly SignalRow[];
  readonly entries: readonly AuditRow[];
  readonly replayedSignals: number;
  readonly replayedEntries: number;
}

/** A request whose result is still to come; `result` is an error where the keys conflict. */
type Outcome = AppendResult | DaybookError;

interface Keyed {
  readonly idempotencyKey: string | null;
  readonly inputHash: string | null;
}

/** The last entry a transaction appended: its chain hash is in the log exactly when the transaction committed. */
export interface CommitMark {
  readonly log: LogName;
  readonly chainIndex: string;
  readonly chainHash: string;
}

/**
 * Appends all requests in one transaction and returns an outcome for each, in order. `onCommitting` is called with the
 * transaction's mark when COMMIT is about to be sent: from then on a broken connection leaves the outcome unknown. The
 * mark is null where nothing was appended.
 *
 * A crash before COMMIT leaves nothing. After it, all rows of all requests are durable.
 */
export async function commitBatch(
  client: pg.Client,
  requests: readonly AppendRequest[],
  onCommitting: (mark: CommitMark | null, outcomes: readonly Outcome[]) => void,
): Promise<readonly Outcome[]> {
  await client.query(needsLockFirst(requests) ? 'BEGIN; SELECT daybook.lock_ledger()' : 'BEGIN');

  const signals = await planRows(requests, (request) => request.signals ?? [], {
    ownerOf: (signal) => signal.producer,
    find: (owners, keys) => findSignals(client, owners, keys),
  });
  const entries = await planRows(requests, (request) => request.entries ?? [], {
    ownerOf: (entry) => entry.actor ?? '',
    find: (owners, keys) => findAuditEntries(client, owners, keys),
  });
  const refused = (place: number) => signals.conflicts.get(place) ?? entries.conflicts.get(place);
  const accepted = (place: number) => refused(place) === undefined;

  const signalRows = await insert<NewSignal, SignalRow>(client, insertSignals, signals.toInsert(accepted));
  signals.recorded(signalRows);
  const entryRows = await insert<NewAuditEntry, AuditRow>(client, insertAuditEntries, entries.toInsert(accepted));
  entries.recorded(entryRows);
  const callEntries = requests.flatMap((request, place) => (accepted(place) ? (request.callEntries ?? []) : []));
  const [lastCall] = await insert<NewAuditEntry, Link>(client, insertAuditEntriesQuietly, callEntries);

  for (const [place, request] of requests.entries()) if (accepted(place)) await request.alongside?.(client);

  const outcomes = requests.map((_, place): Outcome => {
    const signalsOf = signals.rowsOf(place);
    const entriesOf = entries.rowsOf(place);
    return (
      refused(place) ?? {
        signals: signalsOf.rows,
        entries: entriesOf.rows,
        replayedSignals: signalsOf.replayed,
        replayedEntries: entriesOf.replayed,
      }
    );
  });
  onCommitting(markOf('audit', lastCall ?? entryRows.at(-1)) ?? markOf('signals', signalRows.at(-1)), outcomes);
  await client.query('COMMIT');
  return outcomes;
}

/**
 * False where nothing but inserts is to come, which take the lock themselves. Keys looked up before the lock is held could be
 * used by another writer in between.
 */
function needsLockFirst(requests: readonly AppendRequest[]): boolean {
  const isKeyed = (row: Keyed) => row.idempotencyKey !== null;
  const inserts = (request: AppendRequest) =>
    [request.signals, request.entries, request.callEntries].some((rows) => rows !== undefined && rows.length > 0);
  return (
    requests.some((request) => request.signals?.some(isKeyed) === true || request.entries?.some(isKeyed) === true) ||
    !requests.some(inserts)
  );
}

type Link = Pick<CommitMark, 'chainIndex' | 'chainHash'>;

function markOf(log: LogName, link: Link | undefined): CommitMark | null {
  return link === undefined ? null : { log, chainIndex: link.chainIndex, chainHash: link.chainHash };
}

/**
 * Whether the transaction with this mark committed. Takes the ledger lock first, which the transaction's own session holds
 * until its end; asking for the transaction's id instead would lie after a crash, when PostgreSQL may hand ids out again.
 */
export async function wasCommitted(client: pg.Client, mark: CommitMark): Promise<boolean> {
  await client.query('BEGIN; SELECT daybook.lock_ledger()');
  const found = await client.query(
    `SELECT FROM public.${logs[mark.log].table} WHERE chain_index = $1 AND chain_hash = decode($2, 'hex')`,
    [mark.chainIndex, mark.chainHash],
  );
  await client.query('COMMIT');
  return found.rowCount === 1;
}

async function insert<Input, Row>(
  client: pg.Client,
  statement: InsertStatement<Input>,
  rows: readonly Input[],
): Promise<Row[]> {
  if (rows.length === 0) return [];
  const result = await client.query({ name: statement.name, text: statement.text, values: statement.values(rows) });
  return result.rows as Row[];
}

/** Which rows of a kind are new, which repeat an earlier one, and which requests contradict an earlier one. */
interface RowPlan<Input, Row> {
  readonly conflicts: ReadonlyMap<number, DaybookError>;
  toInsert(accepted: (requestPlace: number) => boolean): Input[];
  recorded(rows: readonly Row[]): void;
  rowsOf(requestPlace: number): { rows: Row[]; replayed: number };
}

/** One row of one request; `row` is set where this request recorded it. */
interface Slot<Input, Row> {
  readonly input: Input;
  readonly key: string | null;
  row: Row | undefined;
}

async function planRows<Input extends Keyed, Row extends Keyed>(
  requests: readonly AppendRequest[],
  rowsIn: (request: AppendRequest) => readonly Input[],
  keys: {
    ownerOf: (row: Input) => string;
    find: (owners: string[], keys: string[]) => Promise<ReadonlyMap<string, Row>>;
  },
): Promise<RowPlan<Input, Row>> {
  const keyOf = (row: Input) =>
    row.idempotencyKey === null ? null : idempotencyName(keys.ownerOf(row), row.idempotencyKey);
  const keyed = requests.flatMap(rowsIn).filter((row) => row.idempotencyKey !== null);
  const earlier =
    keyed.length === 0
      ? new Map<string, Row>()
      : await keys.find(
          keyed.map(keys.ownerOf),
          keyed.map((row) => row.idempotencyKey ?? ''),
        );

  const conflicts = new Map<number, DaybookError>();
  const firstUse = new Map<string, string | null>();
  requests.forEach((request, place) => {
    const ownUse = new Map<string, string | null>();
    for (const row of rowsIn(request)) {
      const key = keyOf(row);
      if (key === null) continue;
      const hash = earlier.get(key)?.inputHash ?? firstUse.get(key) ?? ownUse.get(key);
      if (hash !== undefined && hash !== row.inputHash) conflicts.set(place, conflict(row.idempotencyKey));
      ownUse.set(key, row.inputHash);
    }
    if (!conflicts.has(place)) for (const [key, hash] of ownUse) if (!firstUse.has(key)) firstUse.set(key, hash);
  });

  // By place, not by input: callers may hand in one object twice.
  const slots = requests.map((request) =>
    rowsIn(request).map((input): Slot<Input, Row> => ({ input, key: keyOf(input), row: undefined })),
  );
  const rowByKey = new Map<string, Row>(earlier);
  const fresh: Slot<Input, Row>[] = [];
  const freshKeys = new Set<string>();
  return {
    conflicts,
    toInsert(accepted) {
      for (const slot of slots.flatMap((ofRequest, place) => (accepted(place) ? ofRequest : []))) {
        if (slot.key !== null && (earlier.has(slot.key) || freshKeys.has(slot.key))) continue;
        if (slot.key !== null) freshKeys.add(slot.key);
        fresh.push(slot);
      }
      return fresh.map(({ input }) => input);
    },
    recorded(rows) {
      fresh.forEach((slot, place) => {
        slot.row = rows[place];
        if (slot.key !== null && slot.row !== undefined) rowByKey.set(slot.key, slot.row);
      });
    },
    rowsOf(place) {
      const ofRequest = slots[place] ?? [];
      return {
        rows: ofRequest
          .map(({ key, row }) => row ?? (key === null ? undefined : rowByKey.get(key)))
          .filter((row) => row !== undefined),
        replayed: ofRequest.filter(({ row }) => row === undefined).length,
      };
    },
  };
}

function idempotencyName(owner: string, key: string): string {
  return `${owner}\u0000${key}`;
}

function conflict(key: string | null): DaybookError {
  return new DaybookError(
    'IDEMPOTENCY_CONFLICT',
    `idempotencyKey "${key ?? ''}" was used before with different input: send the same input to retry, or a new key`,
  );
}

async function findSignals(client: pg.Client, owners: string[], keys: string[]): Promise<Map<string, SignalRow>> {
  const found = await client.query<SignalRow>({
    name: 'find_signals_by_key',
    text: `SELECT ${selectList<SignalRow>(signalColumns)} FROM public.signals
           WHERE (producer, idempotency_key) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
    values: [owners, keys],
  });
  return new Map(found.rows.map((row) => [idempotencyName(row.producer, row.idempotencyKey ?? ''), row]));
}

async function findAuditEntries(client: pg.Client, owners: string[], keys: string[]): Promise<Map<string, AuditRow>> {
  const found = await client.query<AuditRow>({
    name: 'find_audit_entries_by_key',
    text: `SELECT ${selectList<AuditRow>(auditColumns)} FROM public.audit_entries
           WHERE (actor, idempotency_key) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
    values: [owners, keys],
  });
  return new Map(found.rows.map((row) => [idempotencyName(row.actor ?? '', row.idempotencyKey ?? ''), row]));
}
