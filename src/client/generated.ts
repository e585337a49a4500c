/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
import type { DocumentTypeDecoration } from '@graphql-typed-document-node/core';
/** Somebody was alerted. */
export type AlertSentInput = {
  /** As in PRICE, RISK, SYSTEM. */
  alertType: string;
  /** As in email, pager. */
  channel?: string | null | undefined;
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  message: string;
  /** When it happened; else the recording time. */
  occurredAt?: string | null | undefined;
  orderId?: string | null | undefined;
  severity: AlertSeverity;
  signalId?: string | number | null | undefined;
  symbol?: string | null | undefined;
};

export type AlertSeverity =
  | 'CRITICAL'
  | 'ERROR'
  | 'INFO'
  | 'WARNING';

/** What the actor did. */
export type AuditAction =
  | 'CREATE'
  | 'DELETE'
  | 'EXECUTE'
  | 'LOGIN'
  | 'LOGOUT'
  | 'READ'
  | 'UPDATE';

/** Comparisons on the action; all that are given must hold. */
export type AuditActionFilter = {
  eq?: AuditAction | null | undefined;
  in?: Array<AuditAction> | null | undefined;
  isNull?: boolean | null | undefined;
  /** Also true where there is none. */
  ne?: AuditAction | null | undefined;
  /** Also true where there is none. */
  notIn?: Array<AuditAction> | null | undefined;
};

/** What an audit entry is about. */
export type AuditCategory =
  | 'ADMIN'
  | 'ALERT'
  | 'API'
  | 'AUTH'
  | 'BACKUP'
  | 'CONFIG'
  | 'FILL'
  | 'INTEGRITY'
  | 'ORDER'
  | 'SECRET'
  | 'SIGNAL';

/** Comparisons on the category; all that are given must hold. */
export type AuditCategoryFilter = {
  eq?: AuditCategory | null | undefined;
  in?: Array<AuditCategory> | null | undefined;
  ne?: AuditCategory | null | undefined;
  notIn?: Array<AuditCategory> | null | undefined;
};

/** Conditions on audit entries; all that are given must hold. Up to 100 comparisons, 8 levels deep. */
export type AuditEntryFilter = {
  action?: AuditActionFilter | null | undefined;
  actor?: StringFilter | null | undefined;
  and?: Array<AuditEntryFilter> | null | undefined;
  category?: AuditCategoryFilter | null | undefined;
  chainIndex?: BigIntFilter | null | undefined;
  event?: StringFilter | null | undefined;
  id?: StringFilter | null | undefined;
  ipAddress?: StringFilter | null | undefined;
  not?: AuditEntryFilter | null | undefined;
  /** When it happened, by whoever reported it. */
  occurredAt?: DateTimeFilter | null | undefined;
  or?: Array<AuditEntryFilter> | null | undefined;
  /** OK or an error code. */
  outcome?: StringFilter | null | undefined;
  /** When PostgreSQL recorded it; rises along the log. */
  recordedAt?: DateTimeFilter | null | undefined;
  requestId?: StringFilter | null | undefined;
  resource?: StringFilter | null | undefined;
  role?: StringFilter | null | undefined;
  sessionId?: StringFilter | null | undefined;
  signalId?: StringFilter | null | undefined;
  /** Search in the details. */
  text?: JsonSearchFilter | null | undefined;
};

/** Order of a list of audit entries. The index is the order of recording. */
export type AuditEntryOrder =
  | 'NEWEST_FIRST'
  | 'OLDEST_FIRST';

/** Comparisons on 64-bit integers; all that are given must hold. */
export type BigIntFilter = {
  eq?: string | null | undefined;
  gt?: string | null | undefined;
  gte?: string | null | undefined;
  in?: Array<string> | null | undefined;
  lt?: string | null | undefined;
  lte?: string | null | undefined;
  ne?: string | null | undefined;
  notIn?: Array<string> | null | undefined;
};

