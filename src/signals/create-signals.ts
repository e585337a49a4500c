import { randomUUID } from 'node:crypto';
import { currentCall } from '../access/audited.js';
import { hashInput } from '../core/canonical-json.js';
import { compareDecimals } from '../core/decimal.js';
import { DaybookError } from '../errors.js';
import type { RequestContext } from '../access/request-context.js';
import type { NewSignal } from '../ledger/new-entries.js';
import type { SignalRow } from '../ledger/rows.js';
import type { CreateSignalInput } from './signal.type.js';
import { templateRationale } from './template-rationale.js';

/** Most signals of one mutation: a transaction of a size that other callers can wait for. */
const signalsPerCallMax = 1_000;

/**
 * Records signals, all or nothing, with the call's audit entry in the same transaction. Throws BAD_USER_INPUT naming item
 * and field, BATCH_TOO_LARGE, ENTRY_TOO_LARGE, NOT_FOUND (supersedes), ALREADY_SUPERSEDED, SIGNAL_ID_TAKEN,
 * IDEMPOTENCY_CONFLICT, and the writer's own errors.
 */
export async function createSignals(
  context: RequestContext,
  inputs: readonly CreateSignalInput[],
): Promise<{ signals: readonly SignalRow[]; replayed: number }> {
  if (inputs.length > signalsPerCallMax) {
    throw new DaybookError(
      'BATCH_TOO_LARGE',
      `${inputs.length} signals: at most ${signalsPerCallMax} fit into one call`,
    );
  }
  if (inputs.length === 0) throw new DaybookError('BAD_USER_INPUT', 'signals is empty: give at least one');
  const signals = inputs.map((input, itemIndex) => newSignal(context, input, itemIndex));
  const result = await context.calls.appendWithCall(currentCall(context), { signals });
  return { signals: result.signals, replayed: result.replayedSignals };
}

function newSignal(context: RequestContext, input: CreateSignalInput, itemIndex: number): NewSignal {
  check(input, itemIndex);
  const { origin } = context.calls;
  const idempotencyKey = input.idempotencyKey ?? null;
  const given = { ...input, signalId: input.signalId ?? undefined };
  return {
    signalId: input.signalId ?? randomUUID(),
    symbol: input.symbol,
    action: input.action,
    entryPrice: input.entryPrice,
    targetPrice: input.targetPrice ?? null,
    stopLoss: input.stopLoss ?? null,
    confidence: input.confidence,
    strategy: input.strategy ?? null,
    rationale: input.rationale ?? templateRationale(input),
    rationaleOrigin: input.rationale === undefined || input.rationale === null ? 'TEMPLATE' : 'CALLER',
    supersedes: input.supersedes ?? null,
    producer: origin.actor ?? 'unknown',
    ipAddress: origin.ipAddress,
    sessionId: origin.sessionId,
    requestId: origin.requestId,
    idempotencyKey,
    inputHash: idempotencyKey === null ? null : hashInput(given),
    generatedAt: input.generatedAt ?? null,
  };
}

/** Texts that others refer to: a mark in place of a secret would be none of them. */
const identifying: ReadonlySet<string> = new Set(['symbol', 'signalId', 'supersedes']);

/** The same rules as the table's constraints, checked here so that the message can name the item. */
function check(input: CreateSignalInput, itemIndex: number): void {
  const refuse = (field: string, rule: string): never => {
    throw new DaybookError('BAD_USER_INPUT', `signals[${itemIndex}].${field} ${rule}`, {
      details: { itemIndex, field },
    });
  };
  for (const field of ['symbol', 'strategy', 'rationale', 'idempotencyKey', 'signalId', 'supersedes'] as const) {
    const text = input[field];
    if (text === undefined || text === null) continue;
    if (!text.isWellFormed()) refuse(field, 'holds a lone surrogate: send well-formed Unicode');
    if (text.includes('\0')) refuse(field, 'holds a NUL character: remove it');
    if (identifying.has(field) && text.includes('[redacted ')) refuse(field, 'looks like a secret; choose another one');
  }
  if (!/^[A-Za-z0-9^][A-Za-z0-9._:/=^-]{0,63}$/.test(input.symbol)) {
    refuse('symbol', 'must have 1 to 64 of: letters, digits, . _ : / = ^ -');
  }
  if (
    input.signalId !== undefined &&
    input.signalId !== null &&
    !/^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/.test(input.signalId)
  ) {
    refuse('signalId', 'must start with a letter or digit and have 1 to 128 of: letters, digits, . _ : -');
  }
  for (const field of ['entryPrice', 'targetPrice', 'stopLoss'] as const) {
    const price = input[field];
    if (price !== undefined && price !== null && compareDecimals(price, '0') <= 0) refuse(field, 'must be above 0');
  }
  if (compareDecimals(input.confidence, '0') < 0 || compareDecimals(input.confidence, '1') > 0) {
    refuse('confidence', 'must lie between 0 and 1');
  }
  for (const field of ['strategy', 'idempotencyKey'] as const) {
    const text = input[field];
    if (text !== undefined && text !== null && (text.length < 1 || [...text].length > 200)) {
      refuse(field, 'must have 1 to 200 characters');
    }
  }
  checkRationale(input.rationale, refuse);
}

function checkRationale(rationale: string | null | undefined, refuse: (field: string, rule: string) => never): void {
  if (rationale === undefined || rationale === null) return;
  const meaningful = rationale.replaceAll(/^[ \t\r\n]+|[ \t\r\n]+$/g, '');
  const letters = [...meaningful];
  if (letters.length < 20) refuse('rationale', 'must have at least 20 characters');
  if (letters.every((letter) => letter === letters[0] || ' \t\r\n'.includes(letter))) {
    refuse('rationale', 'must be a text, not one repeated character');
  }
  if (Buffer.byteLength(rationale) > 65_535) {
    throw new DaybookError('ENTRY_TOO_LARGE', 'rationale alone exceeds the 65,535 bytes of an entry: shorten it');
  }
}
