import { compareDecimals, normalizeDecimal } from '../core/decimal.js';
import { DecimalSum } from '../core/decimal-sum.js';
import { formatTimestamp, parseTimestamp } from '../core/timestamp.js';
import type { JoinedEvent } from './trace-events.js';

export const executionStatuses = {
  EXECUTED: 'EXECUTED',
  PARTIALLY_EXECUTED: 'PARTIALLY_EXECUTED',
  REJECTED: 'REJECTED',
  PENDING: 'PENDING',
  NOT_EXECUTED: 'NOT_EXECUTED',
  SUPERSEDED: 'SUPERSEDED',
  ARCHIVED: 'ARCHIVED',
} as const;
export type ExecutionStatus = keyof typeof executionStatuses;

/** Longest part of a broker's message that a reason repeats, in characters. */
const messageLengthMax = 500;

/** What of a signal decides whether it was executed. */
export interface ClassifiedSignal {
  readonly action: string;
  readonly serverTimestamp: string;
  /** Id of the signal that corrects it. */
  readonly supersededBy: string | null;
}

/** What became of one order. Quantities are exact decimals; null where the log names none. */
interface TracedOrder {
  readonly orderId: string;
  readonly status: 'OPEN' | 'PARTIALLY_FILLED' | 'FILLED' | 'REJECTED';
  /** Of the last OrderAccepted. */
  readonly quantity: string | null;
  readonly filledQuantity: string;
  /** Whether an OrderAccepted is on record. */
  readonly accepted: boolean;
  readonly message: string | null;
}

export interface Classification {
  readonly status: ExecutionStatus;
  /** Derived from the record alone, one sentence. */
  readonly reason: string;
  readonly orders: readonly TracedOrder[];
  readonly orderedQuantity: string;
  readonly filledQuantity: string;
  /** Sum of quantity · price over the fills. */
  readonly filledNotional: string;
}

/** Says what became of a signal. `now`: RFC 3339; `windowMs`: how long an order may keep one waiting. */
export function classifySignal(
  signal: ClassifiedSignal,
  events: readonly JoinedEvent[],
  { now, windowMs }: { readonly now: string; readonly windowMs: number },
): Classification {
  const orders = traceOrders(events);
  const [ordered, filled, notional] = [new DecimalSum(), new DecimalSum(), new DecimalSum()];
  for (const { quantity } of orders) ordered.add(quantity ?? '0');
  for (const event of events.filter(isFill)) {
    const [quantity, price] = [decimalOf(event.quantity), decimalOf(event.price)];
    filled.add(quantity ?? '0');
    if (quantity !== null && price !== null) notional.addProduct(quantity, price);
  }
  const figures = {
    orders,
    orderedQuantity: ordered.toString(),
    filledQuantity: filled.toString(),
    filledNotional: notional.toString(),
  };
  const outcome =
    judgeFills(orders, events, figures) ?? judgeOrders(orders, events) ?? judgeSilence(signal, now, windowMs);
  return { ...outcome, ...figures };
}

type Outcome = Pick<Classification, 'status' | 'reason'>;

function judgeFills(
  orders: readonly TracedOrder[],
  events: readonly JoinedEvent[],
  { orderedQuantity, filledQuantity }: Pick<Classification, 'orderedQuantity' | 'filledQuantity'>,
): Outcome | null {
  if (!events.some(isFill)) return null;
  // An order that was refused without ever being accepted was sent anew; one that was accepted is a part not executed.
  const unfinished = orders.filter(
    ({ status, accepted }) => status !== 'FILLED' && (status !== 'REJECTED' || accepted),
  );
  const rejection = events.findLast(isRejection);
  const rejected = rejection === undefined ? '' : `; rejected: ${shorten(rejection.message)}`;
  const amount = `${filledQuantity} of ${orderedQuantity === '0' ? 'an unrecorded quantity' : orderedQuantity} filled`;
  if (unfinished.length === 0) return { status: 'EXECUTED', reason: `${amount}${rejected}` };
  const named = unfinished.map(({ orderId, status }) => `${orderId} (${status})`).slice(0, 5);
  return { status: 'PARTIALLY_EXECUTED', reason: `${amount}; not filled to the end: ${named.join(', ')}${rejected}` };
}

