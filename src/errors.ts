/**
 * The closed catalogue of error codes. Each reaches GraphQL as `extensions.code`, REST as `error.code` and the audit log
 * as `outcome`; docs/errors.md lists the same codes and a test compares the two.
 */
export const errorCatalogue = {
  // The caller's fault: stable, says how to mend it, nothing was written.
  BAD_USER_INPUT: { httpStatus: 400, retryable: false, meaning: 'a value is missing, malformed or out of its range' },
  GRAPHQL_PARSE_FAILED: { httpStatus: 400, retryable: false, meaning: 'the document is not valid GraphQL syntax' },
  GRAPHQL_VALIDATION_FAILED: { httpStatus: 400, retryable: false, meaning: 'the document does not fit the schema' },
  QUERY_TOO_COMPLEX: {
    httpStatus: 400,
    retryable: false,
    meaning: 'too many aliases, levels or tokens in one document',
  },
  QUERY_TOO_BROAD: {
    httpStatus: 400,
    retryable: false,
    meaning: 'what was asked for visits too many entries to be counted in time',
  },
  BAD_REQUEST: { httpStatus: 400, retryable: false, meaning: 'the HTTP request is not a GraphQL request' },
  ENTRY_TOO_LARGE: { httpStatus: 400, retryable: false, meaning: 'the entry body exceeds 65,535 bytes' },
  BATCH_TOO_LARGE: { httpStatus: 400, retryable: false, meaning: 'more than 1,000 items in one mutation' },
  UNAUTHENTICATED: { httpStatus: 401, retryable: false, meaning: 'no key, or one that is unknown, revoked or expired' },
  FORBIDDEN: { httpStatus: 403, retryable: false, meaning: "the key's role may not use this field" },
  NOT_FOUND: { httpStatus: 404, retryable: false, meaning: 'what the call names does not exist' },
  IDEMPOTENCY_CONFLICT: { httpStatus: 409, retryable: false, meaning: 'the key was used before with different input' },
  SIGNAL_ID_TAKEN: { httpStatus: 409, retryable: false, meaning: 'a signal with this id is already recorded' },
  INCIDENT_STATE: { httpStatus: 409, retryable: false, meaning: 'the incident is acknowledged or closed already' },
  ALREADY_SUPERSEDED: { httpStatus: 409, retryable: false, meaning: 'another signal already supersedes that one' },
  CURSOR_AHEAD: { httpStatus: 400, retryable: false, meaning: 'the cursor lies beyond the head of the log' },
  ARCHIVED: {
    httpStatus: 410,
    retryable: false,
    meaning: 'these entries were archived and removed from the database: restore their archive',
  },
  RETENTION_REFUSED: {
    httpStatus: 409,
    retryable: false,
    meaning: 'what was to be removed is too young, not archived, not delivered, or under a legal hold',
  },
  CURSOR_EXPIRED: {
    httpStatus: 410,
    retryable: false,
    meaning: 'the cursor lies before the retained range of the log',
  },
  DAY_NOT_OVER: { httpStatus: 400, retryable: false, meaning: 'a day is sealed after it has ended in UTC' },
  LEDGER_IMMUTABLE: { httpStatus: 403, retryable: false, meaning: 'ledger rows cannot be changed or removed' },
  // Not the caller's fault; nothing was written; the same call may succeed later.
  QUEUE_FULL: { httpStatus: 503, retryable: true, meaning: 'too many appends are waiting: retry after a pause' },
  DATABASE_UNAVAILABLE: { httpStatus: 503, retryable: true, meaning: 'the database cannot be reached: retry' },
  EXPORTS_BUSY: { httpStatus: 503, retryable: true, meaning: 'too many exports run: retry when one has ended' },
  DOWNLOAD_INCOMPLETE: {
    httpStatus: 500,
    retryable: true,
    meaning: 'the reader of a download went away or took nothing any more',
  },
  SHUTTING_DOWN: { httpStatus: 503, retryable: true, meaning: 'this node is draining: retry on another' },
  ANCHOR_UNAVAILABLE: { httpStatus: 503, retryable: true, meaning: 'an external anchor cannot be reached: retry' },
  INTEGRITY_CHECK_RUNNING: { httpStatus: 409, retryable: true, meaning: 'a check of the same kind runs: retry later' },
  NOT_YET_SIGNED: { httpStatus: 503, retryable: true, meaning: 'no checkpoint covers the entry yet: retry shortly' },
  // Of an object store. A write that got no answer may have been done all the same: reading the object tells.
  OBJECT_STORE_UNAVAILABLE: {
    httpStatus: 503,
    retryable: true,
    meaning: 'the object store does not take the request now',
  },
  OBJECT_CHANGED: {
    httpStatus: 409,
    retryable: true,
    meaning: 'the object is no longer what the write was to replace',
  },
  // Of a sink of the audit log; the entries stay in the ledger and are delivered when it works again.
  SINK_UNAVAILABLE: { httpStatus: 503, retryable: true, meaning: 'a sink of the audit log does not take entries now' },
  SINK_REFUSED: { httpStatus: 500, retryable: false, meaning: 'a sink of the audit log refuses an entry' },
  // The outcome of a write is unknown: retry with the same idempotency key.
  OUTCOME_UNKNOWN: {
    httpStatus: 503,
    retryable: true,
    meaning: 'the connection broke while committing: retry with the same idempotencyKey, or look before retrying',
  },
  // Secrets and their targets.
  SECRET_REFUSED: {
    httpStatus: 502,
    retryable: false,
    meaning: 'the target refuses a new value, or what it says is not so',
  },
  SECRET_UNAVAILABLE: { httpStatus: 503, retryable: true, meaning: 'the target of a rotation does not answer' },
  ROTATION_CONFLICT: { httpStatus: 409, retryable: true, meaning: 'this secret is being rotated, or by somebody else' },
  // The root key in a key management service.
  ROOT_KEY_UNAVAILABLE: {
    httpStatus: 503,
    retryable: true,
    meaning: 'the key management service does not answer, or has too much to do',
  },
  ROOT_KEY_REFUSED: {
    httpStatus: 503,
    retryable: false,
    meaning: 'the key management service refuses to use the root key',
  },
  // Broken invariants: the request fails and somebody is told.
  LEDGER_BROKEN: { httpStatus: 500, retryable: false, meaning: 'the stored ledger contradicts itself' },
  ANCHOR_REFUSED: { httpStatus: 500, retryable: false, meaning: 'an external anchor gave a wrong answer, or refused' },
  INTEGRITY_FAILED: { httpStatus: 500, retryable: false, meaning: 'an integrity check found contradictions' },
  LOG_INCONSISTENT: {
    httpStatus: 500,
    retryable: false,
    meaning: 'the log contradicts a checkpoint that was published: nothing is signed any more',
  },
  SIGNING_UNAVAILABLE: {
    httpStatus: 503,
    retryable: false,
    meaning: 'this node cannot open a key: it needs the root key that wrapped it',
  },
  INTERNAL: { httpStatus: 500, retryable: false, meaning: 'a defect of the service; its log has the details' },
  // Start-up and command line.
  CONFIG_INVALID: { httpStatus: 500, retryable: false, meaning: 'an environment variable has an unusable value' },
  DATABASE_START_FAILED: { httpStatus: 500, retryable: false, meaning: 'the embedded PostgreSQL did not start' },
  DATABASE_UNSUPPORTED: { httpStatus: 500, retryable: false, meaning: 'the PostgreSQL server cannot hold the ledger' },
  DATA_DIR_IN_USE: { httpStatus: 500, retryable: true, meaning: 'another Daybook serves this data folder' },
  PORT_TAKEN: { httpStatus: 500, retryable: true, meaning: 'another program listens on the port' },
  OBJECT_STORE_REFUSED: { httpStatus: 500, retryable: false, meaning: 'the object store refuses what was asked of it' },
  OBJECT_LOCK_UNCONFIRMED: {
    httpStatus: 500,
    retryable: false,
    meaning: 'the object store does not confirm the lock that was asked for',
  },
  MIGRATION_REFUSED: { httpStatus: 500, retryable: false, meaning: 'a down migration would destroy evidence' },
} as const;

export type ErrorCode = keyof typeof errorCatalogue;

/** An error of the catalogue. `message` says what is wrong and how to mend it, and never holds a secret. */
export class DaybookError extends Error {
  override readonly name = 'DaybookError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown; details?: Record<string, unknown> },
  ) {
    super(message, { cause: options?.cause });
    this.details = options?.details;
  }

  /** Facts a program can act on, such as `{ itemIndex: 3, field: "entryPrice" }`. */
  readonly details: Record<string, unknown> | undefined;

  get retryable(): boolean {
    return errorCatalogue[this.code].retryable;
  }
}
