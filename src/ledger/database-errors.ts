import { DaybookError, type ErrorCode } from '../errors.js';

/** What pg, and MikroORM in its name, put on an error that the server sent. */
interface ServerError extends Error {
  readonly code: string;
  readonly severity: string;
  readonly constraint?: string;
}

/** Not by the form of the code alone: EPIPE, from a socket, looks like an SQLSTATE. */
function isServerError(error: unknown): error is ServerError {
  return error instanceof Error && 'severity' in error && 'code' in error && typeof error.code === 'string';
}

/** Constraint → what the caller did and how to mend it. Codes other than BAD_USER_INPUT are named. */
const constraintMessages: Readonly<Record<string, string | readonly [ErrorCode, string]>> = {
  signals_signal_id_form: 'signalId must start with a letter or digit and have 1 to 128 of: letters, digits, . _ : -',
  signals_signal_id_key: ['SIGNAL_ID_TAKEN', 'a signal with this signalId is already recorded: choose another id'],
  signals_symbol_form: 'symbol must have 1 to 64 of: letters, digits, . _ : / = ^ -',
  signals_action_known: 'action must be BUY, SELL or HOLD',
  signals_entry_price_range: 'entryPrice must be above 0 and below 10^18, with at most 18 decimals',
  signals_target_price_range: 'targetPrice must be above 0 and below 10^18, with at most 18 decimals',
  signals_stop_loss_range: 'stopLoss must be above 0 and below 10^18, with at most 18 decimals',
  signals_confidence_range: 'confidence must lie between 0 and 1, with at most 18 decimals',
  signals_strategy_length: 'strategy must have 1 to 200 characters',
  signals_rationale_length: 'rationale must have at least 20 characters',
  signals_rationale_not_repeated: 'rationale must be a text, not one repeated character',
  signals_supersedes_key: ['ALREADY_SUPERSEDED', 'that signal is already superseded: supersede its successor instead'],
  signals_supersedes_known: ['NOT_FOUND', 'the signal to supersede is not recorded'],
  signals_generated_at_past: 'generatedAt lies more than five minutes in the future: check the clock of the producer',
  api_keys_name_key: 'name is taken by another valid key: revoke that one or choose another name',
  api_keys_name_check: 'name must have 1 to 200 characters',
  signals_body_size: ['ENTRY_TOO_LARGE', "the signal's body would exceed 65,535 bytes: shorten its rationale"],
  audit_entries_body_size: ['ENTRY_TOO_LARGE', "the entry's body would exceed 65,535 bytes: shorten its texts"],
};

/** True where the server refused the data: the transaction can be split by request to find whose it was. */
export function isRefusedData(error: unknown): boolean {
  return isServerError(error) && /^(22|23|54|DB)/.test(error.code);
}

/** True where the connection is gone, so that nothing is known of what was under way. */
export function isConnectionLost(error: unknown): boolean {
  return !isServerError(error) || /^(08|57P)/.test(error.code);
}

/** The catalogue's error for whatever PostgreSQL or the connection to it reported. */
export function mapDatabaseError(error: unknown): DaybookError {
  if (error instanceof DaybookError) return error;
  if (!isServerError(error)) {
    return new DaybookError('DATABASE_UNAVAILABLE', 'the connection to the database broke: retry', { cause: error });
  }
  const known = error.constraint === undefined ? undefined : constraintMessages[error.constraint];
  if (known !== undefined) {
    return typeof known === 'string'
      ? new DaybookError('BAD_USER_INPUT', known, { cause: error })
      : new DaybookError(known[0], known[1], { cause: error });
  }
  if (error.code === 'DB001') return new DaybookError('LEDGER_IMMUTABLE', error.message, { cause: error });
  if (error.code === 'DB009') return new DaybookError('ROTATION_CONFLICT', error.message, { cause: error });
  if (error.code === 'DB008') return new DaybookError('RETENTION_REFUSED', error.message, { cause: error });
  if (error.code === 'DB004') return new DaybookError('LEDGER_BROKEN', error.message, { cause: error });
  if (/^(22|23|54|DB)/.test(error.code)) {
    return new DaybookError('BAD_USER_INPUT', `the database refused a value: ${error.message}`, { cause: error });
  }
  if (/^(08|53|57|40|55|25006|58030)/.test(error.code)) {
    return new DaybookError('DATABASE_UNAVAILABLE', unavailableMessage(error), { cause: error });
  }
  return new DaybookError('INTERNAL', 'the database reported a fault that is not the caller’s', { cause: error });
}

/** True for what pg throws: the server's own errors, and those of a connection that broke or could not be made. */
function isDatabaseFault(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (isServerError(error) && 'severity' in error) return true;
  if (typeof code === 'string' && /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EHOSTUNREACH)/.test(code)) return true;
  return /connection terminated|client has encountered a connection error|timeout (exceeded|expired)/i.test(
    String(message),
  );
}

/** The catalogue's error for anything thrown: the database's faults by their kind, all else as INTERNAL with its cause. */
export function toDaybookError(error: unknown): DaybookError {
  if (error instanceof DaybookError) return error;
  if (isDatabaseFault(error)) return mapDatabaseError(error);
  return new DaybookError('INTERNAL', 'the service met an unexpected fault; its log has the details', { cause: error });
}

function unavailableMessage(error: ServerError): string {
  if (error.code === '53100') return 'the database has no disk space left: free some, then retry';
  if (error.code === '55P03')
    return 'another session holds the ledger lock: retry, and see /health/detailed for its pid';
  return `the database cannot serve the call now (SQLSTATE ${error.code}): retry`;
}
