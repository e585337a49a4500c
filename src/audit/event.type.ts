import { Field, ID, InputType, ObjectType, registerEnumType } from 'type-graphql';
import { Sensitive } from '../access/sensitive.js';
import { DateTimeScalar, DecimalScalar } from '../graphql/scalars.js';
import { AuditEntry } from './audit-entry.type.js';

enum OrderSide {
  BUY = 'BUY',
  SELL = 'SELL',
}
registerEnumType(OrderSide, { name: 'OrderSide' });

export enum AlertSeverity {
  INFO = 'INFO',
  WARNING = 'WARNING',
  ERROR = 'ERROR',
  CRITICAL = 'CRITICAL',
}
registerEnumType(AlertSeverity, { name: 'AlertSeverity' });

/** What every event may carry. */
@InputType()
abstract class EventFields {
  @Field(() => DateTimeScalar, { nullable: true, description: 'When it happened; else the recording time.' })
  occurredAt?: string;

  @Field(() => String, {
    nullable: true,
    description: 'Up to 200 characters: a retry with the same key returns the first result.',
  })
  idempotencyKey?: string;
}

@InputType()
abstract class OrderFields extends EventFields {
  @Field(() => String) symbol!: string;
  @Field(() => OrderSide) side!: OrderSide;
  @Field(() => DecimalScalar, { description: 'Above 0.' }) quantity!: string;
  @Field(() => String, { nullable: true, description: "The broker's id of the deal." }) dealId?: string;
  @Field(() => ID, { nullable: true, description: 'The signal that led to it.' }) signalId?: string;
}

@InputType({ description: 'The broker accepted an order.' })
export class OrderAcceptedInput extends OrderFields {
  @Field(() => String) orderId!: string;
  @Field(() => DecimalScalar, { nullable: true, description: 'Above 0; absent for a market order.' }) price?: string;
  @Field(() => String, { nullable: true, description: 'As in MARKET, LIMIT, STOP.' }) orderType?: string;
  @Field(() => DecimalScalar, { nullable: true }) stopLoss?: string;
  @Field(() => DecimalScalar, { nullable: true }) targetPrice?: string;
}

@InputType({ description: 'A part of an order was filled; quantity is that part.' })
export class PartiallyFilledInput extends OrderFields {
  @Field(() => String) orderId!: string;
  @Field(() => DecimalScalar, { description: 'Above 0.' }) price!: string;
  @Field(() => DecimalScalar, { nullable: true, description: '0 or above.' }) remainingQuantity?: string;
  @Field(() => DecimalScalar, { nullable: true }) fee?: string;
}

@InputType({ description: 'An order was filled to its end.' })
export class FilledInput extends OrderFields {
  @Field(() => String) orderId!: string;
  @Field(() => DecimalScalar, { description: 'Above 0.' }) price!: string;
  @Field(() => DecimalScalar, { nullable: true }) fee?: string;
}

@InputType({ description: 'The broker, or a check before it, rejected an order.' })
export class RejectedInput extends OrderFields {
  @Field(() => String, { nullable: true }) orderId?: string;
  @Field(() => DecimalScalar, { nullable: true }) price?: string;
  @Field(() => String, { description: 'Why.' }) message!: string;
}

@InputType({ description: 'The stop of an open position was moved.' })
export class StopUpdatedInput extends EventFields {
  @Field(() => String) symbol!: string;
  @Field(() => String, { nullable: true }) orderId?: string;
  @Field(() => String, { nullable: true }) dealId?: string;
  @Field(() => ID, { nullable: true }) signalId?: string;
  @Field(() => DecimalScalar, { nullable: true, description: 'The stop before.' }) oldValue?: string;
  @Field(() => DecimalScalar, { description: 'The stop from now on; above 0.' }) newValue!: string;
}

@InputType({ description: 'Somebody was alerted.' })
export class AlertSentInput extends EventFields {
  @Field(() => String, { description: 'As in PRICE, RISK, SYSTEM.' }) alertType!: string;
  @Field(() => AlertSeverity) severity!: AlertSeverity;
  @Field(() => String) message!: string;
  @Field(() => String, { nullable: true }) symbol?: string;
  @Field(() => String, { nullable: true }) orderId?: string;
  @Field(() => ID, { nullable: true }) signalId?: string;
  @Field(() => String, { nullable: true, description: 'As in email, pager.' }) channel?: string;
}

