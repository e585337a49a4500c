import { startBenchDatabase } from './bench-database.js';
import type { Bench } from './comparison.js';
import { compare, measureInTurns, median } from './measure-pairs.js';
import { connectAsWriter, insertPlainRow, insertPlainRows, inBatches, LedgerRows } from './plain-rows.js';
import { createPlainTables } from './plain-tables.js';
import { numbered, sampleEntry } from './sample-rows.js';
import { openWriter } from './store-rows.js';

const rounds = 12;
const warmUpRounds = 3;
/** Calls of one round, so that each side takes about a quarter of a second. */
const callsAlone = 150;
const transactionsOf16 = 60;
const callsOf16 = 1_600;
const callsOf256 = 7_680;

/** One event a call: how far callers that come together share a transaction, and how long each of them waits. */
export const appendSingle: Bench = async ({ progress, signal }) => {
  await using database = await startBenchDatabase();
  await createPlainTables(database.urls, ['audit_entries']);
  await using writer = openWriter(database);
  await using plain = await connectAsWriter(database.urls.application);
  const ledgerRows = new LedgerRows(plain);
  const makeEntries = numbered(sampleEntry);
  await writer.append({ callEntries: makeEntries(callsAlone + transactionsOf16 * 16) });

  let latenciesOf16: number[] = [];
  const append = (callers: number, calls: number) => async () => {
    const entries = makeEntries(calls);
    const { latenciesMs, seconds } = await callTogether(callers, calls, (call) =>
      writer.append({ callEntries: entries.slice(call, call + 1) }),
    );
    if (callers === 16) latenciesOf16 = latenciesMs;
    return calls / seconds;
  };
  const samples = await measureInTurns({
    progress,
    signal,
    doing: 'one event a call',
    rounds,
    warmUpRounds,
    measure: {
      plainP50: async () => {
        const rows = inBatches(await ledgerRows.take('audit_entries', callsAlone), 1);
        const { latenciesMs } = await callTogether(1, callsAlone, (call) => insertPlainRow(plain, rows[call]));
        return median(latenciesMs);
      },
      plainOf16P50: async () => {
        const rows = inBatches(await ledgerRows.take('audit_entries', transactionsOf16 * 16), 16);
        const { latenciesMs } = await callTogether(1, transactionsOf16, (call) =>
          insertPlainRows(plain, rows.slice(call, call + 1)),
        );
        return median(latenciesMs);
      },
      of16P50: async () => {
        await append(16, callsOf16)();
        return median(latenciesOf16);
      },
      alone: append(1, callsAlone),
      of256: append(256, callsOf256),
    },
  });
  const bench = 'append-single';
  return [
    compare(samples, 'of256', 'alone', {
      bench,
      what: '256 concurrent callers, events recorded',
      baselineIs: 'one caller',
      unit: 'events/s',
      target: { atLeast: 10 },
    }),
    compare(samples, 'of16P50', 'plainP50', {
      bench,
      what: '16 concurrent callers, p50 of a call',
      baselineIs: 'p50 of a plain autocommit INSERT, one connection',
      unit: 'ms',
      target: { atMost: 3 },
    }),
    compare(samples, 'of16P50', 'plainOf16P50', {
      bench,
      what: '16 concurrent callers, p50 of a call',
      baselineIs: 'p50 of a plain transaction of 16 such rows, one connection',
      unit: 'ms',
      target: null,
    }),
  ];
};

/** Makes `calls` calls from `callers` callers, each of which waits for its answer before its next call. */
async function callTogether(
  callers: number,
  calls: number,
  call: (number: number) => Promise<unknown>,
): Promise<{ latenciesMs: number[]; seconds: number }> {
  const latenciesMs: number[] = [];
  let next = 0;
  const caller = async () => {
    while (next < calls) {
      const calledMs = performance.now();
      await call(next++);
      latenciesMs.push(performance.now() - calledMs);
    }
  };
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: callers }, caller));
  return { latenciesMs, seconds: (performance.now() - startedMs) / 1000 };
}
