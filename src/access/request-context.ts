import type DataLoader from 'dataloader';
import type { Logger } from 'pino';
import type { Call, RequestCalls } from './request-calls.js';
import type { Clock } from '../clock.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { NeighbourReader } from '../ledger/read-neighbours.js';
import type { SignalRow } from '../ledger/rows.js';
import type { LogTail } from '../ledger/tail-log.js';
import type { Redactor } from './redact.js';
import type { ApiKeyStore } from './api-key-store.js';

/** What resolvers may use; built once by context.ts. */
export interface Services {
  /** The application role's pool, for reads. Appends go through the request's calls. */
  readonly database: Queryable;
  readonly tails: { readonly signals: LogTail<'signals'>; readonly audit: LogTail<'audit'> };
  readonly apiKeys: ApiKeyStore;
  readonly redactor: Redactor;
  readonly clock: Clock;
  readonly log: Logger;
  /** Aborted when this node drains. */
  readonly shutdown: AbortSignal;
}

/** Batches single reads of one request. */
export interface Loaders {
  readonly signalById: DataLoader<string, SignalRow | null>;
  readonly signalSuperseding: DataLoader<string, SignalRow | null>;
  readonly neighbours: NeighbourReader;
}

/** What a resolver gets as its context. */
export interface RequestContext {
  readonly calls: RequestCalls;
  readonly services: Services;
  readonly loaders: Loaders;
  /** The mutation under way; root fields of a mutation run one after the other. */
  currentCall?: Call;
}
