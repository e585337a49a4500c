import type { ApolloServerPlugin, GraphQLRequestContext, GraphQLRequestListener } from '@apollo/server';
import { Kind } from 'graphql';
import type { Logger } from 'pino';
import { DaybookError } from '../errors.js';
import { mapDatabaseError } from '../ledger/database-errors.js';
import { catalogued } from './format-error.js';
import { checkCost } from './query-limits.js';
import type { RequestContext } from './request-context.js';

/**
 * Lets no response leave before the entries of its calls are durable. A request that was refused before any root field
 * ran leaves one entry of its own. Where the entries cannot be written the response is withheld (fail closed).
 */
export function recordCallsPlugin(log: Logger): ApolloServerPlugin<RequestContext> {
  const listener: GraphQLRequestListener<RequestContext> = {
    didResolveOperation: (request) => {
      const { schema, document, operationName, contextValue } = request;
      if (document === undefined) return Promise.resolve();
      if (contextValue.calls.principal === null && asksForSchema(request)) {
        return Promise.reject(new DaybookError('UNAUTHENTICATED', 'reading the schema takes a valid API key'));
      }
      checkCost(schema, document, operationName, request.request.variables ?? {});
      return Promise.resolve();
    },
    willSendResponse: async (request) => {
      const { calls } = request.contextValue;
      if (!calls.hasEntries) {
        const [error] = request.errors ?? [];
        const resource = request.operationName ?? request.request.operationName ?? 'graphql';
        calls.record(calls.begin(resource, 'EXECUTE', undefined), error === undefined ? 'OK' : catalogued(error).code);
      }
      try {
        await calls.flush();
      } catch (error) {
        withhold(request, mapDatabaseError(error), log);
      }
    },
  };
  return { requestDidStart: () => Promise.resolve(listener) };
}

function asksForSchema(request: GraphQLRequestContext<RequestContext>): boolean {
  const selections = request.operation?.selectionSet.selections ?? [];
  return selections.some(
    (selection) => selection.kind !== Kind.FIELD || ['__schema', '__type'].includes(selection.name.value),
  );
}

function withhold(request: GraphQLRequestContext<RequestContext>, error: DaybookError, log: Logger): void {
  log.error({ err: error }, 'a response was withheld: its audit entry could not be written');
  request.response.body = {
    kind: 'single',
    singleResult: {
      errors: [
        {
          message: `the call could not be recorded, so its result is withheld: ${error.message}`,
          extensions: { code: error.code, retryable: error.retryable },
        },
      ],
    },
  };
}
