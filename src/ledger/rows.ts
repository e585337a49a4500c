import type { AuditContent, SignalContent } from '../core/entry-body.js';

/** The two logs: their public names, tables and recording-time columns. */
export const logs = {
  signals: { table: 'signals', recordedColumn: 'server_timestamp' },
  audit: { table: 'audit_entries', recordedColumn: 'recorded_at' },
} as const;

export type LogName = keyof typeof logs;

export const logNames: readonly LogName[] = ['signals', 'audit'];

/** Ledger columns that every row of either log carries; indexes are decimal text, hashes lower-case hex. */
interface LedgerColumns {
  readonly chainIndex: string;
  readonly body: string;
  readonly verificationHash: string;
  readonly previousHash: string;
  readonly chainHash: string;
}

/** A recorded signal as the reader delivers it: every value is text exactly as stored. */
export interface SignalRow extends SignalContent, LedgerColumns {
  readonly generationLatencyMs: string;
  readonly retentionExpiresAt: string;
}

/** A recorded audit entry as the reader delivers it; `details`, `oldData`, `newData` are JSON text. */
export interface AuditRow extends AuditContent, LedgerColumns {}

/** Property of a row → column of the table. The order is that of the table. */
export const signalColumns: Readonly<Record<keyof SignalRow, string>> = {
  chainIndex: 'chain_index',
  signalId: 'signal_id',
  symbol: 'symbol',
  action: 'action',
  entryPrice: 'entry_price',
  targetPrice: 'target_price',
  stopLoss: 'stop_loss',
  confidence: 'confidence',
  strategy: 'strategy',
  rationale: 'rationale',
  rationaleOrigin: 'rationale_origin',
  supersedes: 'supersedes',
  producer: 'producer',
  ipAddress: 'ip_address',
  sessionId: 'session_id',
  requestId: 'request_id',
  idempotencyKey: 'idempotency_key',
  inputHash: 'input_hash',
  generatedAt: 'generated_at',
  serverTimestamp: 'server_timestamp',
  generationLatencyMs: 'generation_latency_ms',
  retentionExpiresAt: 'retention_expires_at',
  body: 'body',
  verificationHash: 'verification_hash',
  previousHash: 'previous_hash',
  chainHash: 'chain_hash',
};

export const auditColumns: Readonly<Record<keyof AuditRow, string>> = {
  chainIndex: 'chain_index',
  id: 'id',
  category: 'category',
  event: 'event',
  action: 'action',
  actor: 'actor',
  role: 'role',
  resource: 'resource',
  signalId: 'signal_id',
  outcome: 'outcome',
  occurredAt: 'occurred_at',
  recordedAt: 'recorded_at',
  ipAddress: 'ip_address',
  userAgent: 'user_agent',
  sessionId: 'session_id',
  requestId: 'request_id',
  idempotencyKey: 'idempotency_key',
  inputHash: 'input_hash',
  details: 'details',
  oldData: 'old_data',
  newData: 'new_data',
  body: 'body',
  verificationHash: 'verification_hash',
  previousHash: 'previous_hash',
  chainHash: 'chain_hash',
};

/** The select list that turns columns into row properties: `chain_index AS "chainIndex", …`. */
export function selectList<Row>(
  columns: Readonly<Record<keyof Row & string, string>>,
  wanted?: Iterable<string>,
): string {
  const names = wanted === undefined ? Object.keys(columns) : [...wanted].filter((name) => name in columns);
  return names.map((name) => `${columns[name as keyof Row & string]} AS "${name}"`).join(', ');
}
