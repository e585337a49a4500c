import { DaybookError } from '../errors.js';
import { mapDatabaseError } from '../ledger/database-errors.js';
import type { RequestCalls } from '../access/request-calls.js';
import { catalogued } from './format-error.js';

/**
 * Makes a request's entries durable before its response leaves. A request that was refused before any root field ran leaves
 * one entry of its own. Returns the error to answer with instead where the entries cannot be written (fail closed).
 */
export async function finishCalls(
  calls: RequestCalls,
  operationName: string | null | undefined,
  errors: readonly unknown[] | undefined,
): Promise<DaybookError | null> {
  if (!calls.hasEntries) {
    const outcome = errors === undefined || errors.length === 0 ? 'OK' : catalogued(errors[0]).code;
    calls.record(calls.begin(operationName ?? 'graphql', 'EXECUTE', undefined), outcome);
  }
  try {
    await calls.flush();
    return null;
  } catch (error) {
    const { code, message } = mapDatabaseError(error);
    return new DaybookError(code, `the call could not be recorded, so its result is withheld: ${message}`, {
      cause: error,
    });
  }
}
