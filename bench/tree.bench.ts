import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import { ledgerConnection, openPool } from '../src/db/pool.js';
import { localRootKey } from '../src/access/root-key.js';
import { LedgerWriter } from '../src/ledger/append-entries.js';
import { TreeNodeCache } from '../src/ledger/tree-node-cache.js';
import { CheckpointFiles } from '../src/proofs/known-checkpoints.js';
import { proveInclusion } from '../src/proofs/prove.js';
import { readNewestCheckpoint, type CheckpointRow } from '../src/proofs/read-checkpoints.js';
import { signCheckpointStep, type SigningContext } from '../src/proofs/sign-checkpoint.js';
import { SigningKeys } from '../src/proofs/signing-keys.js';
import { startBenchDatabase, type BenchDatabase } from './bench-database.js';
import type { Bench, BenchContext } from './comparison.js';
import { compare, measureInTurns } from './measure-pairs.js';
import { storeEntriesInBulk } from './store-in-bulk.js';

const smallLog = 10_000;
const largeLog = 1_000_000;
/** Entries that each round adds before their integration is measured. */
const newEntries = 10_000;
const sealRounds = 7;
const proofRounds = 9;
const proofsPerRound = 300;
const warmUpRounds = 2;

/** A log of a size with its tiles and a signed head. */
interface TreeLog {
  readonly database: BenchDatabase;
  readonly client: pg.Client;
  readonly signing: SigningContext;
  readonly nodes: TreeNodeCache;
}

/** Integrating and signing new entries: the cost must follow the new ones, not the log. */
export const seal: Bench = (context) =>
  withLogs(context, async (small, large) => {
    const samples = await measureInTurns({
      ...context,
      doing: `integrating ${newEntries} entries`,
      rounds: sealRounds,
      warmUpRounds,
      measure: {
        large: () => integrateNew(large),
        small: () => integrateNew(small),
      },
    });
    return [
      compare(samples, 'large', 'small', {
        bench: 'seal',
        what: `${newEntries} new entries integrated and signed, log of ${largeLog}`,
        baselineIs: `the same, log of ${smallLog}`,
        unit: 'ms',
        target: { atMost: 1.3 },
      }),
    ];
  });

/** An inclusion proof of a random entry, read, folded, and verified against the signed root. */
export const proof: Bench = (context) =>
  withLogs(context, async (small, large) => {
    const samples = await measureInTurns({
      ...context,
      doing: 'proving random entries',
      rounds: proofRounds,
      warmUpRounds,
      measure: { large: () => prove(large), small: () => prove(small) },
    });
    return [
      compare(samples, 'large', 'small', {
        bench: 'proof',
        what: `inclusion proof, log of ${largeLog}`,
        baselineIs: `inclusion proof, log of ${smallLog}`,
        unit: 'ms',
        target: { atMost: 1.5 },
      }),
    ];
  });

async function withLogs<Result>(
  context: BenchContext,
  work: (small: TreeLog, large: TreeLog) => Promise<Result>,
): Promise<Result> {
  await using stack = new AsyncDisposableStack();
  const small = await openLog(context, smallLog, stack);
  const large = await openLog(context, largeLog, stack);
  return await work(small, large);
}

async function openLog(context: BenchContext, entries: number, stack: AsyncDisposableStack): Promise<TreeLog> {
  context.progress(0, `storing ${entries} entries`);
  const database = stack.use(await startBenchDatabase());
  await storeEntriesInBulk(database, entries, context.signal);
  const url = database.urls.application;
  const client = new pg.Client(ledgerConnection(url, 'daybook bench'));
  client.on('error', () => undefined);
  await client.connect();
  stack.defer(() => client.end());
  const folder = await mkdtemp(join(tmpdir(), 'daybook-bench-tree-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const signing = { keys: await openKeys(url, stack), files: new CheckpointFiles(folder), published: () => null };
  const log = { database, client, signing, nodes: new TreeNodeCache() };
  await signAll(log);
  return log;
}

async function openKeys(url: string, stack: AsyncDisposableStack): Promise<SigningKeys> {
  const log = pino({ level: 'silent' });
  const pool = openPool({ ...ledgerConnection(url, 'daybook bench'), max: 1 }, () => undefined);
  stack.defer(() => pool.end());
  await using writer = new LedgerWriter({ url, queueRowsMax: 100, log });
  const append = (request: Parameters<typeof writer.append>[0]) => writer.append(request);
  return await SigningKeys.open({
    database: pool,
    append,
    root: localRootKey(randomBytes(32)),
    origin: 'bench.local',
    log,
  });
}

async function signAll({ client, signing }: TreeLog): Promise<CheckpointRow> {
  for (;;) {
    const step = await signCheckpointStep(client, 'audit', signing, { wait: true });
    if ('checkpoint' in step) return step.checkpoint;
  }
}

async function integrateNew(log: TreeLog): Promise<number> {
  await storeEntriesInBulk(log.database, newEntries, new AbortController().signal);
  const startedMs = performance.now();
  await signAll(log);
  return performance.now() - startedMs;
}

/** Mean time of one proof in milliseconds. */
async function prove({ client, nodes }: TreeLog): Promise<number> {
  const newest = await readNewestCheckpoint(client, 'audit');
  if (newest === null) throw new Error('the bench signed no checkpoint');
  const size = Number(newest.treeSize);
  const source = {
    database: client,
    signer: { coveringCheckpoint: () => Promise.resolve(newest) },
    nodes,
  };
  const startedMs = performance.now();
  for (let count = 0; count < proofsPerRound; count += 1) {
    // Spread over the whole log, and the same places in every round.
    const index = Math.floor((((count * 0.618_033_988_75) % 1) + Number.EPSILON) * size);
    await proveInclusion(source, 'audit', Math.min(index, size - 1), null);
  }
  return (performance.now() - startedMs) / proofsPerRound;
}