/** A trading program started. */
export type BotStartedInput = {
  bot: string;
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  message?: string | null | undefined;
  /** When it happened; else the recording time. */
  occurredAt?: string | null | undefined;
  user?: string | null | undefined;
  version?: string | null | undefined;
};

/** A trading program stopped. */
export type BotStoppedInput = {
  bot: string;
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  /** Why. */
  message?: string | null | undefined;
  /** When it happened; else the recording time. */
  occurredAt?: string | null | undefined;
  user?: string | null | undefined;
};

/** A configuration was changed. Values under secret names are stored as keyed HMACs. */
export type ConfigChangedInput = {
  approvedAt?: string | null | undefined;
  approvedBy?: string | null | undefined;
  /** Which configuration, as in risk-limits. */
  configType: string;
  filePath?: string | null | undefined;
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  message?: string | null | undefined;
  /** Recorded as its mark where the configuration names secrets. */
  newValue?: string | null | undefined;
  /** When it happened; else the recording time. */
  occurredAt?: string | null | undefined;
  /** Recorded as its mark where the configuration names secrets. */
  oldValue?: string | null | undefined;
  /** The change request. */
  ticket?: string | null | undefined;
  user?: string | null | undefined;
};

export type CreateApiKeyInput = {
  /** From then on the key is refused. */
  expiresAt?: string | null | undefined;
  /** The actor in the audit log: 1 to 200 characters, unique among valid keys. */
  name: string;
  role: Role;
};

/** A signal to record. What is recorded stays: a correction is a new signal that supersedes it. */
export type CreateSignalInput = {
  action: SignalAction;
  /** From 0 to 1. */
  confidence: string;
  /** Above 0. */
  entryPrice: string;
  /** When the producer decided; else the recording time. */
  generatedAt?: string | null | undefined;
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  /** At least 20 characters; without one, the numbers are worded by a template. */
  rationale?: string | null | undefined;
  /** Your own public id: letters, digits, . _ : - up to 128; else one is made. */
  signalId?: string | number | null | undefined;
  /** Above 0. */
  stopLoss?: string | null | undefined;
  /** Up to 200 characters. */
  strategy?: string | null | undefined;
  /** Id of the signal that this one corrects. */
  supersedes?: string | number | null | undefined;
  /** Letters, digits and . _ : / = ^ - up to 64. */
  symbol: string;
  /** Above 0. */
  targetPrice?: string | null | undefined;
};

export type CreateSignalsInput = {
  /** Up to 1,000, all or nothing. */
  signals: Array<CreateSignalInput>;
};

/** Comparisons on moments; all that are given must hold. */
export type DateTimeFilter = {
  eq?: string | null | undefined;
  gt?: string | null | undefined;
  gte?: string | null | undefined;
  lt?: string | null | undefined;
  lte?: string | null | undefined;
  ne?: string | null | undefined;
};

