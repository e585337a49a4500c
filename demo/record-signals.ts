import type { DaybookApi } from './daybook-api.js';
import type { SignalInput } from './derive-signals.js';

/** Signals of one call: few enough that progress shows, far below the 1,000 that one call may hold. */
const signalsPerCall = 25;

/** What the demo reads back of a recorded signal. */
export interface RecordedSignal {
  readonly id: string;
  readonly symbol: string;
  readonly action: 'BUY' | 'SELL';
  readonly entryPrice: string;
  readonly targetPrice: string;
  readonly stopLoss: string;
  readonly chainIndex: string;
}

const recordSignalsDocument = `mutation RecordSignals($input: CreateSignalsInput!) {
  createSignals(input: $input) {
    replayed
    signals { id symbol action entryPrice targetPrice stopLoss chainIndex }
  }
}`;

/**
 * Records signals in their order. `replayed` counts those that an earlier run had recorded: the service returned them
 * instead of recording them again.
 */
export async function recordSignals(
  producer: DaybookApi,
  inputs: readonly SignalInput[],
  onProgress: (recorded: number) => void,
): Promise<{ signals: RecordedSignal[]; replayed: number }> {
  const signals: RecordedSignal[] = [];
  let replayed = 0;
  while (signals.length < inputs.length) {
    const part = inputs.slice(signals.length, signals.length + signalsPerCall);
    const { createSignals } = await producer.call<{
      createSignals: { signals: RecordedSignal[]; replayed: number };
    }>(recordSignalsDocument, { input: { signals: part } });
    signals.push(...createSignals.signals);
    replayed += createSignals.replayed;
    onProgress(signals.length);
  }
  return { signals, replayed };
}