@InputType({ description: 'A person logged in to one of the systems around the ledger, or failed to.' })
export class LoginInput extends EventFields {
  @Field(() => String) user!: string;
  @Field(() => String, { nullable: true, description: 'Address the person came from.' }) sourceIp?: string;
  @Field(() => Boolean, { defaultValue: true }) succeeded!: boolean;
  @Field(() => String, { nullable: true }) message?: string;
}

@InputType({ description: 'A person logged out.' })
export class LogoutInput extends EventFields {
  @Field(() => String) user!: string;
  @Field(() => String, { nullable: true }) sourceIp?: string;
}

@InputType({ description: 'A configuration was changed. Values under secret names are stored as keyed HMACs.' })
export class ConfigChangedInput extends EventFields {
  @Field(() => String, { description: 'Which configuration, as in risk-limits.' }) configType!: string;
  @Field(() => String, { nullable: true }) filePath?: string;
  @Sensitive()
  @Field(() => String, { nullable: true, description: 'Recorded as its mark where the configuration names secrets.' })
  oldValue?: string;

  @Sensitive()
  @Field(() => String, { nullable: true, description: 'Recorded as its mark where the configuration names secrets.' })
  newValue?: string;

  @Field(() => String, { nullable: true }) user?: string;
  @Field(() => String, { nullable: true }) approvedBy?: string;
  @Field(() => DateTimeScalar, { nullable: true }) approvedAt?: string;
  @Field(() => String, { nullable: true, description: 'The change request.' }) ticket?: string;
  @Field(() => String, { nullable: true }) message?: string;
}

@InputType({ description: 'A trading program started.' })
export class BotStartedInput extends EventFields {
  @Field(() => String) bot!: string;
  @Field(() => String, { nullable: true }) version?: string;
  @Field(() => String, { nullable: true }) user?: string;
  @Field(() => String, { nullable: true }) message?: string;
}

@InputType({ description: 'A trading program stopped.' })
export class BotStoppedInput extends EventFields {
  @Field(() => String) bot!: string;
  @Field(() => String, { nullable: true }) user?: string;
  @Field(() => String, { nullable: true, description: 'Why.' }) message?: string;
}

@InputType({ description: 'Money came in or went out.' })
export class PaymentRecordedInput extends EventFields {
  @Field(() => String) paymentId!: string;
  @Field(() => DecimalScalar, { description: 'Negative for money that went out.' }) amount!: string;
  @Field(() => String, { description: 'ISO 4217 code or a ticker of 3 to 10 letters and digits.' }) currency!: string;
  @Field(() => String, { nullable: true }) user?: string;
  @Field(() => String, { nullable: true }) ticket?: string;
  @Field(() => String, { nullable: true }) message?: string;
}

@InputType({ description: 'Exactly one event.' })
export class EventInput {
  @Field(() => OrderAcceptedInput, { nullable: true }) orderAccepted?: OrderAcceptedInput;
  @Field(() => PartiallyFilledInput, { nullable: true }) partiallyFilled?: PartiallyFilledInput;
  @Field(() => FilledInput, { nullable: true }) filled?: FilledInput;
  @Field(() => RejectedInput, { nullable: true }) rejected?: RejectedInput;
  @Field(() => StopUpdatedInput, { nullable: true }) stopUpdated?: StopUpdatedInput;
  @Field(() => AlertSentInput, { nullable: true }) alertSent?: AlertSentInput;
  @Field(() => LoginInput, { nullable: true }) login?: LoginInput;
  @Field(() => LogoutInput, { nullable: true }) logout?: LogoutInput;
  @Field(() => ConfigChangedInput, { nullable: true }) configChanged?: ConfigChangedInput;
  @Field(() => BotStartedInput, { nullable: true }) botStarted?: BotStartedInput;
  @Field(() => BotStoppedInput, { nullable: true }) botStopped?: BotStoppedInput;
  @Field(() => PaymentRecordedInput, { nullable: true }) paymentRecorded?: PaymentRecordedInput;
}

@InputType()
export class RecordEventsInput {
  @Field(() => [EventInput], { description: 'Up to 1,000, all or nothing.' }) events!: EventInput[];
}

@ObjectType({ simpleResolvers: true })
export class RecordEventsPayload {
  @Field(() => [AuditEntry], { description: 'In the order of the input.' }) entries!: AuditEntry[];
}