/** Exactly one event. */
export type EventInput =
  {   alertSent: AlertSentInput; botStarted?: never; botStopped?: never; configChanged?: never; filled?: never; login?: never; logout?: never; orderAccepted?: never; partiallyFilled?: never; paymentRecorded?: never; rejected?: never; stopUpdated?: never; }
  |  { alertSent?: never;   botStarted: BotStartedInput; botStopped?: never; configChanged?: never; filled?: never; login?: never; logout?: never; orderAccepted?: never; partiallyFilled?: never; paymentRecorded?: never; rejected?: never; stopUpdated?: never; }
  |  { alertSent?: never; botStarted?: never;   botStopped: BotStoppedInput; configChanged?: never; filled?: never; login?: never; logout?: never; orderAccepted?: never; partiallyFilled?: never; paymentRecorded?: never; rejected?: never; stopUpdated?: never; }
  |  { alertSent?: never; botStarted?: never; botStopped?: never;   configChanged: ConfigChangedInput; filled?: never; login?: never; logout?: never; orderAccepted?: never; partiallyFilled?: never; paymentRecorded?: never; rejected?: never; stopUpdated?: never; }
  |  { alertSent?: never; botStarted?: never; botStopped?: never; configChanged?: never;   filled: FilledInput; login?: never; logout?: never; orderAccepted?: never; partiallyFilled?: never; paymentRecorded?: never; rejected?: never; stopUpdated?: never; }
  |  { alertSent?: never; botStarted?: never; botStopped?: never; configChanged?: never; filled?: never;   login: LoginInput; logout?: never; orderAccepted?: never; partiallyFilled?: never; paymentRecorded?: never; rejected?: never; stopUpdated?: never; }
  |  { alertSent?: never; botStarted?: never; botStopped?: never; configChanged?: never; filled?: never; login?: never;   logout: LogoutInput; orderAccepted?: never; partiallyFilled?: never; paymentRecorded?: never; rejected?: never; stopUpdated?: never; }
  |  { alertSent?: never; botStarted?: never; botStopped?: never; configChanged?: never; filled?: never; login?: never; logout?: never;   orderAccepted: OrderAcceptedInput; partiallyFilled?: never; paymentRecorded?: never; rejected?: never; stopUpdated?: never; }
  |  { alertSent?: never; botStarted?: never; botStopped?: never; configChanged?: never; filled?: never; login?: never; logout?: never; orderAccepted?: never;   partiallyFilled: PartiallyFilledInput; paymentRecorded?: never; rejected?: never; stopUpdated?: never; }
  |  { alertSent?: never; botStarted?: never; botStopped?: never; configChanged?: never; filled?: never; login?: never; logout?: never; orderAccepted?: never; partiallyFilled?: never;   paymentRecorded: PaymentRecordedInput; rejected?: never; stopUpdated?: never; }
  |  { alertSent?: never; botStarted?: never; botStopped?: never; configChanged?: never; filled?: never; login?: never; logout?: never; orderAccepted?: never; partiallyFilled?: never; paymentRecorded?: never;   rejected: RejectedInput; stopUpdated?: never; }
  |  { alertSent?: never; botStarted?: never; botStopped?: never; configChanged?: never; filled?: never; login?: never; logout?: never; orderAccepted?: never; partiallyFilled?: never; paymentRecorded?: never; rejected?: never;   stopUpdated: StopUpdatedInput; };

/** An order was filled to its end. */
export type FilledInput = {
  /** The broker's id of the deal. */
  dealId?: string | null | undefined;
  fee?: string | null | undefined;
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  /** When it happened; else the recording time. */
  occurredAt?: string | null | undefined;
  orderId: string;
  /** Above 0. */
  price: string;
  /** Above 0. */
  quantity: string;
  side: OrderSide;
  /** The signal that led to it. */
  signalId?: string | number | null | undefined;
  symbol: string;
};

/** Search in a JSON object; all that is given must hold. */
export type JsonSearchFilter = {
  /** Text that occurs in a name or a value, as JSON writes it. The letters A to Z match in either case. */
  contains?: string | null | undefined;
};

/** A person logged in to one of the systems around the ledger, or failed to. */
export type LoginInput = {
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  message?: string | null | undefined;
  /** When it happened; else the recording time. */
  occurredAt?: string | null | undefined;
  /** Address the person came from. */
  sourceIp?: string | null | undefined;
  succeeded?: boolean;
  user: string;
};

/** A person logged out. */
export type LogoutInput = {
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  /** When it happened; else the recording time. */
  occurredAt?: string | null | undefined;
  sourceIp?: string | null | undefined;
  user: string;
};

