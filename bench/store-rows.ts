import { pino } from 'pino';
import { LedgerWriter } from '../src/ledger/append-entries.js';
import type { BenchDatabase } from './bench-database.js';
import { numbered, sampleEntry, sampleSignal } from './sample-rows.js';

const batchRows = 1_000;

/** A writer as the service has it. */
export function openWriter({ urls }: BenchDatabase): LedgerWriter {
  return new LedgerWriter({ url: urls.application, queueRowsMax: 20_000, log: pino({ level: 'silent' }) });
}

/** Fills the logs: `signals` leave as many audit entries again. Counts are multiples of 1,000. */
export async function storeRows(database: BenchDatabase, signals: number, entries: number): Promise<void> {
  await using writer = openWriter(database);
  const makeSignals = numbered(sampleSignal);
  const makeEntries = numbered(sampleEntry);
  for (let stored = 0; stored < signals; stored += batchRows) {
    await writer.append({ signals: makeSignals(batchRows) });
  }
  for (let stored = 0; stored < entries; stored += batchRows) {
    await writer.append({ callEntries: makeEntries(batchRows) });
  }
}
