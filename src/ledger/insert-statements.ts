import { auditColumns, selectList, signalColumns, type AuditRow, type SignalRow } from './rows.js';
import type { NewAuditEntry, NewSignal } from './new-entries.js';

/** Columns a caller supplies, each with the array type its values are sent as; order is that of the parameters. */
const signalInputs: readonly (readonly [keyof NewSignal, string])[] = [
  ['signalId', 'text'],
  ['symbol', 'text'],
  ['action', 'text'],
  ['entryPrice', 'numeric'],
  ['targetPrice', 'numeric'],
  ['stopLoss', 'numeric'],
  ['confidence', 'numeric'],
  ['strategy', 'text'],
  ['rationale', 'text'],
  ['rationaleOrigin', 'text'],
  ['supersedes', 'text'],
  ['producer', 'text'],
  ['ipAddress', 'text'],
  ['sessionId', 'text'],
  ['requestId', 'text'],
  ['idempotencyKey', 'text'],
  ['inputHash', 'bytea'],
  ['generatedAt', 'timestamptz'],
];

const auditInputs: readonly (readonly [keyof NewAuditEntry, string])[] = [
  ['category', 'text'],
  ['event', 'text'],
  ['action', 'text'],
  ['actor', 'text'],
  ['role', 'text'],
  ['resource', 'text'],
  ['signalId', 'text'],
  ['outcome', 'text'],
  ['occurredAt', 'timestamptz'],
  ['ipAddress', 'text'],
  ['userAgent', 'text'],
  ['sessionId', 'text'],
  ['requestId', 'text'],
  ['idempotencyKey', 'text'],
  ['inputHash', 'bytea'],
  ['details', 'json'],
  ['oldData', 'json'],
  ['newData', 'json'],
];

const returningLink = 'RETURNING chain_index, chain_hash';
const selectLast =
  'SELECT chain_index AS "chainIndex", chain_hash AS "chainHash" FROM appended ORDER BY chain_index DESC LIMIT 1';

/** One prepared statement that inserts any number of rows: one array per column, rows in array order. */
export interface InsertStatement<Input> {
  readonly name: string;
  readonly text: string;
  values(rows: readonly Input[]): unknown[];
}

function insertStatement<Input, Row>(
  table: string,
  inputs: readonly (readonly [keyof Input & string, string])[],
  columns: Readonly<Record<keyof Row & string, string>>,
  returning: string | null,
): InsertStatement<Input> {
  const names = inputs.map(([property]) => columns[property as unknown as keyof Row & string]);
  const arrays = inputs.map(([, type], place) => `$${place + 1}::${type}[]`);
  const hexInputs = new Set(inputs.filter(([, type]) => type === 'bytea').map(([property]) => property));
  const insert = `INSERT INTO public.${table} (${names.join(', ')}) SELECT * FROM unnest(${arrays.join(', ')})`;
  return {
    name: `append_${table}_${returning === null ? 'quietly' : 'returning'}`,
    text: returning === null ? `WITH appended AS (${insert} ${returningLink}) ${selectLast}` : `${insert} ${returning}`,
    values: (rows) =>
      inputs.map(([property]) =>
        rows.map((row) => {
          const value = row[property];
          return hexInputs.has(property) && typeof value === 'string' ? `\\x${value}` : value;
        }),
      ),
  };
}

export const insertSignals = insertStatement<NewSignal, SignalRow>(
  'signals',
  signalInputs,
  signalColumns,
  `RETURNING ${selectList<SignalRow>(signalColumns)}`,
);

export const insertAuditEntries = insertStatement<NewAuditEntry, AuditRow>(
  'audit_entries',
  auditInputs,
  auditColumns,
  `RETURNING ${selectList<AuditRow>(auditColumns)}`,
);

/** For entries nobody reads back, as those of calls: sends only the last row's index and chain hash over the wire. */
export const insertAuditEntriesQuietly = insertStatement<NewAuditEntry, AuditRow>(
  'audit_entries',
  auditInputs,
  auditColumns,
  null,
);
