import { currentCall } from '../access/audited.js';
import { encodeCanonicalJson, hashInput } from '../core/canonical-json.js';
import { DaybookError } from '../errors.js';
import type { RequestContext } from '../access/request-context.js';
import type { NewAuditEntry } from '../ledger/new-entries.js';
import type { AuditRow } from '../ledger/rows.js';
import { eventRules } from './event-rules.js';
import type { EventInput } from './event.type.js';

/** Most events of one mutation. */
const eventsPerCallMax = 1_000;

/**
 * Records typed events of the trading pipeline, all or nothing, with the call's entry in the same transaction. Throws
 * BAD_USER_INPUT naming item and field, BATCH_TOO_LARGE, ENTRY_TOO_LARGE, IDEMPOTENCY_CONFLICT and the writer's errors.
 */
export async function recordEvents(
  context: RequestContext,
  events: readonly EventInput[],
): Promise<{ entries: readonly AuditRow[] }> {
  if (events.length > eventsPerCallMax) {
    throw new DaybookError('BATCH_TOO_LARGE', `${events.length} events: at most ${eventsPerCallMax} fit into one call`);
  }
  if (events.length === 0) throw new DaybookError('BAD_USER_INPUT', 'events is empty: give at least one');
  const entries = events.map((event, itemIndex) => entryOf(context, event, itemIndex));
  const result = await context.calls.appendWithCall(currentCall(context), { entries });
  return { entries: result.entries };
}

function entryOf(context: RequestContext, event: EventInput, itemIndex: number): NewAuditEntry {
  const [kind] = (Object.keys(event) as (keyof EventInput)[]).filter((name) => event[name] !== undefined);
  if (kind === undefined) throw new DaybookError('BAD_USER_INPUT', `events[${itemIndex}] names no event`);
  const rule = eventRules[kind];
  const parsed = rule.schema.safeParse(event[kind]);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.path.join('.') ?? '';
    throw new DaybookError(
      'BAD_USER_INPUT',
      `events[${itemIndex}].${kind}.${field} ${issue?.message ?? 'is not usable'}`,
      {
        details: { itemIndex, field },
      },
    );
  }
  const { occurredAt, idempotencyKey, ...fields } = parsed.data as Record<string, string | boolean | null | undefined>;
  const details = describe(context, fields);
  const key = (idempotencyKey as string | null | undefined) ?? null;
  return {
    ...context.calls.origin,
    category: rule.category,
    event: rule.event,
    action: rule.action,
    resource: String(fields[rule.resource]),
    signalId: (fields.signalId as string | undefined) ?? null,
    outcome: fields.succeeded === false ? 'LOGIN_FAILED' : 'OK',
    occurredAt: (occurredAt as string | null | undefined) ?? null,
    idempotencyKey: key,
    inputHash: key === null ? null : hashInput(parsed.data),
    details,
    oldData: null,
    newData: null,
  };
}

/** The event's own fields as canonical JSON, secrets replaced by their marks. */
function describe(context: RequestContext, fields: Record<string, string | boolean | null | undefined>): string {
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined));
  const { value, rules } = context.services.redactor.redact(given);
  return encodeCanonicalJson({ ...(value as object), redacted: rules.length === 0 ? undefined : rules });
}
