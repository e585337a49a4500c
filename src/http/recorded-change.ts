import type { Request, RequestHandler, Response } from 'express';
import { requireRole } from '../access/audited.js';
import type { Role } from '../access/principal.js';
import { RequestCalls, type Append } from '../access/request-calls.js';
import type { AuditAction } from '../ledger/new-entries.js';
import type { CallOrigin } from '../ledger/new-entries.js';
import type { RestServices } from './rest-calls.js';

export interface ChangeOptions {
  /** The GraphQL mutation that does the same: its marks say which members of the body are secrets. */
  readonly mutation: string;
  readonly action: AuditAction;
  readonly roles: readonly Role[];
}

export interface ChangeRequest {
  readonly body: Readonly<Record<string, unknown>>;
  readonly origin: CallOrigin;
  /** Appends together with the call's own entry. */
  readonly append: Append;
}

/**
 * A route that changes something by a JSON body, for keys of some roles. The change and the call's entry commit together; what
 * `handler` returns is the answer.
 */
export function recordedChange(
  services: RestServices,
  { mutation, action, roles }: ChangeOptions,
  readSender: (request: Request) => Promise<ConstructorParameters<typeof RequestCalls>[0]>,
  handler: (change: ChangeRequest) => Promise<object>,
): RequestHandler {
  return async (request: Request, response: Response) => {
    const calls = new RequestCalls(await readSender(request), services);
    const body = (request.body ?? {}) as Readonly<Record<string, unknown>>;
    const call = calls.begin(mutation, action, { input: body });
    requireRole(calls, roles);
    const append: Append = (rows) => calls.appendWithCall(call, rows);
    const { input } = (call.arguments.passed ?? {}) as { input?: Readonly<Record<string, unknown>> };
    const answer = await handler({ body: input ?? {}, origin: calls.origin, append });
    if (!calls.isRecorded(call)) calls.record(call, 'OK', { statusCode: 200 });
    await calls.flush();
    response.json(answer);
  };
}
