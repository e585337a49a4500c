import pg from 'pg';
import { ledgerConnection } from '../db/pool.js';
import { logs, selectList, type LogName } from './rows.js';
import { isWrittenByAppend, Subtransactions, type ForeignRow } from './subtransactions.js';
import { BreakList, type LogBreak } from '../core/log-breaks.js';
import { verifyPairs } from './verify-pairs.js';
import { rowRules, RowVerifier, type LedgerRow, type RowRules } from './verify-rows.js';

/** Rows per fetch: large enough to hide the round trip, small enough that two batches of largest entries fit in memory. */
const fetchRows = 500;

export interface VerifyOptions {
  /** Where the ledger is, for a role that may read it, or an open connection made with ledgerConnection, not in use. */
  readonly source: { readonly url: string } | { readonly client: pg.Client };
  /** Called after each batch with rows checked so far and rows expected in all. */
  readonly onProgress?: (progress: VerifyProgress) => void;
  readonly signal?: AbortSignal;
}

export interface VerifyProgress {
  readonly log: LogName;
  readonly checked: number;
  readonly total: number;
}

/** What one verification of one log found. */
export interface LogVerification {
  readonly log: LogName;
  readonly entries: number;
  readonly seconds: number;
  readonly entriesPerSecond: number;
  /** `chain_hash` of the last entry as hex; 64 zeros for an empty log. */
  readonly headChainHash: string;
  /** The break with the lowest index, null when the log is intact. */
  readonly firstBreak: LogBreak | null;
  /** The first breaks by index, at most `breaksKeptMax`. */
  readonly breaks: readonly LogBreak[];
  /** All breaks found. */
  readonly breakCount: number;
}

/** Re-derives one log from its rows. Throws what the database or the connection reports, and the signal's reason. */
export async function verifyLog(options: VerifyOptions & { readonly log: LogName }): Promise<LogVerification> {
  const [verification] = await verifyLogs({ ...options, logs: [options.log] });
  if (verification === undefined) throw new Error('no log was verified');
  return verification;
}

/** Re-derives the named logs, all of them as they stood at one moment. Throws as verifyLog. */
export async function verifyLogs(
  options: VerifyOptions & { readonly logs: readonly LogName[] },
): Promise<LogVerification[]> {
  if ('client' in options.source) return verifySnapshot(options.source.client, options);
  const client = new pg.Client(ledgerConnection(options.source.url, 'daybook verify'));
  // A connection that breaks is reported by the query under way.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await verifySnapshot(client, options);
  } finally {
    await client.end();
  }
}

async function verifySnapshot(
  client: pg.Client,
  options: VerifyOptions & { readonly logs: readonly LogName[] },
): Promise<LogVerification[]> {
  // Every name is qualified and a row security policy raises an error: neither a temporary table nor a policy hides rows.
  await client.query(
    `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
     SET LOCAL row_security = off; SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = 0;
     SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL bytea_output = 'hex'`,
  );
  try {
    const verifications: LogVerification[] = [];
    for (const log of options.logs) {
      verifications.push(
        log === 'signals'
          ? await verifyRows(client, log, rowRules.signals, options)
          : await verifyRows(client, log, rowRules.audit, options),
      );
    }
    return verifications;
  } finally {
    // Nothing was written; on a broken connection the server has rolled back itself.
    await client.query('ROLLBACK').catch(() => undefined);
  }
}

async function verifyRows<Row extends LedgerRow>(
  client: pg.Client,
  log: LogName,
  rules: RowRules<Row>,
  options: VerifyOptions,
): Promise<LogVerification> {
  const startedMs = performance.now();
  const breaks = new BreakList();
  const rows = new RowVerifier(rules, breaks);
  const subtransactions = new Subtransactions(client, log);
  const total = await readLength(client, log);
  let checked = 0;
  for await (const batch of readRowsInOrder<Row & ForeignRow>(client, log, selectList(rules.columns))) {
    options.signal?.throwIfAborted();
    for (const row of batch) rows.check(row);
    const foreign = batch.filter((row) => !isWrittenByAppend(row));
    for (const row of foreign.length === 0 ? [] : await subtransactions.findUnexplained(foreign)) {
      breaks.add('ROW_REWRITTEN', Number(row.chainIndex), `appended by transaction ${row.xid}, xmin is ${row.xmin}`);
    }
    checked += batch.length;
    options.onProgress?.({ log, checked, total });
  }
  await verifyPairs(client, log, breaks);
  const seconds = (performance.now() - startedMs) / 1000;
  return {
    log,
    entries: checked,
    seconds,
    entriesPerSecond: checked / seconds,
    headChainHash: rows.headChainHash,
    firstBreak: breaks.first[0] ?? null,
    breaks: breaks.first,
    breakCount: breaks.count,
  };
}

/** Entries that the log should have by its last index. */
async function readLength(client: pg.Client, log: LogName): Promise<number> {
  const found = await client.query<{ length: string | null }>(
    `SELECT max(chain_index) + 1 AS length FROM public.${logs[log].table}`,
  );
  return Number(found.rows[0]?.length ?? 0);
}

/** Batches of rows by ascending index; the next one is on its way while the caller checks the last. */
async function* readRowsInOrder<Row extends pg.QueryResultRow>(
  client: pg.Client,
  log: LogName,
  select: string,
): AsyncGenerator<readonly Row[]> {
  const cursor = `verify_${log}`;
  await client.query(
    `DECLARE ${cursor} NO SCROLL CURSOR FOR
     SELECT ${select}, xid, xmin FROM public.${logs[log].table} ORDER BY chain_index`,
  );
  const fetchNext = () => {
    const fetched = client.query<Row>(`FETCH ${fetchRows} FROM ${cursor}`);
    // Reported where it is awaited; a caller who stops earlier has an error of its own.
    fetched.catch(() => undefined);
    return fetched;
  };
  let upcoming = fetchNext();
  for (;;) {
    const { rows } = await upcoming;
    if (rows.length === 0) break;
    upcoming = fetchNext();
    yield rows;
  }
  await client.query(`CLOSE ${cursor}`);
}