/** The broker accepted an order. */
export type OrderAcceptedInput = {
  /** The broker's id of the deal. */
  dealId?: string | null | undefined;
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  /** When it happened; else the recording time. */
  occurredAt?: string | null | undefined;
  orderId: string;
  /** As in MARKET, LIMIT, STOP. */
  orderType?: string | null | undefined;
  /** Above 0; absent for a market order. */
  price?: string | null | undefined;
  /** Above 0. */
  quantity: string;
  side: OrderSide;
  /** The signal that led to it. */
  signalId?: string | number | null | undefined;
  stopLoss?: string | null | undefined;
  symbol: string;
  targetPrice?: string | null | undefined;
};

export type OrderSide =
  | 'BUY'
  | 'SELL';

/** A part of an order was filled; quantity is that part. */
export type PartiallyFilledInput = {
  /** The broker's id of the deal. */
  dealId?: string | null | undefined;
  fee?: string | null | undefined;
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  /** When it happened; else the recording time. */
  occurredAt?: string | null | undefined;
  orderId: string;
  /** Above 0. */
  price: string;
  /** Above 0. */
  quantity: string;
  /** 0 or above. */
  remainingQuantity?: string | null | undefined;
  side: OrderSide;
  /** The signal that led to it. */
  signalId?: string | number | null | undefined;
  symbol: string;
};

/** Money came in or went out. */
export type PaymentRecordedInput = {
  /** Negative for money that went out. */
  amount: string;
  /** ISO 4217 code or a ticker of 3 to 10 letters and digits. */
  currency: string;
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  message?: string | null | undefined;
  /** When it happened; else the recording time. */
  occurredAt?: string | null | undefined;
  paymentId: string;
  ticket?: string | null | undefined;
  user?: string | null | undefined;
};

/** Who worded the rationale. */
export type RationaleOrigin =
  /** The producer. */
  | 'CALLER'
  /** A language model, every number of it checked against the signal. */
  | 'MODEL'
  /** A fixed wording of the signal's own numbers. */
  | 'TEMPLATE';

export type RecordEventsInput = {
  /** Up to 1,000, all or nothing. */
  events: Array<EventInput>;
};

/** The broker, or a check before it, rejected an order. */
export type RejectedInput = {
  /** The broker's id of the deal. */
  dealId?: string | null | undefined;
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  /** Why. */
  message: string;
  /** When it happened; else the recording time. */
  occurredAt?: string | null | undefined;
  orderId?: string | null | undefined;
  price?: string | null | undefined;
  /** Above 0. */
  quantity: string;
  side: OrderSide;
  /** The signal that led to it. */
  signalId?: string | number | null | undefined;
  symbol: string;
};

export type RevokeApiKeyInput = {
  id: string | number;
};

/** What an API key may do. */
export type Role =
  /** Everything, including API keys. */
  | 'ADMIN'
  /** Reads signals. */
  | 'ANALYST'
  /** Reads and follows both logs, and lists API keys. */
  | 'AUDITOR'
  /** Reads and follows both logs. */
  | 'MONITOR'
  /** Records signals and events, and reads signals. */
  | 'PRODUCER';

/** What the signal advises. */
export type SignalAction =
  | 'BUY'
  | 'HOLD'
  | 'SELL';

/** Comparisons on the action; all that are given must hold. */
export type SignalActionFilter = {
  eq?: SignalAction | null | undefined;
  in?: Array<SignalAction> | null | undefined;
  ne?: SignalAction | null | undefined;
  notIn?: Array<SignalAction> | null | undefined;
};

/** Conditions on signals; all that are given must hold. Up to 100 comparisons, 8 levels deep. */
export type SignalFilter = {
  action?: SignalActionFilter | null | undefined;
  and?: Array<SignalFilter> | null | undefined;
  chainIndex?: BigIntFilter | null | undefined;
  id?: StringFilter | null | undefined;
  not?: SignalFilter | null | undefined;
  or?: Array<SignalFilter> | null | undefined;
  producer?: StringFilter | null | undefined;
  serverTimestamp?: DateTimeFilter | null | undefined;
  strategy?: StringFilter | null | undefined;
  /** Id of the corrected signal. */
  supersedes?: StringFilter | null | undefined;
  symbol?: StringFilter | null | undefined;
};

