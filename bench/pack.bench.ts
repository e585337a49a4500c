import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { encodeHex } from '../src/core/bytes.js';
import { plainEncoding } from '../src/core/pack-encoding.js';
import { encodeManifestSignature } from '../src/core/pack-manifest.js';
import { encodeVerifierKey, verifierKeyOf } from '../src/core/verifier-key.js';
import { verifyPack } from '../src/core/verify-pack.js';
import { ledgerConnection } from '../src/db/pool.js';
import { integrateTiles } from '../src/ledger/integrate-tiles.js';
import { readTreeRoot } from '../src/ledger/tree-nodes.js';
import { beginSnapshot, endSnapshot } from '../src/ledger/verify-snapshot.js';
import { buildPack } from '../src/packs/build-pack.js';
import { readRangeStart, type PackRange } from '../src/packs/pack-range.js';
import { encodeCheckpoint } from '../src/core/checkpoint.js';
import { encodeNote } from '../src/core/signed-note.js';
import { readPackFolder } from '../src/verifier/read-pack.js';
import { startBenchDatabase } from './bench-database.js';
import type { Bench, BenchContext, Comparison } from './comparison.js';
import { compare, measureInTurns } from './measure-pairs.js';
import { storeEntriesInBulk } from './store-in-bulk.js';

const entriesOfDay = 10_000;
const entriesOfLarge = 1_000_000;
const fetchRows = 500;
/** The day's pack of 10,000 entries is to be there in 3 s. */
const dayMsMax = 3_000;
const memoryGrowthMbMax = 64;

