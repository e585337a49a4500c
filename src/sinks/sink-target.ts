import { DaybookError } from '../errors.js';
import type { AuditRow } from '../ledger/rows.js';

/** Where a sink delivers to. One runner at a time uses it; after an error it is closed and opened anew. */
export interface SinkTarget {
  /** Most entries of one delivery. */
  readonly batchEntriesMax: number;
  /** How many entries, and for how long in milliseconds, may be delivered and not confirmed. 0: each delivery is confirmed. */
  readonly unconfirmedEntriesMax: number;
  readonly unconfirmedMsMax: number;
  /**
   * Gets ready to go on at `position` and returns where the target really stands: at `position`, or before it where entries
   * that were acknowledged are gone.
   */
  open(position: bigint): Promise<bigint>;
  /**
   * Delivers the first of `rows`, which follow each other and those delivered before, and returns how many it took: one at
   * least. Throws SINK_UNAVAILABLE or SINK_REFUSED; then any of them may have arrived.
   */
  deliver(rows: readonly AuditRow[], signal: AbortSignal): Promise<number>;
  /** Returns when everything delivered is acknowledged: from then on it need not be sent again. */
  confirm(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** The error of a target that does not take entries now. `reason` goes into the sink's row: it never holds a secret. */
export function sinkUnavailable(target: string, reason: string, cause?: unknown): DaybookError {
  return new DaybookError('SINK_UNAVAILABLE', `${target}: ${reason}`, cause === undefined ? undefined : { cause });
}

/** The error of a target that refuses what it was sent. */
export function sinkRefused(target: string, reason: string): DaybookError {
  return new DaybookError('SINK_REFUSED', `${target}: ${reason}`);
}

/** What a failed connection or file operation says of itself: its code where it has one, for messages can quote data. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return typeof code === 'string' ? code : String(message);
}
