import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import {
  execute,
  GraphQLError,
  specifiedRules,
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLSchema,
} from 'graphql';
import type { Principal } from '../access/principal.js';
import { RequestCalls, type Append, type CallSender } from '../access/request-calls.js';
import { DaybookError } from '../errors.js';
import { finishCalls } from '../graphql/finish-calls.js';
import { catalogued, formatError } from '../graphql/format-error.js';
import { checkCost, limitRules, tokensMax } from '../graphql/query-limits.js';
import type { RequestContext, Services } from '../access/request-context.js';
import { attachGraphqlSocket, type GraphqlSocket } from './graphql-socket.js';
import { bearerKey, readSender } from './sender.js';

/** Who holds a connection open; each operation on it is a request of its own. */
interface SocketSender extends Principal {
  readonly sender: CallSender;
}

export interface SocketParts {
  readonly server: Server;
  readonly schema: GraphQLSchema;
  readonly services: Services;
  readonly append: Append;
  readonly contextFor: (sender: CallSender) => RequestContext;
  readonly trustedProxies: number;
}

/** Serves the schema over WebSockets at `/graphql`, with the same limits, errors and audit entries as over HTTP. */
export function serveGraphqlSocket(parts: SocketParts): GraphqlSocket<SocketSender> {
  const { schema, services, contextFor } = parts;
  const contextOf = (caller: SocketSender, connectionId: string) =>
    contextFor({ ...caller.sender, sessionId: `ws:${connectionId}`, requestId: randomUUID() });
  return attachGraphqlSocket<SocketSender>({
    httpServer: parts.server,
    path: '/graphql',
    schema,
    validationRules: [...specifiedRules, ...limitRules],
    tokensMax,
    clock: services.clock,
    logger: services.log,
    shutdown: services.shutdown,
    authenticate: (connectionParams, request) => authenticate(parts, connectionParams, request),
    isStillValid: (caller) => services.apiKeys.isValid(caller.keyId),
    makeContext: ({ caller, connectionId }) => contextOf(caller, connectionId),
    execute: executeRecorded,
    checkOperation: (document, { operationName, variables }) =>
      checkCost(schema, document, operationName, { ...variables }),
    onRefused: async ({ caller, connectionId, payload }, error) => {
      const failure = await finishCalls(contextOf(caller, connectionId).calls, payload.operationName, [error]);
      if (failure !== null) throw failure;
    },
    formatError: (error) => formatError(error.toJSON(), error, services),
    scopeOf: (caller) => caller.role,
  });
}

/** Executes a query or mutation and answers when its entries are durable. */
async function executeRecorded(args: ExecutionArgs): Promise<ExecutionResult> {
  const { calls } = args.contextValue as RequestContext;
  const result = await execute(args);
  const failure = await finishCalls(calls, args.operationName, result.errors);
  return failure === null ? result : { errors: [new GraphQLError(failure.message, { originalError: failure })] };
}

/**
 * The key comes in `connectionParams.authorization` as for HTTP, or in the header of the upgrade. A connection that is
 * refused leaves an entry; one that is accepted leaves entries by its operations.
 */
async function authenticate(
  { services, append, trustedProxies }: SocketParts,
  connectionParams: Readonly<Record<string, unknown>>,
  request: IncomingMessage,
): Promise<SocketSender> {
  const { apiKeys } = services;
  const given = connectionParams.authorization ?? connectionParams.Authorization ?? request.headers.authorization;
  const key = bearerKey(typeof given === 'string' ? given : undefined);
  const sender = { ...(await readSender(request, apiKeys, trustedProxies, key)), method: 'WS' };
  if (sender.principal !== null) return { ...sender.principal, sender };
  const known = key !== null && (await apiKeys.isKnown(key));
  const error = known
    ? new DaybookError('FORBIDDEN', 'API key expired or revoked')
    : new DaybookError('UNAUTHENTICATED', 'send {"authorization": "Bearer <key>"} in connection_init');
  const calls = new RequestCalls(sender, { ...services, append });
  calls.record(calls.begin('/graphql', 'LOGIN', undefined), catalogued(error).code);
  await calls.flush();
  throw error;
}