/** Order of a list of signals. The index is the order of recording. */
export type SignalOrder =
  | 'CHAIN_INDEX_ASC'
  | 'CHAIN_INDEX_DESC';

/** The stop of an open position was moved. */
export type StopUpdatedInput = {
  dealId?: string | null | undefined;
  /** Up to 200 characters: a retry with the same key returns the first result. */
  idempotencyKey?: string | null | undefined;
  /** The stop from now on; above 0. */
  newValue: string;
  /** When it happened; else the recording time. */
  occurredAt?: string | null | undefined;
  /** The stop before. */
  oldValue?: string | null | undefined;
  orderId?: string | null | undefined;
  signalId?: string | number | null | undefined;
  symbol: string;
};

/** Comparisons on text; all that are given must hold. */
export type StringFilter = {
  eq?: string | null | undefined;
  in?: Array<string> | null | undefined;
  isNull?: boolean | null | undefined;
  /** Also true where the value is absent. */
  ne?: string | null | undefined;
  /** Also true where the value is absent. */
  notIn?: Array<string> | null | undefined;
  startsWith?: string | null | undefined;
};

export type SignalFieldsFragment = { id: string, symbol: string, action: SignalAction, entryPrice: string, targetPrice: string | null, stopLoss: string | null, confidence: string, strategy: string | null, rationale: string, rationaleOrigin: RationaleOrigin, producer: string, generatedAt: string, serverTimestamp: string, retentionExpiresAt: string, chainIndex: string, verificationHash: string, previousHash: string, chainHash: string };

export type AuditEntryFieldsFragment = { id: string, chainIndex: string, category: AuditCategory, event: string, action: AuditAction | null, actor: string | null, role: string | null, resource: string | null, signalId: string | null, outcome: string, occurredAt: string, recordedAt: string, requestId: string | null, details: Record<string, unknown>, verificationHash: string, previousHash: string, chainHash: string };

export type ViewerQueryVariables = Exact<{ [key: string]: never; }>;


export type ViewerQuery = { viewer: { keyId: string, name: string, role: Role, expiresAt: string | null } };

export type SignalQueryVariables = Exact<{
  id: string | number;
}>;


export type SignalQuery = { signal: { body: string, id: string, symbol: string, action: SignalAction, entryPrice: string, targetPrice: string | null, stopLoss: string | null, confidence: string, strategy: string | null, rationale: string, rationaleOrigin: RationaleOrigin, producer: string, generatedAt: string, serverTimestamp: string, retentionExpiresAt: string, chainIndex: string, verificationHash: string, previousHash: string, chainHash: string } | null };

export type SignalsQueryVariables = Exact<{
  filter?: SignalFilter | null | undefined;
  orderBy?: SignalOrder | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
  last?: number | null | undefined;
  before?: string | null | undefined;
}>;


export type SignalsQuery = { signals: { nodes: Array<{ id: string, symbol: string, action: SignalAction, entryPrice: string, targetPrice: string | null, stopLoss: string | null, confidence: string, strategy: string | null, rationale: string, rationaleOrigin: RationaleOrigin, producer: string, generatedAt: string, serverTimestamp: string, retentionExpiresAt: string, chainIndex: string, verificationHash: string, previousHash: string, chainHash: string }>, pageInfo: { hasNextPage: boolean, hasPreviousPage: boolean, startCursor: string | null, endCursor: string | null } } };

export type AuditEntryQueryVariables = Exact<{
  id?: string | number | null | undefined;
  chainIndex?: string | null | undefined;
}>;


export type AuditEntryQuery = { auditEntry: { oldData: Record<string, unknown> | null, newData: Record<string, unknown> | null, body: string, id: string, chainIndex: string, category: AuditCategory, event: string, action: AuditAction | null, actor: string | null, role: string | null, resource: string | null, signalId: string | null, outcome: string, occurredAt: string, recordedAt: string, requestId: string | null, details: Record<string, unknown>, verificationHash: string, previousHash: string, chainHash: string } | null };

