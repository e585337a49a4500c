import { GraphQLError, type GraphQLFormattedError } from 'graphql';
import type { Logger } from 'pino';
import type { Redactor } from '../access/redact.js';
import { DaybookError, errorCatalogue, type ErrorCode } from '../errors.js';
import { toDaybookError } from '../ledger/database-errors.js';
import { withoutEchoes } from './echoed-values.js';
import { isLimitMessage } from './query-limits.js';

/** The catalogue's error behind whatever GraphQL or a resolver reported. */
export function catalogued(error: unknown): DaybookError {
  if (error instanceof DaybookError) return error;
  if (error instanceof GraphQLError) {
    if (error.originalError instanceof DaybookError) {
      // A scalar refused a variable: GraphQL's message names the variable and the place in it.
      const { code, details } = error.originalError;
      return error.path === undefined ? new DaybookError(code, error.message, { details }) : error.originalError;
    }
    if (isLimitMessage(error.message)) return new DaybookError('QUERY_TOO_COMPLEX', error.message);
    // Without a path it is about the request: GraphQL's own words say what is wrong with it.
    const code = knownCode(error.extensions.code);
    if (code !== null && (error.path === undefined || error.originalError === undefined)) {
      return new DaybookError(code, error.message);
    }
    // A variable that does not fit its type, as graphql-js reports it where no server has given it a code.
    if (error.path === undefined && error.originalError instanceof GraphQLError) {
      return new DaybookError('BAD_USER_INPUT', error.message);
    }
    if (error.originalError === undefined && error.extensions.code === undefined) {
      return new DaybookError('GRAPHQL_VALIDATION_FAILED', error.message);
    }
  }
  return toDaybookError(error instanceof GraphQLError ? (error.originalError ?? error) : error);
}

/** Apollo's own codes under the names of the catalogue. */
const apolloCodes: Readonly<Record<string, ErrorCode>> = {
  OPERATION_RESOLUTION_FAILURE: 'BAD_REQUEST',
  PERSISTED_QUERY_NOT_SUPPORTED: 'BAD_REQUEST',
  PERSISTED_QUERY_NOT_FOUND: 'BAD_REQUEST',
};

function knownCode(code: unknown): ErrorCode | null {
  if (typeof code !== 'string') return null;
  if (code in errorCatalogue) return code as ErrorCode;
  return apolloCodes[code] ?? null;
}

/**
 * What a caller sees of an error: message, place, a code of the catalogue, and whether the same call may succeed later. Clients
 * log it, so it repeats neither the values that GraphQL refused nor anything that looks like a secret.
 */
export function formatError(
  formatted: GraphQLFormattedError,
  error: unknown,
  { log, redactor }: { readonly log: Logger; readonly redactor: Redactor },
): GraphQLFormattedError {
  const known = catalogued(error);
  if (known.code === 'INTERNAL' || known.code === 'LEDGER_BROKEN') {
    log.error(
      { err: known.cause ?? known, path: formatted.path },
      'a call failed for a reason that is not the caller’s',
    );
  }
  return {
    message: redactor.hide(withoutEchoes(known.message)),
    ...(formatted.locations === undefined ? {} : { locations: formatted.locations }),
    ...(formatted.path === undefined ? {} : { path: formatted.path }),
    extensions: { ...known.details, code: known.code, retryable: known.retryable },
  };
}
