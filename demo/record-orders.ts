import type { DaybookApi } from './daybook-api.js';
import { producerName } from './demo-keys.js';
import type { RecordedSignal } from './record-signals.js';

/** What a broker would report about the order that followed a signal: accepted, filled in two parts, its stop moved. */
function orderEvents(signal: RecordedSignal): object[] {
  const { id: signalId, symbol, action: side, entryPrice: price } = signal;
  const orderId = `demo-order-${signalId}`;
  const order = { symbol, side, signalId, orderId };
  const key = (step: string) => `${producerName} ${orderId} ${step}`;
  return [
    {
      orderAccepted: { ...order, quantity: '10', price, orderType: 'LIMIT', idempotencyKey: key('accepted') },
    },
    {
      partiallyFilled: { ...order, quantity: '4', price, remainingQuantity: '6', idempotencyKey: key('filled-4') },
    },
    { filled: { ...order, quantity: '6', price, fee: '1.25', idempotencyKey: key('filled-6') } },
    {
      stopUpdated: {
        symbol,
        signalId,
        orderId,
        oldValue: signal.stopLoss,
        newValue: price,
        idempotencyKey: key('stop-moved'),
      },
    },
  ];
}

/** Records the events of all orders in one call, all or nothing. Returns the event names of the entries. */
export async function recordOrders(producer: DaybookApi, signals: readonly RecordedSignal[]): Promise<string[]> {
  const { recordEvents } = await producer.call<{ recordEvents: { entries: { event: string }[] } }>(
    'mutation RecordOrders($input: RecordEventsInput!) { recordEvents(input: $input) { entries { event } } }',
    { input: { events: signals.flatMap(orderEvents) } },
  );
  return recordEvents.entries.map(({ event }) => event);
}