export type AuditEntriesQueryVariables = Exact<{
  filter?: AuditEntryFilter | null | undefined;
  orderBy?: AuditEntryOrder | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
  last?: number | null | undefined;
  before?: string | null | undefined;
}>;


export type AuditEntriesQuery = { auditEntries: { nodes: Array<{ id: string, chainIndex: string, category: AuditCategory, event: string, action: AuditAction | null, actor: string | null, role: string | null, resource: string | null, signalId: string | null, outcome: string, occurredAt: string, recordedAt: string, requestId: string | null, details: Record<string, unknown>, verificationHash: string, previousHash: string, chainHash: string }>, pageInfo: { hasNextPage: boolean, hasPreviousPage: boolean, startCursor: string | null, endCursor: string | null } } };

export type AuditStatsQueryVariables = Exact<{
  filter?: AuditEntryFilter | null | undefined;
}>;


export type AuditStatsQuery = { auditStats: { totalEntries: string, bytes: string, asOfIndex: string | null, byAction: Array<{ key: string | null, count: string }>, byActor: Array<{ key: string | null, count: string }>, byCategory: Array<{ key: string | null, count: string }>, byOutcome: Array<{ key: string | null, count: string }>, byDay: Array<{ key: string | null, count: string }>, topResources: Array<{ key: string | null, count: string }> } };

export type CreateSignalMutationVariables = Exact<{
  input: CreateSignalInput;
}>;


export type CreateSignalMutation = { createSignal: { replayed: boolean, signal: { id: string, symbol: string, action: SignalAction, entryPrice: string, targetPrice: string | null, stopLoss: string | null, confidence: string, strategy: string | null, rationale: string, rationaleOrigin: RationaleOrigin, producer: string, generatedAt: string, serverTimestamp: string, retentionExpiresAt: string, chainIndex: string, verificationHash: string, previousHash: string, chainHash: string } } };

export type CreateSignalsMutationVariables = Exact<{
  input: CreateSignalsInput;
}>;


export type CreateSignalsMutation = { createSignals: { replayed: number, signals: Array<{ id: string, symbol: string, action: SignalAction, entryPrice: string, targetPrice: string | null, stopLoss: string | null, confidence: string, strategy: string | null, rationale: string, rationaleOrigin: RationaleOrigin, producer: string, generatedAt: string, serverTimestamp: string, retentionExpiresAt: string, chainIndex: string, verificationHash: string, previousHash: string, chainHash: string }> } };

export type RecordEventsMutationVariables = Exact<{
  input: RecordEventsInput;
}>;


export type RecordEventsMutation = { recordEvents: { entries: Array<{ id: string, chainIndex: string, category: AuditCategory, event: string, action: AuditAction | null, actor: string | null, role: string | null, resource: string | null, signalId: string | null, outcome: string, occurredAt: string, recordedAt: string, requestId: string | null, details: Record<string, unknown>, verificationHash: string, previousHash: string, chainHash: string }> } };

export type CreateApiKeyMutationVariables = Exact<{
  input: CreateApiKeyInput;
}>;


export type CreateApiKeyMutation = { createApiKey: { secret: string, apiKey: { id: string, name: string, role: Role, prefix: string, expiresAt: string | null } } };

export type RevokeApiKeyMutationVariables = Exact<{
  input: RevokeApiKeyInput;
}>;


export type RevokeApiKeyMutation = { revokeApiKey: { apiKey: { id: string, revokedAt: string | null } } };

