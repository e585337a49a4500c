import pg from 'pg';
import { ledgerConnection } from '../src/db/pool.js';
import { logs, selectList, type LogName } from '../src/ledger/rows.js';
import { verifyLogs } from '../src/ledger/verify-log.js';
import { rowRules } from '../src/ledger/verify-rows.js';
import { startBenchDatabase } from './bench-database.js';
import type { Bench } from './comparison.js';
import { compare, measureInTurns } from './measure-pairs.js';
import { storeRows } from './store-rows.js';

const signalsStored = 10_000;
const entriesStored = 20_000;
/** Each signal has an audit entry of its own. */
const rowsStored = signalsStored * 2 + entriesStored;
const rounds = 7;
const warmUpRounds = 2;
const fetchRows = 500;
const names: readonly LogName[] = ['signals', 'audit'];

/** Full verification of both logs, every body, hash, link and pair, against reading and decoding the same columns. */
export const verify: Bench = async ({ progress, signal }) => {
  await using database = await startBenchDatabase();
  progress(0, `storing ${rowsStored} rows`);
  await storeRows(database, signalsStored, entriesStored);
  const url = database.urls.auditor;
  const samples = await measureInTurns({
    progress,
    signal,
    doing: `verifying ${rowsStored} rows`,
    rounds,
    warmUpRounds,
    measure: {
      reading: () => rowsPerSecond(() => readRows(url)),
      verifying: () =>
        rowsPerSecond(async () => {
          const verifications = await verifyLogs({ source: { url }, logs: names });
          const [broken] = verifications.flatMap(({ firstBreak }) => firstBreak ?? []);
          if (broken !== undefined) throw new Error(`the bench's own log is broken: ${JSON.stringify(broken)}`);
          return verifications.reduce((sum, { entries }) => sum + entries, 0);
        }),
    },
  });
  return [
    compare(samples, 'verifying', 'reading', {
      bench: 'verify',
      what: 'both logs verified in full',
      baselineIs: 'reading and decoding the same columns',
      unit: 'rows/s',
      target: null,
    }),
  ];
};

async function rowsPerSecond(work: () => Promise<number>): Promise<number> {
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
