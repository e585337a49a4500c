import type pg from 'pg';
import { DaybookError } from '../errors.js';
import {
  insertAuditEntries,
  insertAuditEntriesQuietly,
  insertSignals,
  type InsertStatement,
} from './insert-statements.js';
import type { NewAuditEntry, NewSignal } from './new-entries.js';
import { auditColumns, selectList, signalColumns, type AuditRow, type SignalRow } from './rows.js';

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

/**
 * Appends all requests in one transaction and returns an outcome for each, in order. `onCommitting` is called with the
 * transaction's id when COMMIT is about to be sent: from then on a broken connection leaves the outcome unknown.
 *
 * A crash before COMMIT leaves nothing. After it, all rows of all requests are durable.
 */
export async function commitBatch(
  client: pg.Client,
  requests: readonly AppendRequest[],
  onCommitting: (xid: string, outcomes: readonly Outcome[]) => void,
): Promise<readonly Outcome[]> {
  // The lock comes first: keys looked up before it could be taken by another writer in between.
  const begun = (await client.query(
    'BEGIN; SELECT pg_current_xact_id()::text AS xid, daybook.lock_ledger()',
  )) as unknown as pg.QueryResult<{ xid: string }>[];
  const xid = begun[1]?.rows[0]?.xid ?? '';

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

  signals.recorded(await insert(client, insertSignals, signals.toInsert(accepted)));
  entries.recorded(await insert(client, insertAuditEntries, entries.toInsert(accepted)));
  const callEntries = requests.flatMap((request, place) => (accepted(place) ? (request.callEntries ?? []) : []));
  await insert(client, insertAuditEntriesQuietly, callEntries);

  for (const [place, request] of requests.entries()) if (accepted(place)) await request.alongside?.(client);

  const outcomes = requests.map((_, place): Outcome => {
    const signalRows = signals.rowsOf(place);
    const entryRows = entries.rowsOf(place);
    return (
      refused(place) ?? {
        signals: signalRows.rows,
        entries: entryRows.rows,
        replayedSignals: signalRows.replayed,
        replayedEntries: entryRows.replayed,
      }
    );
  });
  onCommitting(xid, outcomes);
  await client.query('COMMIT');
  return outcomes;
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

  const rowByInput = new Map<Input, Row>();
  const rowByKey = new Map<string, Row>(earlier);
  const freshInputs: Input[] = [];
  const freshKeys = new Set<string>();
  return {
    conflicts,
    toInsert(accepted) {
      for (const input of requests.flatMap((request, place) => (accepted(place) ? rowsIn(request) : []))) {
        const key = keyOf(input);
        if (key !== null && (earlier.has(key) || freshKeys.has(key))) continue;
        if (key !== null) freshKeys.add(key);
        freshInputs.push(input);
      }
      return freshInputs;
    },
    recorded(rows) {
      freshInputs.forEach((input, place) => {
        const row = rows[place];
        const key = keyOf(input);
        if (row === undefined) return;
        rowByInput.set(input, row);
        if (key !== null) rowByKey.set(key, row);
      });
    },
    rowsOf(place) {
      const rows: Row[] = [];
      let replayed = 0;
      for (const input of rowsIn(requests[place] ?? {})) {
        const key = keyOf(input);
        const row = rowByInput.get(input) ?? (key === null ? undefined : rowByKey.get(key));
        if (!rowByInput.has(input)) replayed += 1;
        if (row !== undefined) rows.push(row);
      }
      return { rows, replayed };
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