export class TypedDocumentString<TResult, TVariables>
  extends String
  implements DocumentTypeDecoration<TResult, TVariables>
{
  __apiType?: NonNullable<DocumentTypeDecoration<TResult, TVariables>['__apiType']>;
  private value: string;
  public __meta__?: Record<string, any> | undefined;

  constructor(value: string, __meta__?: Record<string, any> | undefined) {
    super(value);
    this.value = value;
    this.__meta__ = __meta__;
  }

  override toString(): string & DocumentTypeDecoration<TResult, TVariables> {
    return this.value;
  }
}
export const SignalFieldsFragmentDoc = new TypedDocumentString(`
    fragment SignalFields on Signal {
  id
  symbol
  action
  entryPrice
  targetPrice
  stopLoss
  confidence
  strategy
  rationale
  rationaleOrigin
  producer
  generatedAt
  serverTimestamp
  retentionExpiresAt
  chainIndex
  verificationHash
  previousHash
  chainHash
}
    `, {"fragmentName":"SignalFields"}) as unknown as TypedDocumentString<SignalFieldsFragment, unknown>;
export const AuditEntryFieldsFragmentDoc = new TypedDocumentString(`
    fragment AuditEntryFields on AuditEntry {
  id
  chainIndex
  category
  event
  action
  actor
  role
  resource
  signalId
  outcome
  occurredAt
  recordedAt
  requestId
  details
  verificationHash
  previousHash
  chainHash
}
    `, {"fragmentName":"AuditEntryFields"}) as unknown as TypedDocumentString<AuditEntryFieldsFragment, unknown>;
export const ViewerDocument = new TypedDocumentString(`
    query Viewer {
  viewer {
    keyId
    name
    role
    expiresAt
  }
}
    `) as unknown as TypedDocumentString<ViewerQuery, ViewerQueryVariables>;
export const SignalDocument = new TypedDocumentString(`
    query Signal($id: ID!) {
  signal(id: $id) {
    ...SignalFields
    body
  }
}
    fragment SignalFields on Signal {
  id
  symbol
  action
  entryPrice
  targetPrice
  stopLoss
  confidence
  strategy
  rationale
  rationaleOrigin
  producer
  generatedAt
  serverTimestamp
  retentionExpiresAt
  chainIndex
  verificationHash
  previousHash
  chainHash
}`) as unknown as TypedDocumentString<SignalQuery, SignalQueryVariables>;
export const SignalsDocument = new TypedDocumentString(`
    query Signals($filter: SignalFilter, $orderBy: SignalOrder, $first: Int, $after: String, $last: Int, $before: String) {
  signals(
    filter: $filter
    orderBy: $orderBy
    first: $first
    after: $after
    last: $last
    before: $before
  ) {
    nodes {
      ...SignalFields
    }
    pageInfo {
      hasNextPage
      hasPreviousPage
      startCursor
      endCursor
    }
  }
}
    fragment SignalFields on Signal {
  id
  symbol
  action
  entryPrice
  targetPrice
  stopLoss
  confidence
  strategy
  rationale
  rationaleOrigin
  producer
  generatedAt
  serverTimestamp
  retentionExpiresAt
  chainIndex
  verificationHash
  previousHash
  chainHash
}`) as unknown as TypedDocumentString<SignalsQuery, SignalsQueryVariables>;
export const AuditEntryDocument = new TypedDocumentString(`
    query AuditEntry($id: ID, $chainIndex: BigInt) {
  auditEntry(id: $id, chainIndex: $chainIndex) {
    ...AuditEntryFields
    oldData
    newData
    body
  }
}
    fragment AuditEntryFields on AuditEntry {
  id
  chainIndex
  category
  event
  action
  actor
  role
  resource
  signalId
  outcome
  occurredAt
  recordedAt
  requestId
  details
  verificationHash
  previousHash
  chainHash
}`) as unknown as TypedDocumentString<AuditEntryQuery, AuditEntryQueryVariables>;
export const AuditEntriesDocument = new TypedDocumentString(`
    query AuditEntries($filter: AuditEntryFilter, $orderBy: AuditEntryOrder, $first: Int, $after: String, $last: Int, $before: String) {
  auditEntries(
    filter: $filter
    orderBy: $orderBy
    first: $first
    after: $after
    last: $last
    before: $before
  ) {
    nodes {
      ...AuditEntryFields
    }
    pageInfo {
      hasNextPage
      hasPreviousPage
      startCursor
      endCursor
    }
  }
}
    fragment AuditEntryFields on AuditEntry {
  id
  chainIndex
  category
  event
  action
  actor
  role
  resource
  signalId
  outcome
  occurredAt
  recordedAt
  requestId
  details
  verificationHash
  previousHash
  chainHash
}`) as unknown as TypedDocumentString<AuditEntriesQuery, AuditEntriesQueryVariables>;
export const AuditStatsDocument = new TypedDocumentString(`
    query AuditStats($filter: AuditEntryFilter) {
  auditStats(filter: $filter) {
    totalEntries
    byAction {
      key
      count
    }
    byActor {
      key
      count
    }
    byCategory {
      key
      count
    }
    byOutcome {
      key
      count
    }
    byDay {
      key
      count
    }
    topResources {
      key
      count
    }
    bytes
    asOfIndex
  }
}
    `) as unknown as TypedDocumentString<AuditStatsQuery, AuditStatsQueryVariables>;