/** Building a day's pack: against copying the same bodies into a file, and how time and memory grow with the day. */
export const pack: Bench = async (context) => {
  const { progress, signal } = context;
  const folder = await mkdtemp(join(tmpdir(), 'daybook-bench-packs-'));
  try {
    await using database = await startBenchDatabase();
    progress(0, `storing ${entriesOfLarge} entries`);
    await storeEntriesInBulk(database, entriesOfLarge, signal);
    const client = new pg.Client(ledgerConnection(database.urls.application, 'daybook bench'));
    await client.connect();
    try {
      await integrateTiles(client, 'audit', entriesOfLarge, entriesOfLarge);
      return await measure(context, client, folder);
    } finally {
      await client.end();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

async function measure(context: BenchContext, client: pg.Client, folder: string): Promise<Comparison[]> {
  const { progress, signal } = context;
  await makePack(client, folder, entriesOfDay, true);
  const samples = await measureInTurns({
    progress,
    signal,
    doing: `packing ${entriesOfDay} entries`,
    rounds: 5,
    warmUpRounds: 2,
    measure: {
      packing: () => timed(() => makePack(client, folder, entriesOfDay)),
      copying: () => timed(() => copyBodies(client, folder, entriesOfDay)),
      limit: () => Promise.resolve(dayMsMax),
    },
  });
  const memoryBefore = await peakMegabytes(() => makePack(client, folder, entriesOfDay));
  progress(0, `packing ${entriesOfLarge} entries`);
  const large: { ms: number; megabytes: number }[] = [];
  for (let round = 0; round < 3; round += 1) {
    signal.throwIfAborted();
    const startedMs = performance.now();
    const megabytes = await peakMegabytes(() => makePack(client, folder, entriesOfLarge));
    large.push({ ms: performance.now() - startedMs, megabytes });
  }
  const perEntry = (ms: number, entries: number) => (ms * 1_000) / entries;
  const growth = {
    large: large.map(({ ms }) => perEntry(ms, entriesOfLarge)),
    day: (samples.packing ?? []).slice(0, large.length).map((ms) => perEntry(ms, entriesOfDay)),
  };
  const memory = {
    growth: large.map(({ megabytes }) => Math.max(0, megabytes - memoryBefore)),
    limit: large.map(() => memoryGrowthMbMax),
  };
  return [
    compare(samples, 'packing', 'limit', {
      bench: 'pack',
      what: `evidence pack of ${entriesOfDay} entries`,
      baselineIs: 'limit',
      unit: 'ms',
      target: { atMost: 1 },
    }),
    compare(samples, 'packing', 'copying', {
      bench: 'pack',
      what: `evidence pack of ${entriesOfDay} entries`,
      baselineIs: 'reading the same bodies into a file',
      unit: 'ms',
      target: null,
    }),
    compare(growth, 'large', 'day', {
      bench: 'pack',
      what: `an entry of a pack of ${entriesOfLarge}`,
      baselineIs: `an entry of a pack of ${entriesOfDay}`,
      unit: 'µs',
      target: { atMost: 1.5 },
    }),
    compare(memory, 'growth', 'limit', {
      bench: 'pack',
      what: `peak memory over that of ${entriesOfDay} entries`,
      baselineIs: 'limit',
      unit: 'MB',
      target: { atMost: 1 },
    }),
  ];
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

/** Highest resident size while `work` runs, looked at every 20 ms. */
async function peakMegabytes(work: () => Promise<unknown>): Promise<number> {
  let peak = 0;
  const look = () => {
    peak = Math.max(peak, process.memoryUsage.rss());
  };
  const timer = setInterval(look, 20);
  try {
    await work();
    look();
    return peak / 2 ** 20;
  } finally {
    clearInterval(timer);
  }
}

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const rawPublicKey = Uint8Array.from(publicKey.export({ format: 'der', type: 'spki' }).subarray(12));
const keyOf = (log: string) => verifierKeyOf(`bench.example/${log}`, rawPublicKey);

/** Builds the pack of the log's first `entries`, and verifies what it built where `check` says so. */
async function makePack(client: pg.Client, folder: string, entries: number, check = false): Promise<void> {
  const place = join(folder, randomUUID());
  const audit = await rangeOf(client, 'audit', entries);
  const signals = await rangeOf(client, 'signals', 0);
  await beginSnapshot(client);
  const now = '2026-11-20T00:00:00.000000Z';
  try {
    await buildPack({
      folder: place,
      kind: 'DAY',
      date: '2026-11-19',
      period: { from: '2026-11-19T00:00:00.000000Z', to: now },
      client,
      ranges: { audit, signals },
      anchors: [],
      anchorEvidence: [],
      configSnapshot: '{}',
      configDiff: '',
      encoding: plainEncoding,
      generator: { name: 'bench', version: '1', git_commit: null },
      database: { system_identifier: '1', lsn: '0/0', snapshot_at: now },
      clock: { source: 'bench', service_offset_ms: 0 },
      previousManifest: null,
      createdAt: now,
      sign: (bytes) => [encodeManifestSignature(encodeVerifierKey(keyOf('audit')), sign(null, bytes, privateKey))],
      signal: new AbortController().signal,
    });
  } finally {
    await endSnapshot(client);
  }
  if (check) await assertVerified(place);
  await rm(place, { recursive: true });
}

async function assertVerified(place: string): Promise<void> {
  const { faults } = await verifyPack(await readPackFolder(place), [keyOf('audit'), keyOf('signals')]);
  if (faults.length > 0) throw new Error(`the bench's own pack is broken: ${JSON.stringify(faults[0])}`);
}

async function rangeOf(client: pg.Client, log: 'audit' | 'signals', entries: number): Promise<PackRange> {
  const root = await readTreeRoot(client, log, entries);
  const key = keyOf(log);
  const text = encodeCheckpoint({ origin: key.name, size: entries, root, extensions: [] });
  const signature = sign(null, Buffer.from(text), privateKey);
  const note = encodeNote({ text, signatures: [{ name: key.name, keyId: key.keyId, signature }] });
  const head = { treeSize: entries, rootHash: encodeHex(root), note };
  return { origin: key.name, before: null, head, ...(await readRangeStart(client, log, 0)) };
}

async function copyBodies(client: pg.Client, folder: string, entries: number): Promise<void> {
  const place = join(folder, randomUUID());
  await pipeline(readBodies(client, entries), createWriteStream(place));
  const { size } = await stat(place);
  if (size === 0) throw new Error('nothing was copied');
  await rm(place);
}

async function* readBodies(client: pg.Client, entries: number): AsyncIterable<string> {
  for (let from = 0; from < entries; from += fetchRows) {
    const found = await client.query<{ body: string }>(
      'SELECT body FROM public.audit_entries WHERE chain_index >= $1 AND chain_index < $2 ORDER BY chain_index',
      [from, Math.min(from + fetchRows, entries)],
    );
    yield found.rows.map(({ body }) => `${body}\n`).join('');
  }
}
