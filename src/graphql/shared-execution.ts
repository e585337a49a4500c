import { Kind, visit, type DocumentNode, type ExecutionResult, type OperationDefinitionNode } from 'graphql';

/** Results kept at a time; one per frame and distinct operation among the subscribers. */
const sharedResultsMax = 128;
/** JSON bytes of the results kept. */
const sharedBytesMax = 8 * 1024 * 1024;

/** Argument of a feed's root field that says where to start; it does not change what a frame says. */
const cursorArgument = 'after';

interface Shared {
  readonly results: Map<string, Promise<Buffer>>;
  readonly key: string;
  readonly bytes: number;
}

/**
 * Executes an operation on an event once for all subscribers that ask the same, and keeps the JSON text of the result.
 * Events are told apart by identity, so it is the feed that decides what is the same event (SharedFrames). What one
 * subscriber may not see never reaches it: the key holds the scope of authorisation.
 */
export class SharedExecution {
  readonly #resultsByEvent = new WeakMap<object, Map<string, Promise<Buffer>>>();
  readonly #kept: Shared[] = [];
  #keptBytes = 0;

  /** JSON text (UTF-8) of the result. A result with errors is not kept, so that the next subscriber tries again. */
  run(event: unknown, key: string, execute: () => Promise<ExecutionResult>): Promise<Buffer> {
    if (typeof event !== 'object' || event === null) return execute().then(encodeResult);
    const results = this.#resultsByEvent.get(event) ?? new Map<string, Promise<Buffer>>();
    this.#resultsByEvent.set(event, results);
    const known = results.get(key);
    if (known !== undefined) return known;
    const encoded = execute().then(
      (result) => {
        const json = encodeResult(result);
        if (result.errors === undefined) this.#keep({ results, key, bytes: json.length });
        else results.delete(key);
        return json;
      },
      (error: unknown) => {
        results.delete(key);
        throw error;
      },
    );
    results.set(key, encoded);
    return encoded;
  }

  #keep(shared: Shared): void {
    this.#kept.push(shared);
    this.#keptBytes += shared.bytes;
    while (this.#kept.length > 1 && (this.#kept.length > sharedResultsMax || this.#keptBytes > sharedBytesMax)) {
      const oldest = this.#kept.shift();
      if (oldest === undefined) return;
      oldest.results.delete(oldest.key);
      this.#keptBytes -= oldest.bytes;
    }
  }
}

function encodeResult(result: ExecutionResult): Buffer {
  return Buffer.from(JSON.stringify(result));
}

/**
 * The text under which subscribers share executions: everything a result depends on but the event. Variables that only
 * say where the feed starts are left out.
 */
export function sharingKey(operation: {
  readonly query: string;
  readonly document: DocumentNode;
  readonly definition: OperationDefinitionNode;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly scope: string;
}): string {
  const cursors = cursorVariables(operation.document, operation.definition);
  const variables = Object.entries(operation.variables).filter(([name]) => !cursors.has(name));
  return JSON.stringify([operation.scope, operation.definition.name?.value ?? '', operation.query, variables]);
}

/** Names of the variables that are used as cursor of a root field and nowhere else. */
function cursorVariables(document: DocumentNode, definition: OperationDefinitionNode): ReadonlySet<string> {
  const asCursor = new Map<string, number>();
  for (const selection of definition.selectionSet.selections) {
    if (selection.kind !== Kind.FIELD) continue;
    for (const argument of selection.arguments ?? []) {
      if (argument.name.value !== cursorArgument || argument.value.kind !== Kind.VARIABLE) continue;
      const name = argument.value.name.value;
      asCursor.set(name, (asCursor.get(name) ?? 0) + 1);
    }
  }
  const uses = new Map<string, number>();
  visit(document, {
    // The definition of a variable is not a use of it.
    VariableDefinition: () => false,
    Variable: (node) => void uses.set(node.name.value, (uses.get(node.name.value) ?? 0) + 1),
  });
  return new Set([...asCursor].filter(([name, count]) => uses.get(name) === count).map(([name]) => name));
}
