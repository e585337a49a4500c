import {
  createSourceEventStream,
  execute,
  getOperationAST,
  GraphQLError,
  parse,
  validate,
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLFormattedError,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type ValidationRule,
} from 'graphql';
import type { SubscribePayload } from 'graphql-ws';
import type { IncomingMessage } from 'node:http';
import { DaybookError } from '../errors.js';
import { deliverEvents } from '../graphql/deliver-events.js';
import { SharedExecution, sharingKey } from '../graphql/shared-execution.js';
import type { SocketConnection } from './socket-connection.js';

/** Documents whose check is remembered, for subscribers that send the same; and the longest such document. */
const checkedDocumentsMax = 200;
const checkedDocumentCharactersMax = 16_384;

/** What resolvers and records may know of an operation that came over a socket. */
interface SocketOperation<Caller> {
  readonly caller: Caller;
  readonly request: IncomingMessage;
  readonly connectionId: string;
  readonly payload: SubscribePayload;
}

export interface OperationOptions<Caller> {
  readonly schema: GraphQLSchema;
  /** All rules, those of the GraphQL specification included. */
  readonly validationRules: readonly ValidationRule[];
  /** Tokens that a document may have. */
  readonly tokensMax: number;
  /** Executes a query or mutation with everything that belongs to it, such as its audit entries. */
  readonly execute: (args: ExecutionArgs) => Promise<ExecutionResult>;
  /** A fresh context: for each operation, and for each event that a subscription executes. */
  readonly makeContext: (operation: SocketOperation<Caller>) => object;
  /** Throws a DaybookError for an operation that is refused for its cost. */
  readonly checkOperation?: (document: DocumentNode, operation: SubscribePayload) => void;
  /** Called before a caller hears that its document was refused: parsing, validation, cost, number of operations. */
  readonly onRefused?: (operation: SocketOperation<Caller>, error: GraphQLError) => Promise<void>;
  readonly formatError: (error: GraphQLError) => GraphQLFormattedError;
  /** What a result depends on beside the operation: callers with the same scope share executions. */
  readonly scopeOf: (caller: Caller) => string;
}

/** Execution arguments that know where they came from. */
interface PreparedArgs<Caller> extends ExecutionArgs {
  readonly operation: SocketOperation<Caller>;
  readonly connection: SocketConnection<Caller>;
  readonly messageId: string;
  readonly definition: OperationDefinitionNode;
}

/** Turns messages of a socket into executions: checks documents, runs queries, and delivers subscriptions. */
export class SocketOperations<Caller> {
  readonly #options: OperationOptions<Caller>;
  readonly #shared = new SharedExecution();
  readonly #checked = new Map<string, DocumentNode>();

  constructor(options: OperationOptions<Caller>) {
    this.#options = options;
  }

  /** The arguments to execute with, or the errors to answer with. */
  async prepare(
    connection: SocketConnection<Caller>,
    messageId: string,
    payload: SubscribePayload,
    running: number,
  ): Promise<PreparedArgs<Caller> | readonly GraphQLError[]> {
    const { caller } = connection;
    if (caller === null) throw new DaybookError('UNAUTHENTICATED', 'the connection is not authenticated');
    const operation = { caller, request: connection.request, connectionId: connection.id, payload };
    try {
      if (running > connection.operationsMax) {
        throw new DaybookError('BAD_REQUEST', `at most ${connection.operationsMax} operations run on one connection`);
      }
      const document = this.#check(payload.query);
      const definition = getOperationAST(document, payload.operationName);
      if (!definition) throw new DaybookError('BAD_REQUEST', 'operationName must name one operation of the document');
      this.#options.checkOperation?.(document, payload);
      return {
        schema: this.#options.schema,
        document,
        operationName: payload.operationName,
        variableValues: payload.variables,
        contextValue: this.#options.makeContext(operation),
        operation,
        connection,
        messageId,
        definition,
      };
    } catch (error) {
      const refusal = toGraphQLError(error);
      await this.#options.onRefused?.(operation, refusal);
      return [refusal];
    }
  }

  /** Executes a query or mutation. */
  async execute(args: ExecutionArgs): Promise<ExecutionResult> {
    const { connection } = args as PreparedArgs<Caller>;
    return connection.run(async () => this.format(await this.#options.execute(args)));
  }

  /** Opens a subscription; what comes out delivers frames while it is pulled. */
  async subscribe(args: ExecutionArgs): Promise<ExecutionResult | AsyncGenerator<never, void, void>> {
    const { connection, operation, messageId, definition, document, variableValues } = args as PreparedArgs<Caller>;
    const source = await createSourceEventStream(args);
    if (!(Symbol.asyncIterator in source)) return this.format(source);
    const key = sharingKey({
      query: operation.payload.query,
      document,
      definition,
      variables: variableValues ?? {},
      scope: this.#options.scopeOf(operation.caller),
    });
    const head = Buffer.from(`{"id":${JSON.stringify(messageId)},"type":"next","payload":`);
    return deliverEvents({
      source,
      resultOf: (event) => this.#shared.run(event, key, () => this.#executeEvent(args as PreparedArgs<Caller>, event)),
      send: (json) => connection.send(Buffer.concat([head, json, messageEnd])),
    });
  }

  /** A result whose errors are what a caller may see. */
  format(result: ExecutionResult): ExecutionResult {
    if (result.errors === undefined) return result;
    return { ...result, errors: result.errors.map((error) => sendable(this.#options.formatError(error))) };
  }

  /** Errors that end an operation, as a caller may see them. */
  formatErrors(errors: readonly GraphQLError[]): GraphQLFormattedError[] {
    return errors.map((error) => this.#options.formatError(error));
  }

  async #executeEvent(args: PreparedArgs<Caller>, event: unknown): Promise<ExecutionResult> {
    const contextValue = this.#options.makeContext(args.operation);
    return this.format(await execute({ ...args, rootValue: event, contextValue }));
  }

  /** Parses and validates. Throws the first error; GraphQL's own get a code of the catalogue. */
  #check(query: string): DocumentNode {
    const known = this.#checked.get(query);
    if (known !== undefined) return known;
    const document = withCode('GRAPHQL_PARSE_FAILED', () => parse(query, { maxTokens: this.#options.tokensMax }));
    withCode('GRAPHQL_VALIDATION_FAILED', () => {
      const [error] = validate(this.#options.schema, document, this.#options.validationRules, { maxErrors: 1 });
      if (error !== undefined) throw error;
    });
    if (query.length <= checkedDocumentCharactersMax) {
      for (const oldest of this.#checked.keys()) {
        if (this.#checked.size < checkedDocumentsMax) break;
        this.#checked.delete(oldest);
      }
      this.#checked.set(query, document);
    }
    return document;
  }
}

const messageEnd = Buffer.from('}');

function withCode<Result>(code: string, check: () => Result): Result {
  try {
    return check();
  } catch (error) {
    if (error instanceof GraphQLError) error.extensions.code ??= code;
    throw error;
  }
}

/** A DaybookError with its code as extension, so that also a plain formatter shows it. */
function toGraphQLError(error: unknown): GraphQLError {
  if (error instanceof GraphQLError) return error;
  const originalError = error instanceof Error ? error : new Error(String(error));
  const extensions = error instanceof DaybookError ? { code: error.code } : { code: 'INTERNAL' };
  return new GraphQLError(originalError.message, { originalError, extensions });
}

/** graphql-ws serialises errors by `toJSON`; a formatted error has none. */
function sendable(formatted: GraphQLFormattedError): GraphQLError {
  return { ...formatted, toJSON: () => formatted } as unknown as GraphQLError;
}
