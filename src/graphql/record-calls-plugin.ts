import type { ApolloServerPlugin, GraphQLRequestContext, GraphQLRequestListener } from '@apollo/server';
import { GraphQLError, Kind, type OperationDefinitionNode } from 'graphql';
import type { Logger } from 'pino';
import { DaybookError, errorCatalogue } from '../errors.js';
import { toDaybookError } from '../ledger/database-errors.js';
import { finishCalls } from './finish-calls.js';
import { checkCost } from './query-limits.js';
import type { RequestContext } from '../access/request-context.js';

/** Checks what an operation may ask for, and lets no response leave before the entries of its calls are durable. */
export function recordCallsPlugin(log: Logger): ApolloServerPlugin<RequestContext> {
  const listener: GraphQLRequestListener<RequestContext> = {
    didResolveOperation: (request) => {
      const { schema, document, operation, operationName, contextValue } = request;
      if (contextValue.calls.principal === null && operation !== undefined && asksForSchema(operation)) {
        return Promise.reject(refusal(new DaybookError('UNAUTHENTICATED', 'reading the schema takes a valid API key')));
      }
      try {
        if (document !== undefined) checkCost(schema, document, operationName, request.request.variables ?? {});
        return Promise.resolve();
      } catch (error) {
        return Promise.reject(refusal(toDaybookError(error)));
      }
    },
    willSendResponse: async (request) => {
      const { calls } = request.contextValue;
      const name = request.operationName ?? request.request.operationName;
      const failure = await finishCalls(calls, name, request.errors);
      if (failure !== null) withhold(request, failure, log);
    },
  };
  return { requestDidStart: () => Promise.resolve(listener) };
}

/** Refused before anything ran, so the answer as a whole has the status of its error. */
function refusal(error: DaybookError): GraphQLError {
  const http = { status: errorCatalogue[error.code].httpStatus };
  return new GraphQLError(error.message, { originalError: error, extensions: { code: error.code, http } });
}

/** True unless every root field is the ledger's own: those authorise themselves. */
function asksForSchema(operation: OperationDefinitionNode): boolean {
  return operation.selectionSet.selections.some(
    (selection) => selection.kind !== Kind.FIELD || ['__schema', '__type'].includes(selection.name.value),
  );
}

function withhold(request: GraphQLRequestContext<RequestContext>, error: DaybookError, log: Logger): void {
  log.error({ err: error.cause }, 'a response was withheld: its audit entry could not be written');
  const extensions = { code: error.code, retryable: error.retryable };
  request.response.body = { kind: 'single', singleResult: { errors: [{ message: error.message, extensions }] } };
}
