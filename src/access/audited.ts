import { UseMiddleware, type MiddlewareFn } from 'type-graphql';
import { DaybookError } from '../errors.js';
import { toDaybookError } from '../ledger/database-errors.js';
import type { AuditAction } from '../ledger/new-entries.js';
import type { RequestContext } from './request-context.js';
import type { Call, RequestCalls } from './request-calls.js';
import { Role } from './principal.js';

/** Every role, for fields that any valid key may use. */
export const anyRole: readonly Role[] = Object.values(Role);

/** Roles that may read the audit log. */
export const auditReaders: readonly Role[] = [Role.MONITOR, Role.AUDITOR, Role.ADMIN];

/**
 * Marks a root field: only the given roles may use it, and each use leaves an `ApiCall` entry with its outcome, refused
 * ones too. A mutation that commits its entry itself (`appendWithCall`) leaves no second one.
 */
export function Audited(action: AuditAction, roles: readonly Role[]): MethodDecorator & PropertyDecorator {
  const middleware: MiddlewareFn<RequestContext> = async ({ context, args, info }, next) => {
    const { calls } = context;
    const call = calls.begin(info.fieldName, action, args);
    if (info.parentType.name === 'Mutation') {
      context.currentCall = call;
      // Nothing that the rules find reaches what a mutation stores, answers or hashes; what is marked @sensitive does.
      Object.assign(args, call.arguments.passed);
    }
    try {
      requireRole(calls, roles);
      const result: unknown = await next();
      if (!calls.isRecorded(call)) calls.record(call, 'OK');
      return result;
    } catch (error) {
      const mapped = toDaybookError(error);
      calls.record(call, mapped.code);
      throw mapped;
    }
  };
  return UseMiddleware(middleware);
}

/** Throws UNAUTHENTICATED without a valid key, FORBIDDEN for a role that is not listed. */
export function requireRole(calls: RequestCalls, roles: readonly Role[]): void {
  const { principal } = calls;
  if (principal === null) {
    throw new DaybookError('UNAUTHENTICATED', 'send a valid API key, as in Authorization: Bearer <key>');
  }
  if (!roles.includes(principal.role)) {
    throw new DaybookError('FORBIDDEN', `the role ${principal.role} may not use this; it takes ${roles.join(', ')}`);
  }
}

/** The mutation under way, for operations that commit its entry with their own rows. */
export function currentCall(context: RequestContext): Call {
  if (context.currentCall === undefined) throw new DaybookError('INTERNAL', 'a mutation ran outside its call');
  return context.currentCall;
}
