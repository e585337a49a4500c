/** The server refused the feed for good: retrying with the same position and key would be refused again. */
export class FeedRefusedError extends Error {
  override readonly name = 'FeedRefusedError';

  /** `code` as in docs/errors.md, such as CURSOR_EXPIRED, CURSOR_AHEAD, UNAUTHENTICATED or FORBIDDEN. */
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(`${code}: ${message}`);
  }
}

/** A frame did not continue where the last one ended: entries may be missing. Nothing of it was handled. */
export class FeedGapError extends Error {
  override readonly name = 'FeedGapError';

  constructor(
    readonly expected: string,
    readonly received: string,
    what = 'a frame does not continue the last one',
  ) {
    super(`${what}: expected ${expected}, received ${received}`);
  }
}

/** The connection broke or the server cannot serve just now: the feed is opened again from the last position. */
export class FeedInterruptedError extends Error {
  override readonly name = 'FeedInterruptedError';
}

interface GraphqlErrorShape {
  readonly message: string;
  readonly extensions?: { readonly code?: unknown; readonly retryable?: unknown };
}

/** Closing codes that end a feed for good, as the error code they stand for. */
const finalCloseCodes: ReadonlyMap<number, string> = new Map([
  [4401, 'UNAUTHENTICATED'],
  [4403, 'FORBIDDEN'],
  [4400, 'BAD_REQUEST'],
  [4406, 'BAD_REQUEST'],
]);

/** What a list of GraphQL errors means for the feed. A defect of the service may be gone with the next attempt. */
export function fromGraphqlErrors(errors: readonly GraphqlErrorShape[]): FeedRefusedError | FeedInterruptedError {
  const [error] = errors;
  const code = typeof error?.extensions?.code === 'string' ? error.extensions.code : 'INTERNAL';
  const message = error?.message ?? 'no reason was given';
  if (error?.extensions?.retryable === true || code === 'INTERNAL') {
    return new FeedInterruptedError(`${code}: ${message}`);
  }
  return new FeedRefusedError(code, message);
}

/** What graphql-ws reports to a sink: GraphQL errors, a close event, or a failure to connect. */
export function fromSinkError(reported: unknown): FeedRefusedError | FeedInterruptedError {
  if (Array.isArray(reported)) return fromGraphqlErrors(reported as GraphqlErrorShape[]);
  if (typeof reported === 'object' && reported !== null && 'code' in reported && 'reason' in reported) {
    const code = Number(reported.code);
    const reason = String(reported.reason);
    const final = finalCloseCodes.get(code);
    return final === undefined
      ? new FeedInterruptedError(`the connection was closed with ${code} ${reason}`)
      : new FeedRefusedError(final, reason);
  }
  const message =
    typeof reported === 'object' && reported !== null && 'message' in reported ? String(reported.message) : 'no reason';
  return new FeedInterruptedError(`the connection failed: ${message}`, { cause: reported });
}
