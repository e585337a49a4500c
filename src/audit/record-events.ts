import { currentCall } from '../access/audited.js';
import { describeRedactions, type Call } from '../access/request-calls.js';
import { sensitiveRule } from '../access/redaction-rules.js';
import { encodeCanonicalJson, hashInput } from '../core/canonical-json.js';
import { DaybookError } from '../errors.js';
import type { RequestContext } from '../access/request-context.js';
import type { NewAuditEntry } from '../ledger/new-entries.js';
import type { AuditRow } from '../ledger/rows.js';
import { eventRules } from './event-rules.js';
import type { EventInput } from './event.type.js';

/** Most events of one mutation. */
const eventsPerCallMax = 1_000;
/** Events with inputs marked `@sensitive`, which came as they were given: whether they are secrets depends on the event. */
export const kindsWithMarks: ReadonlySet<string> = new Set<keyof EventInput>(['configChanged']);
/** Characters that the column holds. */
const resourceCharactersMax = 1_000;

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
  const call = currentCall(context);
  const redactions = redactionsByItem(call);
  const entries = events.map((event, itemIndex) => entryOf(context, event, itemIndex, redactions.get(itemIndex) ?? []));
  const result = await context.calls.appendWithCall(call, { entries });
  return { entries: result.entries };
}

function entryOf(
  context: RequestContext,
  event: EventInput,
  itemIndex: number,
  redactions: readonly string[],
): NewAuditEntry {
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
  const { occurredAt, idempotencyKey, ...given } = parsed.data as Record<string, string | boolean | null | undefined>;
  const { value, rules } = kindsWithMarks.has(kind)
    ? context.services.redactor.redact(given)
    : { value: given, rules: [] };
  const fields = value as Record<string, string | boolean | null | undefined>;
  const key = (idempotencyKey as string | null | undefined) ?? null;
  return {
    ...context.calls.origin,
    category: rule.category,
    event: rule.event,
    action: rule.action,
    resource: String(fields[rule.resource]).slice(0, resourceCharactersMax),
    signalId: (fields.signalId as string | undefined) ?? null,
    outcome: fields.succeeded === false ? 'LOGIN_FAILED' : 'OK',
    occurredAt: (occurredAt as string | null | undefined) ?? null,
    idempotencyKey: key,
    // Over the marks: a plain hash would let a short secret be guessed.
    inputHash: key === null ? null : hashInput({ ...parsed.data, ...fields }),
    details: describe(fields, [...redactions, ...rules]),
    oldData: null,
    newData: null,
  };
}

/** The event's own fields as canonical JSON, secrets replaced by their marks, and what was replaced. */
function describe(
  fields: Readonly<Record<string, string | boolean | null | undefined>>,
  redactions: readonly string[],
): string {
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined));
  return encodeCanonicalJson({ ...given, ...describeRedactions(redactions) });
}

/** `rule /field` of what was redacted in each event before it came here, by the event's place. */
function redactionsByItem(call: Call): ReadonlyMap<number, readonly string[]> {
  const byItem = new Map<number, string[]>();
  for (const redaction of call.arguments.rules) {
    const [, rule = '', place, field = ''] = /^(\S+) \/input\/events\/(\d+)\/[^/]+(\/.*)$/.exec(redaction) ?? [];
    if (place === undefined || rule === sensitiveRule) continue;
    const item = byItem.get(Number(place)) ?? [];
    byItem.set(Number(place), item);
    item.push(`${rule} ${field}`);
  }
  return byItem;
}
