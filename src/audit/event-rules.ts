import { z } from 'zod';
import { compareDecimals } from '../core/decimal.js';
import type { AuditAction, AuditCategory } from '../ledger/new-entries.js';
import type { EventInput } from './event.type.js';

/** Text of a bounded length that UTF-8 and PostgreSQL can hold. */
function text(charactersMax: number) {
  return z
    .string()
    .min(1, 'must not be empty')
    .refine((value) => [...value].length <= charactersMax, `must have at most ${charactersMax} characters`)
    .refine((value) => value.isWellFormed(), 'holds a lone surrogate: send well-formed Unicode')
    .refine((value) => !value.includes('\0'), 'holds a NUL character: remove it');
}

const symbol = z
  .string()
  .regex(/^[A-Za-z0-9^][A-Za-z0-9._:/=^-]{0,63}$/, 'must have 1 to 64 of: letters, digits, . _ : / = ^ -');
const identifier = text(200);
const signalId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/, 'is not the id of a signal');
const positive = z.string().refine((value) => compareDecimals(value, '0') > 0, 'must be above 0');
const notNegative = z.string().refine((value) => compareDecimals(value, '0') >= 0, 'must not be negative');
const decimal = z.string();
const address = z.union([z.ipv4(), z.ipv6()], 'must be an IPv4 or IPv6 address');
const message = text(10_000);
const name = text(200);

const common = { occurredAt: z.string().nullish(), idempotencyKey: text(200).nullish() };
const order = {
  symbol,
  side: z.enum(['BUY', 'SELL']),
  quantity: positive,
  dealId: identifier.nullish(),
  signalId: signalId.nullish(),
};

/** How a typed event becomes an audit entry. */
interface EventRule {
  readonly event: string;
  readonly category: AuditCategory;
  readonly action: AuditAction;
  readonly schema: z.ZodObject;
  /** The field that says what it was done to. */
  readonly resource: string;
}

function rule(
  event: string,
  category: AuditCategory,
  action: AuditAction,
  resource: string,
  fields: z.ZodRawShape,
): EventRule {
  return { event, category, action, resource, schema: z.strictObject({ ...common, ...fields }) };
}

/** One rule per member of EventInput. */
export const eventRules: Readonly<Record<keyof EventInput, EventRule>> = {
  orderAccepted: rule('OrderAccepted', 'ORDER', 'CREATE', 'symbol', {
    ...order,
    orderId: identifier,
    price: positive.nullish(),
    orderType: text(50).nullish(),
    stopLoss: positive.nullish(),
    targetPrice: positive.nullish(),
  }),
  partiallyFilled: rule('PartiallyFilled', 'FILL', 'CREATE', 'symbol', {
    ...order,
    orderId: identifier,
    price: positive,
    remainingQuantity: notNegative.nullish(),
    fee: decimal.nullish(),
  }),
  filled: rule('Filled', 'FILL', 'CREATE', 'symbol', {
    ...order,
    orderId: identifier,
    price: positive,
    fee: decimal.nullish(),
  }),
  rejected: rule('Rejected', 'ORDER', 'CREATE', 'symbol', {
    ...order,
    orderId: identifier.nullish(),
    price: positive.nullish(),
    message,
  }),
  stopUpdated: rule('StopUpdated', 'ORDER', 'UPDATE', 'symbol', {
    symbol,
    orderId: identifier.nullish(),
    dealId: identifier.nullish(),
    signalId: signalId.nullish(),
    oldValue: positive.nullish(),
    newValue: positive,
  }),
  alertSent: rule('AlertSent', 'ALERT', 'CREATE', 'alertType', {
    alertType: text(100),
    severity: z.enum(['INFO', 'WARNING', 'ERROR', 'CRITICAL']),
    message,
    symbol: symbol.nullish(),
    orderId: identifier.nullish(),
    signalId: signalId.nullish(),
    channel: text(100).nullish(),
  }),
  login: rule('Login', 'AUTH', 'LOGIN', 'user', {
    user: name,
    sourceIp: address.nullish(),
    succeeded: z.boolean(),
    message: message.nullish(),
  }),
  logout: rule('Logout', 'AUTH', 'LOGOUT', 'user', { user: name, sourceIp: address.nullish() }),
  configChanged: rule('ConfigChanged', 'CONFIG', 'UPDATE', 'configType', {
    configType: text(200),
    filePath: text(1_000).nullish(),
    oldValue: message.nullish(),
    newValue: message.nullish(),
    user: name.nullish(),
    approvedBy: name.nullish(),
    approvedAt: z.string().nullish(),
    ticket: identifier.nullish(),
    message: message.nullish(),
  }),
  botStarted: rule('BotStarted', 'ADMIN', 'EXECUTE', 'bot', {
    bot: name,
    version: text(100).nullish(),
    user: name.nullish(),
    message: message.nullish(),
  }),
  botStopped: rule('BotStopped', 'ADMIN', 'EXECUTE', 'bot', {
    bot: name,
    user: name.nullish(),
    message: message.nullish(),
  }),
  paymentRecorded: rule('PaymentRecorded', 'ADMIN', 'CREATE', 'paymentId', {
    paymentId: identifier,
    amount: decimal,
    currency: z.string().regex(/^[A-Z0-9]{3,10}$/, 'must be a code of 3 to 10 capital letters and digits'),
    user: name.nullish(),
    ticket: identifier.nullish(),
    message: message.nullish(),
  }),
};