export const CreateSignalDocument = new TypedDocumentString(`
    mutation CreateSignal($input: CreateSignalInput!) {
  createSignal(input: $input) {
    replayed
    signal {
      ...SignalFields
    }
  }
}
    fragment SignalFields on Signal {
  id
  symbol
  action
  entryPrice
  targetPrice
  stopLoss
  confidence
  strategy
  rationale
  rationaleOrigin
  producer
  generatedAt
  serverTimestamp
  retentionExpiresAt
  chainIndex
  verificationHash
  previousHash
  chainHash
}`) as unknown as TypedDocumentString<CreateSignalMutation, CreateSignalMutationVariables>;
export const CreateSignalsDocument = new TypedDocumentString(`
    mutation CreateSignals($input: CreateSignalsInput!) {
  createSignals(input: $input) {
    replayed
    signals {
      ...SignalFields
    }
  }
}
    fragment SignalFields on Signal {
  id
  symbol
  action
  entryPrice
  targetPrice
  stopLoss
  confidence
  strategy
  rationale
  rationaleOrigin
  producer
  generatedAt
  serverTimestamp
  retentionExpiresAt
  chainIndex
  verificationHash
  previousHash
  chainHash
}`) as unknown as TypedDocumentString<CreateSignalsMutation, CreateSignalsMutationVariables>;
export const RecordEventsDocument = new TypedDocumentString(`
    mutation RecordEvents($input: RecordEventsInput!) {
  recordEvents(input: $input) {
    entries {
      ...AuditEntryFields
    }
  }
}
    fragment AuditEntryFields on AuditEntry {
  id
  chainIndex
  category
  event
  action
  actor
  role
  resource
  signalId
  outcome
  occurredAt
  recordedAt
  requestId
  details
  verificationHash
  previousHash
  chainHash
}`) as unknown as TypedDocumentString<RecordEventsMutation, RecordEventsMutationVariables>;
export const CreateApiKeyDocument = new TypedDocumentString(`
    mutation CreateApiKey($input: CreateApiKeyInput!) {
  createApiKey(input: $input) {
    secret
    apiKey {
      id
      name
      role
      prefix
      expiresAt
    }
  }
}
    `) as unknown as TypedDocumentString<CreateApiKeyMutation, CreateApiKeyMutationVariables>;
export const RevokeApiKeyDocument = new TypedDocumentString(`
    mutation RevokeApiKey($input: RevokeApiKeyInput!) {
  revokeApiKey(input: $input) {
    apiKey {
      id
      revokedAt
    }
  }
}
    `) as unknown as TypedDocumentString<RevokeApiKeyMutation, RevokeApiKeyMutationVariables>;