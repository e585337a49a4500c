import type { ErrorRequestHandler, NextFunction, Request, RequestHandler, Response } from 'express';
import type { Logger } from 'pino';
import type { ApiKeyStore } from '../access/api-key-store.js';
import { requireRole } from '../access/audited.js';
import type { Redactor } from '../access/redact.js';
import type { Role } from '../access/principal.js';
import { repeatable } from '../access/repeatable.js';
import { RequestCalls, type CallServices } from '../access/request-calls.js';
import { DaybookError, errorCatalogue } from '../errors.js';
import { toDaybookError } from '../ledger/database-errors.js';
import { readSender } from './sender.js';

export interface RestServices extends CallServices {
  readonly apiKeys: ApiKeyStore;
  readonly trustedProxies: number;
  readonly log: Logger;
}

/** The JSON of a failed REST request. Clients log it, so it repeats no secret that they sent. */
function errorBody(error: DaybookError, redactor: Redactor) {
  return { error: { code: error.code, message: redactor.hide(error.message), retryable: error.retryable } };
}

/**
 * A route that takes a key of one of the roles and leaves an entry, which is durable before the answer leaves: the handler
 * answers into memory by `response.send`, whose bytes are held back until then. What it returns goes into the entry.
 */
export function recordedRoute(
  services: RestServices,
  rolesFor: (request: Request) => readonly Role[],
  handler: (request: Request, response: Response) => Promise<Readonly<Record<string, string | number>> | void>,
): RequestHandler {
  return async (request: Request, response: Response) => {
    const sender = await readSender(request, services.apiKeys, services.trustedProxies);
    const calls = new RequestCalls(sender, services);
    const call = calls.begin(request.path, 'READ', request.query);
    requireRole(calls, rolesFor(request));
    const send = response.send.bind(response);
    let answer: unknown;
    response.send = (body?: unknown) => {
      answer = body;
      return response;
    };
    // What is thrown here gets its entry where it is answered, in requestFault.
    try {
      const facts = await handler(request, response);
      calls.record(call, 'OK', { ...facts, statusCode: response.statusCode });
      await calls.flush();
    } finally {
      response.send = send;
    }
    send(answer);
  };
}

/** Answers a path that does not exist, after the request has left its entry. */
export function notFound(services: RestServices): RequestHandler {
  return async (request: Request, response: Response) => {
    const error = new DaybookError(
      'NOT_FOUND',
      `there is nothing at ${repeatable(request.path, 200)}: see README.md for the paths`,
    );
    await refuse(request, response, error, services);
  };
}

/** Answers what middleware threw before any GraphQL ran, such as a body that is not JSON. */
export function requestFault(services: RestServices): ErrorRequestHandler {
  return async (fault: unknown, request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) return next(fault);
    await refuse(request, response, requestError(fault), services);
  };
}

function requestError(fault: unknown): DaybookError {
  const { status, limit } = fault as { status?: unknown; limit?: unknown };
  if (fault instanceof DaybookError) return fault;
  if (status === 413) {
    return new DaybookError(
      'BAD_REQUEST',
      `the request body is larger than ${Number(limit)} bytes: send smaller batches`,
    );
  }
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return new DaybookError('BAD_REQUEST', `the request cannot be read: ${unreadable(fault)}`);
  }
  return toDaybookError(fault);
}

/** Why, in words of ours: those of parsers repeat what was sent. */
function unreadable(fault: unknown): string {
  const { type } = fault as { type?: unknown };
  const reasons: Readonly<Record<string, string>> = {
    'entity.parse.failed': 'its body is not valid JSON',
    'charset.unsupported': 'its body must be UTF-8',
    'encoding.unsupported': 'its body has a Content-Encoding that is not known',
    'request.aborted': 'it was broken off',
    'request.size.invalid': 'its body has not the length of Content-Length',
  };
  return (typeof type === 'string' ? reasons[type] : undefined) ?? 'its path or body is malformed';
}

async function refuse(
  request: Request,
  response: Response,
  error: DaybookError,
  services: RestServices,
): Promise<void> {
  // What the route set for its own answer is not true of this one, least of all how long it may be kept.
  for (const name of ['Content-Type', 'Content-Disposition']) response.removeHeader(name);
  response.setHeader('Cache-Control', 'no-store');
  let sent = error;
  if (error.code === 'INTERNAL') services.log.error({ err: error.cause }, 'a request failed');
  try {
    const sender = await readSender(request, services.apiKeys, services.trustedProxies);
    const calls = new RequestCalls(sender, services);
    calls.record(calls.begin(request.path, request.method === 'GET' ? 'READ' : 'EXECUTE', undefined), error.code, {
      statusCode: errorCatalogue[error.code].httpStatus,
    });
    await calls.flush();
  } catch (failure) {
    sent = toDaybookError(failure);
  }
  response.status(errorCatalogue[sent.code].httpStatus).json(errorBody(sent, services.redactor));
}
