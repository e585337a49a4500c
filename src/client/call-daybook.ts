import type { TypedDocumentString } from './generated.js';

/** Where a node listens and with which key to call it. */
export interface CallOptions {
  /** As in http://127.0.0.1:4000. */
  readonly url: string;
  readonly apiKey: string;
  readonly signal?: AbortSignal;
  /** Kept as `sessionId` with every entry that the call leaves. */
  readonly sessionId?: string;
}

/** A call that was refused. `code` is one of docs/errors.md; after a retryable one the same call may succeed later. */
export class CallRefusedError extends Error {
  override readonly name = 'CallRefusedError';

  constructor(
    readonly code: string,
    readonly retryable: boolean,
    message: string,
  ) {
    super(`${code}: ${message}`);
  }
}

interface GraphqlAnswer<Result> {
  readonly data?: Result | null;
  readonly errors?: readonly {
    readonly message: string;
    readonly extensions?: { readonly code?: string; readonly retryable?: boolean };
  }[];
  readonly error?: { readonly code: string; readonly message: string; readonly retryable: boolean };
}

/**
 * Calls one operation of the generated client, as in `callDaybook(options, CreateSignalDocument, { input })`. Throws
 * CallRefusedError for anything but a whole answer; what fetch throws when no node can be reached passes through.
 */
export async function callDaybook<Result, Variables>(
  options: CallOptions,
  document: TypedDocumentString<Result, Variables>,
  variables: Variables,
): Promise<Result> {
  const response = await fetch(new URL('/graphql', options.url), {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${options.apiKey}`,
      ...(options.sessionId === undefined ? {} : { 'x-session-id': options.sessionId }),
    },
    body: JSON.stringify({ query: document.toString(), variables }),
    signal: options.signal ?? null,
  });
  const answer = await readAnswer<Result>(response);
  const [error] = answer.errors ?? [];
  if (error !== undefined) {
    throw new CallRefusedError(
      error.extensions?.code ?? 'INTERNAL',
      error.extensions?.retryable ?? false,
      error.message,
    );
  }
  if (answer.error !== undefined) {
    throw new CallRefusedError(answer.error.code, answer.error.retryable, answer.error.message);
  }
  if (answer.data === undefined || answer.data === null) {
    throw new CallRefusedError('INTERNAL', true, `the answer (HTTP ${response.status}) holds no data`);
  }
  return answer.data;
}

async function readAnswer<Result>(response: Response): Promise<GraphqlAnswer<Result>> {
  try {
    return (await response.json()) as GraphqlAnswer<Result>;
  } catch (cause) {
    const error = new CallRefusedError('INTERNAL', true, `HTTP ${response.status} without a JSON answer`);
    error.cause = cause;
    throw error;
  }
}
