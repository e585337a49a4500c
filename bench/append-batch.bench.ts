import type { LedgerWriter } from '../src/ledger/append-entries.js';
import type { AppendRequest } from '../src/ledger/commit-batch.js';
import { startBenchDatabase } from './bench-database.js';
import type { Bench, Comparison } from './comparison.js';
import { compare, measureInTurns, type Measure } from './measure-pairs.js';
import {
  businessColumns,
  connectAsWriter,
  insertPlainRows,
  inBatches,
  LedgerRows,
  type ColumnArrays,
} from './plain-rows.js';
import { createPlainTables } from './plain-tables.js';
import { numbered, sampleEntry, sampleSignal } from './sample-rows.js';
import { openWriter } from './store-rows.js';

const batchRows = 1_000;
const batchesPerRound = 5;
const roundRows = batchRows * batchesPerRound;
const rounds = 14;
const warmUpRounds = 3;
const target = { atLeast: 0.5 };

/** What is appended: one request per batch, which leaves `batchRows` rows in each of `tables`. */
interface Kind {
  readonly what: string;
  readonly tables: readonly string[];
  readonly makeRequest: () => AppendRequest;
}

const makeEntries = numbered(sampleEntry);
const makeSignals = numbered(sampleSignal);
const kinds: readonly Kind[] = [
  {
    what: 'audit entries',
    tables: ['audit_entries'],
    makeRequest: () => ({ callEntries: makeEntries(batchRows) }),
  },
  {
    what: 'audit entries, rows returned',
    tables: ['audit_entries'],
    makeRequest: () => ({ entries: makeEntries(batchRows) }),
  },
  {
    what: 'signals, each with its audit entry',
    tables: ['signals', 'audit_entries'],
    makeRequest: () => ({ signals: makeSignals(batchRows) }),
  },
];

/**
 * Appends of 1,000 rows, one after the other, against plain INSERTs that store the very same rows: every column, bodies
 * and hashes ready-made, the same statement form and transactions, the same indexes and constraints, no triggers.
 */
export const appendBatch: Bench = async ({ progress, signal }) => {
  await using database = await startBenchDatabase();
  await createPlainTables(database.urls, ['signals', 'audit_entries']);
  await using writer = openWriter(database);
  await using plain = await connectAsWriter(database.urls.application);

  const lines: Comparison[] = [];
  for (const [place, kind] of kinds.entries()) {
    const ours = appending(writer, kind);
    const plainRows = new LedgerRows(plain);
    const businessRows = new LedgerRows(plain);
    for (const table of kind.tables) for (const rows of [plainRows, businessRows]) await rows.skip(table);
    // Baselines store what ours recorded a round before.
    await ours();
    const samples = await measureInTurns({
      progress: (share, doing) => progress((place + share) / kinds.length, doing),
      signal,
      doing: kind.what,
      rounds,
      warmUpRounds,
      measure: {
        plain: inserting(plain, kind, async (table) => plainRows.take(table, roundRows)),
        ours,
        business: inserting(plain, kind, async (table) => businessColumns(await businessRows.take(table, roundRows))),
      },
    });
    const line = { bench: 'append-batch', what: kind.what, unit: 'rows/s' };
    lines.push(
      compare(samples, 'ours', 'plain', { ...line, baselineIs: 'plain INSERT of the same rows', target }),
      compare(samples, 'ours', 'business', {
        ...line,
        baselineIs: 'plain INSERT of the business columns only',
        target: null,
      }),
    );
  }
  return lines;
};

/** Requests per second times the rows of one: signals count once, not again as audit entries. */
function appending(writer: LedgerWriter, kind: Kind): Measure {
  return async () => {
    const requests = Array.from({ length: batchesPerRound }, kind.makeRequest);
    const startedMs = performance.now();
    for (const request of requests) await writer.append(request);
    return perSecond(startedMs);
  };
}

function inserting(
  client: Parameters<typeof insertPlainRows>[0],
  kind: Kind,
  take: (table: string) => Promise<ColumnArrays>,
): Measure {
  return async () => {
    const byTable: ColumnArrays[][] = [];
    for (const table of kind.tables) byTable.push(inBatches(await take(table), batchRows));
    const transactions = Array.from({ length: batchesPerRound }, (_, batch) =>
      byTable.flatMap((batches) => batches[batch] ?? []),
    );
    const startedMs = performance.now();
    for (const transaction of transactions) await insertPlainRows(client, transaction);
    return perSecond(startedMs);
  };
}

function perSecond(startedMs: number): number {
  return (roundRows * 1000) / (performance.now() - startedMs);
}
