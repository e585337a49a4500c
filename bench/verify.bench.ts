import pg from 'pg';
import { ledgerConnection } from '../src/db/pool.js';
import { integrateTiles } from '../src/ledger/integrate-tiles.js';
import { logs, selectList, type LogName } from '../src/ledger/rows.js';
import { verifyLogs } from '../src/ledger/verify-log.js';
import { rowRules } from '../src/ledger/verify-rows.js';
import { startBenchDatabase, type BenchDatabase } from './bench-database.js';
import type { Bench, BenchContext, Comparison } from './comparison.js';
import { compare, measureInTurns } from './measure-pairs.js';
import { storeEntriesInBulk } from './store-in-bulk.js';
import { storeRows } from './store-rows.js';

const signalsStored = 10_000;
const entriesStored = 20_000;
/** Each signal has an audit entry of its own. */
const rowsOfSmall = signalsStored * 2 + entriesStored;
const entriesOfLarge = 1_000_000;
const fetchRows = 500;
const names: readonly LogName[] = ['signals', 'audit'];
/** Of the rate of reading: checking may take one and a half times as long as reading takes. */
const target = { atLeast: 0.4 };

/**
 * Full verification of both logs with their tiles, every body, hash, link, pair and leaf, against reading and decoding the
 * same columns on one connection: a ledger that one thread verifies, and one that is worth several.
 */
export const verify: Bench = async (context) => [
  await measure(context, rowsOfSmall, { rounds: 7, warmUpRounds: 2 }, (database) =>
    storeRows(database, signalsStored, entriesStored),
  ),
  await measure(context, entriesOfLarge, { rounds: 3, warmUpRounds: 1 }, (database) =>
    storeEntriesInBulk(database, entriesOfLarge, context.signal),
  ),
];

async function measure(
  { progress, signal }: BenchContext,
  rowsStored: number,
  counts: { readonly rounds: number; readonly warmUpRounds: number },
  store: (database: BenchDatabase) => Promise<void>,
): Promise<Comparison> {
  await using database = await startBenchDatabase();
  progress(0, `storing ${rowsStored} rows`);
  await store(database);
  await storeTiles(database.urls.application, rowsStored);
  const url = database.urls.auditor;
  const samples = await measureInTurns({
    progress,
    signal,
    doing: `verifying ${rowsStored} rows`,
    ...counts,
    measure: {
      reading: () => rowsPerSecond(rowsStored, () => readRows(url)),
      verifying: () => rowsPerSecond(rowsStored, () => verifyRows(url, signal)),
    },
  });
  return compare(samples, 'verifying', 'reading', {
    bench: 'verify',
    what: `both logs verified in full, ${rowsStored} rows`,
    baselineIs: 'reading and decoding the same columns',
    unit: 'rows/s',
    target,
  });
}

async function storeTiles(url: string, entriesMax: number): Promise<void> {
  const client = new pg.Client(ledgerConnection(url, 'daybook bench'));
  await client.connect();
  try {
    for (const log of names) {
      const found = await client.query<{ entries: string }>(
        `SELECT count(*) AS entries FROM public.${logs[log].table}`,
      );
      await integrateTiles(client, log, Number(found.rows[0]?.entries ?? 0), entriesMax);
    }
  } finally {
    await client.end();
  }
}

async function verifyRows(url: string, signal: AbortSignal): Promise<number> {
  const verifications = await verifyLogs({ source: { url }, logs: names, signal });
  const [broken] = verifications.flatMap(({ firstBreak }) => firstBreak ?? []);
  if (broken !== undefined) throw new Error(`the bench's own log is broken: ${JSON.stringify(broken)}`);
  return verifications.reduce((sum, { entries }) => sum + entries, 0);
}

async function rowsPerSecond(rowsStored: number, work: () => Promise<number>): Promise<number> {
  const startedMs = performance.now();
  const rows = await work();
  if (rows !== rowsStored) throw new Error(`${rows} rows were read, ${rowsStored} were stored`);
  return (rows * 1000) / (performance.now() - startedMs);
}

/** Reads both logs in order through a cursor, the next batch on its way while the last one is counted. */
async function readRows(url: string): Promise<number> {
  const client = new pg.Client(ledgerConnection(url, 'daybook bench'));
  await client.connect();
  let rows = 0;
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    for (const log of names) {
      await client.query(`DECLARE reading NO SCROLL CURSOR FOR SELECT ${selectList(rowRules[log].columns)}, xid, xmin
        FROM public.${logs[log].table} ORDER BY chain_index`);
      const fetchNext = () => client.query(`FETCH ${fetchRows} FROM reading`);
      let upcoming = fetchNext();
      for (;;) {
        const fetched = await upcoming;
        if (fetched.rows.length === 0) break;
        upcoming = fetchNext();
        rows += fetched.rows.length;
      }
      await client.query('CLOSE reading');
    }
    await client.query('ROLLBACK');
  } finally {
    await client.end();
  }
  return rows;
}