function judgeOrders(orders: readonly TracedOrder[], events: readonly JoinedEvent[]): Outcome | null {
  const open = orders.filter(({ status }) => status === 'OPEN');
  if (open.length > 0) {
    const named = open.map(({ orderId }) => orderId).slice(0, 5);
    return { status: 'PENDING', reason: `accepted and no fill recorded: ${named.join(', ')}` };
  }
  const rejection = events.findLast(isRejection);
  return rejection === undefined ? null : { status: 'REJECTED', reason: `rejected: ${shorten(rejection.message)}` };
}

/** Of a signal without any order. */
function judgeSilence(signal: ClassifiedSignal, now: string, windowMs: number): Outcome {
  if (signal.action === 'HOLD') return { status: 'NOT_EXECUTED', reason: 'HOLD: nothing was to be ordered' };
  if (signal.supersededBy !== null) {
    return { status: 'SUPERSEDED', reason: `superseded by ${signal.supersededBy} before an order was recorded` };
  }
  const until = formatTimestamp((parseTimestamp(signal.serverTimestamp) ?? 0n) + BigInt(windowMs) * 1_000n);
  if (now < until) return { status: 'PENDING', reason: `no order recorded yet; awaited until ${until}` };
  return { status: 'NOT_EXECUTED', reason: `no order recorded within ${windowMs / 60_000} minutes` };
}

interface OrderState {
  quantity: string | null;
  accepted: boolean;
  finished: boolean;
  rejected: boolean;
  message: string | null;
  readonly filled: DecimalSum;
}

/** Orders by their ids, in the order in which the log first names them. */
function traceOrders(events: readonly JoinedEvent[]): TracedOrder[] {
  const states = new Map<string, OrderState>();
  for (const event of events) {
    if (event.orderId === null || !orderEvents.has(event.event)) continue;
    const state = states.get(event.orderId) ?? {
      ...{ quantity: null, accepted: false, finished: false, rejected: false, message: null },
      filled: new DecimalSum(),
    };
    states.set(event.orderId, state);
    applyEvent(state, event);
  }
  return [...states].map(([orderId, state]) => {
    const filledQuantity = state.filled.toString();
    const isFilled =
      state.finished ||
      (state.quantity !== null && filledQuantity !== '0' && compareDecimals(filledQuantity, state.quantity) >= 0);
    const status = isFilled
      ? 'FILLED'
      : filledQuantity !== '0'
        ? 'PARTIALLY_FILLED'
        : state.rejected
          ? 'REJECTED'
          : 'OPEN';
    const { quantity, accepted, message } = state;
    return { orderId, status, quantity, filledQuantity, accepted, message };
  });
}

const orderEvents: ReadonlySet<string> = new Set(['OrderAccepted', 'PartiallyFilled', 'Filled', 'Rejected']);

function applyEvent(state: OrderState, event: JoinedEvent): void {
  if (event.event === 'OrderAccepted') {
    state.accepted = true;
    state.quantity = decimalOf(event.quantity) ?? state.quantity;
  } else if (event.event === 'Rejected') {
    state.rejected = true;
    state.message = event.message;
  } else {
    state.filled.add(decimalOf(event.quantity) ?? '0');
    state.finished ||= event.event === 'Filled' || decimalOf(event.remainingQuantity) === '0';
  }
}

function isFill({ event }: JoinedEvent): boolean {
  return event === 'PartiallyFilled' || event === 'Filled';
}

function isRejection({ event }: JoinedEvent): boolean {
  return event === 'Rejected';
}

/** A plain SQL insert may hold anything there: what is no decimal does not count. */
function decimalOf(text: string | null): string | null {
  return text !== null && /^-?\d{1,40}(\.\d{1,18})?$/.test(text) ? normalizeDecimal(text) : null;
}

function shorten(message: string | null): string {
  return message === null || message === '' ? 'without a message' : message.slice(0, messageLengthMax).toWellFormed();
}
