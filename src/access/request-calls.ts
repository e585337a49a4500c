import { randomUUID } from 'node:crypto';
import type { Clock } from '../clock.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { toDaybookError } from '../ledger/database-errors.js';
import type { AppendRequest, AppendResult } from '../ledger/commit-batch.js';
import type { AuditAction, CallOrigin, NewAuditEntry } from '../ledger/new-entries.js';
import type { Principal } from './principal.js';
import type { RedactedArguments, Redactor } from './redact.js';

/** Arguments longer than this as JSON are recorded by size and hash; the entry itself must stay below 65,535 bytes. */
const argumentsBytesMax = 4_096;
/** Redactions that an entry names; beyond them it gives their number alone. */
const redactionsNamedMax = 100;
/** Longest resource and user agent, and longest id, that the columns hold. */
const textCharactersMax = 1_000;
const idCharactersMax = 200;
const addressCharactersMax = 100;

/** What a request tells about its sender before anything is executed. */
export interface CallSender {
  readonly principal: Principal | null;
  readonly ipAddress: string | null;
  readonly userAgent: string | null;
  readonly sessionId: string;
  readonly requestId: string;
  /** `POST` or `GET`, `WS` for a call over a WebSocket. */
  readonly method: string;
}

/** The append that a call's entries go through; the group-committing writer in the service. */
export type Append = (request: AppendRequest) => Promise<AppendResult>;

export interface CallServices {
  readonly append: Append;
  readonly redactor: Redactor;
  readonly clock: Clock;
}

/** A call that has begun: root field or REST path, when, and with which arguments. */
export interface Call {
  readonly resource: string;
  readonly action: AuditAction;
  readonly startedAtMs: number;
  readonly arguments: RedactedArguments;
}

/**
 * The calls of one request and the entries they leave. An entry either commits inside the call's own transaction
 * (`appendWithCall`) or waits here until `flush`, which every response awaits: no response leaves before its entries.
 */
export class RequestCalls {
  #origin: CallOrigin | undefined;
  readonly #senderRules: string[] = [];
  readonly #services: CallServices;
  readonly #sender: CallSender;
  readonly #waiting: NewAuditEntry[] = [];
  readonly #recordedCalls = new WeakSet<Call>();
  #recorded = 0;

  constructor(sender: CallSender, services: CallServices) {
    this.#sender = sender;
    this.#services = services;
  }

  /** Who calls, as each entry of the call says it. */
  get origin(): CallOrigin {
    return (this.#origin ??= this.#describeSender());
  }

  get principal(): Principal | null {
    return this.#sender.principal;
  }

  /** True once a call of this request left an entry, or has one waiting. */
  get hasEntries(): boolean {
    return this.#recorded + this.#waiting.length > 0;
  }

  /** `resource`: name of a root field, whose arguments the schema describes; else a path, whose query is free-form. */
  begin(resource: string, action: AuditAction, args: unknown): Call {
    const { clock, redactor } = this.#services;
    const startedAtMs = clock.nowMs();
    return { resource, action, startedAtMs, arguments: redactor.redactArguments(resource, args) };
  }

  /** True when the call's entry is durable already. */
  isRecorded(call: Call): boolean {
    return this.#recordedCalls.has(call);
  }

  /** Leaves the call's entry to `flush`. */
  record(call: Call, outcome: string, extra: Readonly<Record<string, string | number>> = {}): void {
    this.#waiting.push(this.#entryOf(call, outcome, extra));
  }

  /**
   * Appends rows and the call's entry in one transaction, so that neither is there without the other. Of a call that appends
   * several times the first has the entry.
   */
  async appendWithCall(call: Call, request: Omit<AppendRequest, 'callEntries'>): Promise<AppendResult> {
    if (this.isRecorded(call)) return this.#services.append(request);
    const result = await this.#services.append({ ...request, callEntries: [this.#entryOf(call, 'OK', {})] });
    this.#recorded += 1;
    this.#recordedCalls.add(call);
    return result;
  }

  /** Makes what waits durable. Throws what the writer throws; then the response must be withheld. */
  async flush(): Promise<void> {
    const callEntries = this.#waiting.splice(0);
    if (callEntries.length === 0) return;
    await this.#services.append({ callEntries });
    this.#recorded += callEntries.length;
  }

  /** Whatever the client says of itself may hold a secret, ids included: a token has the form of one. */
  #describeSender(): CallOrigin {
    const { principal, ipAddress, userAgent, sessionId, requestId } = this.#sender;
    const shown = (column: string, text: string, charactersMax: number) =>
      this.#services.redactor
        .redactText(text, (rule) => this.#senderRules.push(`${rule} ${column}`))
        .slice(0, charactersMax)
        .toWellFormed();
    return {
      actor: principal?.name ?? null,
      role: principal?.role ?? null,
      ipAddress: ipAddress === null ? null : shown('ipAddress', ipAddress, addressCharactersMax),
      userAgent: userAgent === null ? null : shown('userAgent', userAgent, textCharactersMax),
      sessionId: shown('sessionId', sessionId, idCharactersMax),
      requestId: shown('requestId', requestId, idCharactersMax),
    };
  }

  #entryOf(call: Call, outcome: string, extra: Readonly<Record<string, string | number>>): NewAuditEntry {
    const { origin } = this;
    const { redactor, clock } = this.#services;
    const ofResource: string[] = [];
    const resource = redactor.redactText(call.resource, (rule) => ofResource.push(`${rule} resource`));
    return {
      ...origin,
      category: 'API',
      event: 'ApiCall',
      action: call.action,
      resource: resource.slice(0, textCharactersMax).toWellFormed(),
      signalId: null,
      outcome,
      occurredAt: null,
      idempotencyKey: null,
      inputHash: null,
      details: encodeCanonicalJson({
        ...extra,
        arguments: redactor.fit(call.arguments.value, argumentsBytesMax),
        durationMs: Math.max(0, Math.round(clock.nowMs() - call.startedAtMs)),
        keyId: this.#sender.principal?.keyId,
        method: this.#sender.method,
        ...describeRedactions([...this.#senderRules, ...ofResource, ...call.arguments.rules]),
      }),
      oldData: null,
      newData: null,
    };
  }
}

/** What an entry says of its redactions: the first of them, and how many there are where it does not name all. */
export function describeRedactions(rules: readonly string[]): Readonly<Record<string, readonly string[] | number>> {
  if (rules.length === 0) return {};
  if (rules.length <= redactionsNamedMax) return { redacted: rules };
  return { redacted: rules.slice(0, redactionsNamedMax), redactedInAll: rules.length };
}

/** The code by which an error is known to callers and in the audit log. */
export function outcomeOf(error: unknown): string {
  return toDaybookError(error).code;
}

/** A request id: the caller's own when it is short and harmless, else a new one. */
export function requestIdFrom(header: string | undefined): string {
  return header !== undefined && /^[A-Za-z0-9._:-]{1,100}$/.test(header) ? header : randomUUID();
}
