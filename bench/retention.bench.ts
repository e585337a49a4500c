import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { pino } from 'pino';
import { openContext, type NodeContext } from '../src/context.js';
import { ledgerConnection } from '../src/db/pool.js';
import { serviceOrigin } from '../src/integrity/integrity-entry.js';
import { serviceEntry } from '../src/ledger/new-entries.js';
import { verifyLog } from '../src/ledger/verify-log.js';
import { compactAuditLog } from '../src/open-retention.js';
import { createArchives } from '../src/retention/create-archives.js';
import { purgeArchived } from '../src/retention/purge-archived.js';
import { createBenchFolder, startBenchDatabase, type BenchDatabase } from './bench-database.js';
import type { Bench, BenchContext } from './comparison.js';
import { compare } from './measure-pairs.js';
import { storeEntriesInBulk } from './store-in-bulk.js';

const entriesStored = 1_000_000;
/** An append may wait so long while entries are archived and removed, in milliseconds. */
const waitMsMax = 1_000;
const memoryGrowthMbMax = 256;
/** How long appends are measured with nothing else going on. */
const quietMs = 3_000;

interface Figures {
  readonly verifyingSeconds: number;
  readonly archivingSeconds: number;
  readonly removingSeconds: number;
  readonly removed: number;
  readonly quiet: Waits;
  readonly archiving: Waits;
  readonly removing: Waits;
  readonly memoryGrowthMb: number;
  readonly megabytes: { readonly before: number; readonly after: number; readonly compacted: number };
}

/** Of appends one after another, in milliseconds. */
interface Waits {
  readonly median: number;
  readonly longest: number;
}

/** Archiving and removing a million entries while others are recorded: how long it takes, and what appends wait meanwhile. */
export const retention: Bench = async (context) => {
  await using database = await startBenchDatabase();
  context.progress(0, `storing ${entriesStored} entries`);
  await storeEntriesInBulk(database, entriesStored, context.signal);
  const figures = await measure(context, database);
  const { megabytes, removed } = figures;
  const rate = (seconds: number) => [removed / seconds];
  const line = (
    what: string,
    ours: number[],
    baseline: number[],
    facts: Omit<Parameters<typeof compare>[3], 'bench' | 'what'>,
  ) => compare({ ours, baseline }, 'ours', 'baseline', { bench: 'retention', what, ...facts });
  const verifying = { baselineIs: 'verifying the log', unit: 'entries/s', target: null };
  const waiting = { baselineIs: 'limit', unit: 'ms', target: { atMost: 1 } };
  return [
    line('archived', rate(figures.archivingSeconds), [entriesStored / figures.verifyingSeconds], verifying),
    line(
      'verified again and removed',
      rate(figures.removingSeconds),
      [entriesStored / figures.verifyingSeconds],
      verifying,
    ),
    line('longest append while archiving', [figures.archiving.longest], [waitMsMax], waiting),
    line('longest append while removing', [figures.removing.longest], [waitMsMax], waiting),
    line('memory of both', [figures.memoryGrowthMb], [memoryGrowthMbMax], { ...waiting, unit: 'MB' }),
    {
      ...line('table and indexes, compacted', [megabytes.compacted], [megabytes.before], {
        baselineIs: 'before the removal',
        unit: 'MB',
        target: { atMost: 0.1 },
      }),
      details: JSON.stringify(figures, null, 2),
    },
  ];
};

async function measure({ progress, signal }: BenchContext, database: BenchDatabase): Promise<Figures> {
  await using folder = await createBenchFolder();
  const config = {
    ...folder.config,
    databaseUrl: database.urls.superuser,
    retention: { onlineDays: 0.00001, archiveYears: 7, restoredDays: 30 },
    runsJobs: false,
  };
  await using node = await openContext(config, pino({ level: 'silent' }));
  progress(0.3, 'building the tree');
  await untilCovered(database, signal);
  const memoryBefore = process.memoryUsage.rss();
  const { retention: services } = node.services;
  const origin = serviceOrigin('bench', 'bench');
  progress(0.5, 'verifying and archiving');
  const verifying = await timed(() => verifyLog({ source: { url: database.urls.auditor }, log: 'audit', threads: 1 }));
  const quiet = await whileAppending(node, () => pause(quietMs));
  const before = await readMegabytes(database);
  const archiving = await whileAppending(node, () => createArchives(services, origin, signal));
  progress(0.8, 'removing');
  const removing = await whileAppending(node, () => purgeArchived(services, origin, signal));
  const memoryGrowthMb = Math.max(0, removing.peakBytes - memoryBefore, archiving.peakBytes - memoryBefore) / 2 ** 20;
  const after = await readMegabytes(database);
  await compactAuditLog({ urls: database.urls, append: node.append, origin });
  return {
    verifyingSeconds: verifying,
    archivingSeconds: archiving.seconds,
    removingSeconds: removing.seconds,
    removed: removing.result.entries,
    quiet: quiet.waits,
    archiving: archiving.waits,
    removing: removing.waits,
    memoryGrowthMb,
    megabytes: { before, after, compacted: await readMegabytes(database) },
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return (performance.now() - startedMs) / 1_000;
}

/** Appends entries one after another while `work` runs, and looks at memory. */
async function whileAppending<Result>(node: NodeContext, work: () => Promise<Result>) {
  const waitsMs: number[] = [];
  let [peakBytes, done] = [0, false];
  const appending = (async () => {
    while (!done) {
      const startedMs = performance.now();
      await node.append({
        entries: [
          serviceEntry({ category: 'ORDER', event: 'OrderAccepted', action: null, resource: 'bench', details: '{}' }),
        ],
      });
      waitsMs.push(performance.now() - startedMs);
      peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
    }
  })();
  const startedMs = performance.now();
  try {
    const result = await work();
    return { result, seconds: (performance.now() - startedMs) / 1_000, waits: summarize(waitsMs), peakBytes };
  } finally {
    done = true;
    await appending;
  }
}

function summarize(waitsMs: readonly number[]): Waits {
  const sorted = waitsMs.toSorted((one, other) => one - other);
  return { median: sorted[Math.floor(sorted.length / 2)] ?? 0, longest: sorted.at(-1) ?? 0 };
}

async function untilCovered(database: BenchDatabase, signal: AbortSignal): Promise<void> {
  const tiles = `SELECT count(*) AS value FROM public.ledger_tiles WHERE log = 'audit' AND level = 0`;
  while ((await readNumber(database, tiles)) < Math.floor(entriesStored / 256)) {
    signal.throwIfAborted();
    await pause(200);
  }
}

async function readMegabytes(database: BenchDatabase): Promise<number> {
  return (await readNumber(database, `SELECT pg_total_relation_size('public.audit_entries') AS value`)) / 2 ** 20;
}

async function readNumber(database: BenchDatabase, query: string): Promise<number> {
  const client = new pg.Client(ledgerConnection(database.urls.auditor, 'daybook bench'));
  await client.connect();
  try {
    return Number((await client.query<{ value: string }>(query)).rows[0]?.value);
  } finally {
    await client.end();
  }
}
